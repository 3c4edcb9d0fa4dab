// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/channel.h"

#include "dp/base/assert.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace slash32::frontend {

namespace {

// Descriptors that a reply brings are of no use to a test.
void close_received_fds(msghdr& header) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            close(fd);
        }
    }
}

}  // namespace

uint64_t Message::u64() const {
    uint64_t value = 0;
    std::memcpy(&value, payload.data(), std::min(payload.size(), sizeof(value)));
    return value;
}

VringState Message::state() const {
    VringState value{};
    std::memcpy(&value, payload.data(), std::min(payload.size(), sizeof(value)));
    return value;
}

Channel::Channel(Channel&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      received_(std::move(other.received_)),
      error_(std::move(other.error_)) {}

Channel& Channel::operator=(Channel&& other) noexcept {
    if (this != &other) {
        close();
        fd_ = std::exchange(other.fd_, -1);
        received_ = std::move(other.received_);
        error_ = std::move(other.error_);
    }
    return *this;
}

Channel::~Channel() {
    close();
}

void Channel::close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    received_.clear();
}

bool Channel::send(Request request, uint32_t flags, std::span<const uint8_t> payload,
                   std::span<const int> fds) {
    const MessageHeader header{static_cast<uint32_t>(request), kFlagVersion1 | flags,
                               static_cast<uint32_t>(payload.size())};
    std::vector<uint8_t> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::copy(payload.begin(), payload.end(), bytes.begin() + sizeof(header));
    return send_bytes(bytes, fds);
}

bool Channel::send_bytes(std::span<const uint8_t> bytes, std::span<const int> fds) {
    S32_ASSERT(fds.size() <= kMaxMessageFds);
    alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int) * kMaxMessageFds)> control{};
    size_t sent = 0;
    while (fd_ >= 0 && sent < bytes.size()) {
        iovec iov{const_cast<uint8_t*>(bytes.data() + sent), bytes.size() - sent};
        msghdr header{};
        header.msg_iov = &iov;
        header.msg_iovlen = 1;
        if (sent == 0 && !fds.empty()) {  // descriptors go with the first byte
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(fds.size_bytes());
            cmsghdr* c = CMSG_FIRSTHDR(&header);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(fds.size_bytes());
            std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
        }
        const ssize_t n = sendmsg(fd_, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += static_cast<size_t>(n);
            continue;
        }
        if (errno == EINTR) continue;
        pollfd p{fd_, POLLOUT, 0};
        if (errno != EAGAIN || poll(&p, 1, 1000) <= 0) return false;
    }
    return fd_ >= 0;
}

bool Channel::fill() {
    std::array<uint8_t, 4096> buffer;
    alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int) * kMaxMessageFds)> control;
    while (fd_ >= 0) {
        iovec iov{buffer.data(), buffer.size()};
        msghdr header{};
        header.msg_iov = &iov;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        const ssize_t n = recvmsg(fd_, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n > 0) {
            close_received_fds(header);
            received_.insert(received_.end(), buffer.begin(), buffer.begin() + n);
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        error_ = n == 0 ? "the backend closed the connection"
                        : std::string("the connection broke: ") + std::strerror(errno);
        return false;
    }
    MessageHeader header{};
    if (received_.size() >= sizeof(header)) {
        std::memcpy(&header, received_.data(), sizeof(header));
        if (header.size > kMaxPayloadBytes || (header.flags & kFlagVersionMask) != kFlagVersion1) {
            error_ = "the backend sent a malformed header";
            return false;
        }
    }
    return fd_ >= 0;
}

std::optional<Message> Channel::next() {
    MessageHeader header{};
    if (received_.size() < sizeof(header)) return std::nullopt;
    std::memcpy(&header, received_.data(), sizeof(header));
    if (header.size > kMaxPayloadBytes) return std::nullopt;  // `fill` reports it
    const size_t whole = sizeof(header) + header.size;
    if (received_.size() < whole) return std::nullopt;
    Message message{header.request, header.flags, {}};
    message.payload.assign(received_.begin() + sizeof(header),
                           received_.begin() + static_cast<ptrdiff_t>(whole));
    received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(whole));
    return message;
}

}  // namespace slash32::frontend
