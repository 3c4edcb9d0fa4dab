// SPDX-License-Identifier: Apache-2.0
#include "ctrl/netlink/packet_socket.h"

#include <fmt/format.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace slash32 {

// Of no protocol: it only sends.
PacketSocket::PacketSocket()
    : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      error_(fd_ < 0 ? errno : 0) {}

PacketSocket::~PacketSocket() {
    if (fd_ >= 0) close(fd_);
}

Result<void> PacketSocket::usable() const {
    if (fd_ >= 0) return {};
    return fail(ErrorCode::kUnavailable, "",
                fmt::format("no packet socket: {}", std::strerror(error_)));
}

bool PacketSocket::send(uint32_t interface, std::span<const uint8_t> frame) const {
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(interface);
    to.sll_halen = ETH_ALEN;
    return sendto(fd_, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                  sizeof to) >= 0;
}

}  // namespace slash32
