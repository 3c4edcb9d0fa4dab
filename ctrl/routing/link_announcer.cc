// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/link_announcer.h"

#include "ctrl/punt/announcement_frame.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace slash32 {
namespace {

constexpr unsigned kTimes = 3;
constexpr auto kPause = std::chrono::seconds(1);

}  // namespace

LinkAnnouncer::LinkAnnouncer(asio::io_context& io, std::vector<Link> links)
    : links_(std::move(links)),
      socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      timer_(io) {}

LinkAnnouncer::~LinkAnnouncer() {
    if (socket_ >= 0) close(socket_);
}

void LinkAnnouncer::set_port(PortId port, const Reachable& reachable) {
    std::set<IpAddress> now(reachable.addresses.begin(), reachable.addresses.end());
    std::set<IpAddress>& before = present_[port];
    const bool idle = to_say_.empty();
    for (const IpAddress& address : before)
        if (!now.contains(address)) to_say_.erase(address);
    for (const IpAddress& address : now) {
        if (before.contains(address)) continue;
        say(address);
        to_say_[address] = kTimes - 1;
    }
    before = std::move(now);
    if (before.empty()) present_.erase(port);
    if (idle && !to_say_.empty()) say_again();
}

void LinkAnnouncer::say(const IpAddress& address) const {
    for (const Link& link : links_) {
        const std::vector<uint8_t> frame = announcement_frame(address, link.mac);
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_ifindex = static_cast<int>(if_nametoindex(link.interface.c_str()));
        to.sll_halen = sizeof(Mac);
        // An interface that is down has nobody to tell.
        [[maybe_unused]] const ssize_t sent =
            sendto(socket_, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                   sizeof to);
    }
}

void LinkAnnouncer::say_again() {
    timer_.expires_after(kPause);
    timer_.async_wait([this](const asio::error_code& error) {
        if (error) return;
        for (auto at = to_say_.begin(); at != to_say_.end();) {
            say(at->first);
            at = --at->second == 0 ? to_say_.erase(at) : std::next(at);
        }
        if (!to_say_.empty()) say_again();
    });
}

}  // namespace slash32
