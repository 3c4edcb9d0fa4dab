// SPDX-License-Identifier: Apache-2.0
// The part of the forwarding plane that is about segment routing: tunnels, by one path or several,
// and the node's own segments.
#include "ctrl/plane/forwarding_plane.h"

#include <algorithm>

namespace slash32 {
namespace {

bool is_tunnel(const NextHopSpec& spec) {
    return spec.kind == NextHopSpec::Kind::kTunnel;
}

const Ip6& first_segment(const NextHopSpec& spec) {
    return spec.segment_routing.paths.front().segments.front();
}

}  // namespace

Result<void> ForwardingPlane::enable_segment_routing(const IpPrefix& locator,
                                                     const TunnelSettings& settings) {
    routes_segments_ = true;
    next_hops_.set_tunnel_settings(settings);
    NextHopSpec unknown{.kind = NextHopSpec::Kind::kSid};
    unknown.segment_routing.sid = SidIntent{.sid = locator, .behavior = SidBehavior::kUnknown};
    const auto hop = next_hops_.acquire(unknown);
    if (!hop) return tl::unexpected<Error>(hop.error());
    return put_route(kUnderlayVrf, locator, *hop);
}

Result<NextHopId> ForwardingPlane::acquire_next_hop(const NextHopSpec& spec) {
    if (!is_tunnel(spec)) return next_hops_.acquire(spec);
    if (spec.segment_routing.paths.size() > 1) return acquire_tunnel_group(spec);
    // The weight of a path alone says nothing: equal tunnels are one.
    NextHopSpec alone = spec;
    alone.segment_routing.paths.front().weight = 1;
    auto tunnel = next_hops_.acquire(alone);
    if (tunnel) tunnels_.add(*tunnel, first_segment(alone));
    return tunnel;
}

// No flow may go on by the id when it leads elsewhere.
void ForwardingPlane::release_next_hop(NextHopId id) {
    changed_routes_.merge(learned_untold_);
    learned_untold_.clear();
    raise_routes();
    if (is_group(id)) return release_tunnel_group(id);
    const NextHopSpec spec = next_hops_.spec(id);
    next_hops_.release(id);
    if (is_tunnel(spec) && next_hops_.find(id) == nullptr) tunnels_.remove(id, first_segment(spec));
}

Result<NextHopId> ForwardingPlane::acquire_tunnel_group(const NextHopSpec& spec) {
    TunnelGroup made;
    const auto undo = [&](const Error& error) {
        for (const TunnelPath& path : made.paths)
            release_next_hop(path.tunnel);
        return tl::unexpected<Error>(error);
    };
    for (const SegmentPath& path : spec.segment_routing.paths) {
        NextHopSpec one{.kind = NextHopSpec::Kind::kTunnel};
        one.segment_routing.paths = {path};
        const auto tunnel = acquire_next_hop(one);
        if (!tunnel) return undo(tunnel.error());
        made.paths.push_back({*tunnel, path.segments.front(), path.weight});
    }
    auto group = groups_.create();
    if (!group) return undo(group.error());
    const auto at = tunnel_groups_.emplace(*group, std::move(made)).first;
    evaluate_tunnels(at->first, at->second);
    return group;
}

void ForwardingPlane::release_tunnel_group(NextHopId id) {
    const auto at = tunnel_groups_.find(id);
    const std::vector<TunnelPath> paths = std::move(at->second.paths);
    tunnel_groups_.erase(at);
    groups_.remove(id);
    for (const TunnelPath& path : paths)
        release_next_hop(path.tunnel);
}

// The paths that are reached best share the packets.
void ForwardingPlane::evaluate_tunnels(NextHopId id, const TunnelGroup& group) {
    Reach best = Reach::kNone;
    for (const TunnelPath& path : group.paths)
        best = std::max(best, tunnels_.reach(path.segment));
    std::vector<GroupMember> members;
    for (const TunnelPath& path : group.paths) {
        if (best != Reach::kNone && tunnels_.reach(path.segment) == best)
            members.push_back({path.tunnel, path.weight});
    }
    if (!groups_.set_members(id, std::move(members))) return;
    for (const VrfId vrf : group.vrfs)
        routes_changed(vrf);
}

void ForwardingPlane::tunnel_reach_changed(NextHopId tunnel) {
    reach_hook_();
    for (const auto& [id, group] : tunnel_groups_) {
        if (std::ranges::find(group.paths, tunnel, &TunnelPath::tunnel) != group.paths.end())
            evaluate_tunnels(id, group);
    }
}

// Every route in the tables is put there and taken away by these two, so that the tunnels follow.
Result<void> ForwardingPlane::put_route(VrfId vrf, const IpPrefix& prefix, NextHopId hop) {
    auto put = fib_.add(vrf, prefix, hop);
    if (!put) return put;
    if (const auto group = tunnel_groups_.find(hop); group != tunnel_groups_.end())
        group->second.vrfs.insert(vrf);
    if (const Adjacency* to = next_hops_.find(hop);
        to != nullptr && to->kind == AdjacencyKind::kVrf)
        led_into_[to->vrf].insert(vrf);
    tunnels_.route_changed(vrf, prefix);
    return put;
}

void ForwardingPlane::take_route(VrfId vrf, const IpPrefix& prefix) {
    fib_.remove(vrf, prefix);
    tunnels_.route_changed(vrf, prefix);
}

}  // namespace slash32
