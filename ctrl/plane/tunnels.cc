// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/tunnels.h"

#include <algorithm>

namespace slash32 {

void Tunnels::add(NextHopId tunnel, const SegmentPath& path) {
    const Ip6& address = path.segments.front();
    ending_at_[path.segments.back()].insert(tunnel);
    const auto [at, is_new] = segments_.try_emplace(address);
    Segment& segment = at->second;
    segment.tunnels.insert(tunnel);
    if (is_new) resolve(address, segment);
    hops_.set_underlay(tunnel, segment.underlay, segment.mtu);
}

void Tunnels::remove(NextHopId tunnel, const SegmentPath& path) {
    const auto ends = ending_at_.find(path.segments.back());
    ends->second.erase(tunnel);
    if (ends->second.empty()) ending_at_.erase(ends);
    const auto at = segments_.find(path.segments.front());
    at->second.tunnels.erase(tunnel);
    if (!at->second.tunnels.empty()) return;
    if (at->second.learned != 0) --learned_;
    segments_.erase(at);
}

const std::set<NextHopId>& Tunnels::ending_at(const Ip6& segment) const {
    static const std::set<NextHopId> kNone;
    const auto at = ending_at_.find(segment);
    return at == ending_at_.end() ? kNone : at->second;
}

void Tunnels::learn_mtu(const Ip6& last, uint16_t mtu, Clock::time_point until) {
    for (const NextHopId tunnel : ending_at(last)) {
        const Ip6& first = hops_.spec(tunnel).segment_routing.paths.front().segments.front();
        const auto at = segments_.find(first);
        Segment& segment = at->second;
        // RFC 8201 section 4: only smaller ones are believed.
        if (segment.mtu == 0 || mtu >= segment.mtu) continue;
        if (segment.learned == 0) ++learned_;
        segment.learned = mtu;
        segment.learned_until = until;
        refresh(first, segment);
    }
}

void Tunnels::forget_mtus(Clock::time_point now) {
    if (learned_ == 0) return;
    for (auto& [address, segment] : segments_) {
        if (segment.learned == 0 || segment.learned_until > now) continue;
        segment.learned = 0;
        --learned_;
        refresh(address, segment);
    }
}

Reach Tunnels::reach(const Ip6& address) const {
    const auto at = segments_.find(address);
    return at == segments_.end() ? Reach::kNone : at->second.reach;
}

Reach Tunnels::look(const Ip6& address) const {
    Segment segment;
    resolve(address, segment);
    return segment.reach;
}

void Tunnels::route_changed(VrfId vrf, const IpPrefix& prefix) {
    if (segments_.empty() || vrf != kUnderlayVrf || prefix.address.is_ipv4()) return;
    for (auto at = segments_.lower_bound(prefix.address.ipv6());
         at != segments_.end() && prefix.contains(at->first); ++at) {
        refresh(at->first, at->second);
    }
}

void Tunnels::group_changed(NextHopId group) {
    for (auto& [address, segment] : segments_) {
        // One that led nowhere may not have named its group.
        if (segment.underlay == group || segment.underlay == kNoNextHop) refresh(address, segment);
    }
}

// The smallest of all ways; 0: none leads out.
uint16_t Tunnels::mtu_of(NextHopId hop) const {
    const auto of_adjacency = [this](NextHopId id) -> uint16_t {
        const Adjacency* adjacency = hops_.find(id);
        return adjacency != nullptr && leads_out(*adjacency) ? adjacency->mtu : uint16_t{0};
    };
    if (!is_group(hop)) return of_adjacency(hop);
    uint16_t least = 0;
    for (const GroupMember& member : groups_.members(hop)) {
        const uint16_t mtu = of_adjacency(member.hop);
        if (mtu != 0 && (least == 0 || mtu < least)) least = mtu;
    }
    return least;
}

void Tunnels::resolve(const Ip6& address, Segment& segment) const {
    segment.underlay = kNoNextHop;
    segment.mtu = 0;
    segment.reach = Reach::kNone;
    const auto route = fib_.explain(kUnderlayVrf, address);
    if (!route) return;
    segment.mtu = mtu_of(route->next_hop);
    if (segment.mtu == 0) return;
    if (segment.learned != 0) segment.mtu = std::min(segment.mtu, segment.learned);
    segment.underlay = route->next_hop;
    segment.reach = route->prefix.length == 0 ? Reach::kDefault : Reach::kRoute;
}

void Tunnels::refresh(const Ip6& address, Segment& segment) {
    const auto before = std::tuple(segment.underlay, segment.mtu);
    const Reach reached = segment.reach;
    resolve(address, segment);
    if (before != std::tuple(segment.underlay, segment.mtu)) {
        for (const NextHopId tunnel : segment.tunnels)
            hops_.set_underlay(tunnel, segment.underlay, segment.mtu);
    }
    if (reached == segment.reach) return;
    for (const NextHopId tunnel : segment.tunnels)
        hook_(tunnel);
}

}  // namespace slash32
