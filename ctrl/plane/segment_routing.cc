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

// Whether a group's paths go by the tunnel.
bool go_by(const auto& paths, NextHopId tunnel) {
    return std::ranges::any_of(paths, [&](const auto& path) { return path.tunnel == tunnel; });
}

const SegmentPath& path_of(const NextHopSpec& spec) {
    return spec.segment_routing.paths.front();
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
    if (tunnel) tunnels_.add(*tunnel, path_of(alone));
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
    if (!is_tunnel(spec) || next_hops_.find(id) != nullptr) return;
    tunnels_.remove(id, path_of(spec));
    tunnel_vrfs_.erase(id);
}

Result<NextHopId> ForwardingPlane::acquire_tunnel_group(const NextHopSpec& spec) {
    TunnelGroup made;
    const auto undo = [&](const Error& error) {
        for (const TunnelPath& path : made.paths)
            release_next_hop(path.tunnel);
        return tl::unexpected<Error>(error);
    };
    for (const SegmentPath& path : spec.segment_routing.paths) {
        NextHopSpec one = spec;
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

uint32_t ForwardingPlane::last_used(NextHopId id) const {
    if (!is_group(id)) return next_hops_.last_used(id);
    uint32_t latest = 0;
    for (const TunnelPath& path : tunnel_groups_.at(id).paths)
        latest = std::max(latest, next_hops_.last_used(path.tunnel));
    return latest;
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
        if (go_by(group.paths, tunnel)) evaluate_tunnels(id, group);
    }
}

// The VRFs whose routes have led into a tunnel.
std::set<VrfId> ForwardingPlane::vrfs_of(NextHopId tunnel) const {
    std::set<VrfId> vrfs;
    if (const auto at = tunnel_vrfs_.find(tunnel); at != tunnel_vrfs_.end()) vrfs = at->second;
    for (const auto& [id, group] : tunnel_groups_) {
        if (go_by(group.paths, tunnel)) vrfs.insert(group.vrfs.begin(), group.vrfs.end());
    }
    return vrfs;
}

bool ForwardingPlane::leads_into(VrfId vrf, const IpAddress& address, NextHopId tunnel) const {
    const auto route = fib_.explain(vrf, address);
    if (!route) return false;
    if (!is_group(route->next_hop)) return route->next_hop == tunnel;
    const auto group = tunnel_groups_.find(route->next_hop);
    return group != tunnel_groups_.end() && go_by(group->second.paths, tunnel);
}

// The next hop, or one of a group. nullptr: there is none.
const Adjacency* ForwardingPlane::any_of(NextHopId hop) const {
    if (!is_group(hop)) return next_hops_.find(hop);
    const std::vector<GroupMember>& members = groups_.members(hop);
    return members.empty() ? nullptr : next_hops_.find(members.front().hop);
}

std::optional<ForwardingPlane::WayBack> ForwardingPlane::way_to(VrfId vrf,
                                                                const IpAddress& address) const {
    for (unsigned hops = 0; hops < kMaxVrfHops; ++hops) {
        const auto route = fib_.explain(vrf, address);
        const Adjacency* to = route ? any_of(route->next_hop) : nullptr;
        if (to == nullptr) return std::nullopt;
        if (to->kind == AdjacencyKind::kVrf) {
            vrf = to->vrf;
            continue;
        }
        WayBack way;
        if (to->kind == AdjacencyKind::kTunnel) {
            way.tunnel = to->encapsulation;
            to = any_of(to->underlay);
        }
        if (to == nullptr || to->kind != AdjacencyKind::kEthernet || config(to->port) == nullptr)
            return std::nullopt;
        way.link = *to;
        return way;
    }
    return std::nullopt;
}

// The outer headers do not name the VRF that the inner packet came from: its answers would come
// into the one whose routes lead it into such a tunnel, and find the sender from there.
std::optional<ForwardingPlane::WayBack> ForwardingPlane::find_tunnel_sender(
    const Ip6& last, const IpAddress& src, const IpAddress& dst) const {
    for (const NextHopId tunnel : tunnels_.ending_at(last)) {
        for (const VrfId vrf : vrfs_of(tunnel)) {
            if (!leads_into(vrf, dst, tunnel)) continue;
            if (auto way = way_to(vrf, src)) return way;
        }
    }
    return std::nullopt;
}

// Every route in the tables is put there and taken away by these two, so that the tunnels follow.
Result<void> ForwardingPlane::put_route(VrfId vrf, const IpPrefix& prefix, NextHopId hop) {
    auto put = fib_.add(vrf, prefix, hop);
    if (!put) return put;
    if (const auto group = tunnel_groups_.find(hop); group != tunnel_groups_.end())
        group->second.vrfs.insert(vrf);
    if (const Adjacency* to = next_hops_.find(hop); to != nullptr) {
        if (to->kind == AdjacencyKind::kVrf) led_into_[to->vrf].insert(vrf);
        if (to->kind == AdjacencyKind::kTunnel) tunnel_vrfs_[hop].insert(vrf);
    }
    tunnels_.route_changed(vrf, prefix);
    return put;
}

void ForwardingPlane::take_route(VrfId vrf, const IpPrefix& prefix) {
    fib_.remove(vrf, prefix);
    tunnels_.route_changed(vrf, prefix);
}

}  // namespace slash32
