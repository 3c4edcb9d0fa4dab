// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/link_announcer.h"

#include "ctrl/punt/announcement_frame.h"

#include <net/if.h>

#include <chrono>
#include <utility>

namespace slash32 {
namespace {

constexpr unsigned kTimes = 3;
constexpr auto kPause = std::chrono::seconds(1);

}  // namespace

LinkAnnouncer::LinkAnnouncer(asio::io_context& io, std::vector<Link> links)
    : links_(std::move(links)), timer_(io) {}

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
        // An interface that is down has nobody to tell.
        packets_.send(if_nametoindex(link.interface.c_str()),
                      announcement_frame(address, link.mac));
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
