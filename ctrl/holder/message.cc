// SPDX-License-Identifier: Apache-2.0
#include "ctrl/holder/message.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace slash32 {

std::optional<sockaddr_un> holder_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return std::nullopt;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

HolderMessage holder_message(HolderMessage::Kind kind, const std::string& name) {
    HolderMessage message;
    message.kind = kind;
    name.copy(message.name.data(), message.name.size() - 1);
    return message;
}

bool send_message(int socket, const HolderMessage& message, int descriptor) {
    HolderMessage copy = message;
    iovec data{.iov_base = &copy, .iov_len = sizeof copy};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    if (descriptor >= 0) {
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        cmsghdr* rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof copy);
}

bool receive_message(int socket, HolderMessage& message, int& descriptor) {
    descriptor = -1;
    iovec data{.iov_base = &message, .iov_len = sizeof message};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t received = 0;
    do {
        received = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    const cmsghdr* rights = CMSG_FIRSTHDR(&header);
    if (received > 0 && rights != nullptr && rights->cmsg_type == SCM_RIGHTS &&
        rights->cmsg_len == CMSG_LEN(sizeof descriptor)) {
        std::memcpy(&descriptor, CMSG_DATA(rights), sizeof descriptor);
    }
    message.name.back() = '\0';
    if (received == static_cast<ssize_t>(sizeof message)) return true;
    if (descriptor >= 0) close(descriptor);
    descriptor = -1;
    return false;
}

}  // namespace slash32
