// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/plan_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace slash32 {

using namespace planning;  // NOLINT: these files are one unit

namespace {

// Addresses that are never forwarded to: loopback, link-local and multicast, by prefix.
bool is_routable(const IpPrefix& prefix) {
    const auto& bytes = prefix.address.bytes;
    if (prefix.address.is_ipv4()) {
        // RFC 1122 section 3.2.1.3 and RFC 5771: 127/8, 224/4; a shorter prefix may cover them.
        const bool loopback = prefix.length >= 8 && bytes[0] == 127;
        const bool multicast = prefix.length >= 4 && bytes[0] >= 224 && bytes[0] < 240;
        return !loopback && !multicast;
    }
    // RFC 4291 section 2.4: ::1, fe80::/10, ff00::/8.
    const bool multicast = prefix.length >= 8 && bytes[0] == 0xff;
    const bool link_local = prefix.length >= 10 && Ip6{bytes}.is_link_local();
    Ip6 one;
    one.bytes[15] = 1;
    const bool loopback = prefix.length == 128 && (bytes == one.bytes || bytes == Ip6{}.bytes);
    return !multicast && !link_local && !loopback;
}

Result<void> check_prefix(const RouteGroup& group, const RouteItem& item) {
    if (!is_routable(item.key.prefix)) {
        return fail(ErrorCode::kInvalid, item.path(),
                    fmt::format("{} is loopback, link-local or multicast: it is never routed",
                                to_string(item.key.prefix)));
    }
    // RFC 8950 lets an IPv4 route have an IPv6 next hop; there is no such thing the other way
    // round.
    const auto& via = group.next_hop.via;
    if (group.next_hop.kind == NextHopSpec::Kind::kPort && via && via->is_ipv4() &&
        !item.key.prefix.address.is_ipv4()) {
        return fail(ErrorCode::kInvalid, item.path(),
                    "an IPv6 prefix cannot have an IPv4 address as its via");
    }
    return {};
}

Error duplicate(const RouteItem& a, const RouteItem& b) {
    const bool a_first = a.group != b.group ? a.group < b.group : a.index < b.index;
    const RouteItem& first = a_first ? a : b;
    const RouteItem& second = a_first ? b : a;
    return {ErrorCode::kInvalid, second.path(),
            fmt::format("{} is at {} already", to_string(second.key.prefix), first.path())};
}

std::string route_name(const RouteKey& key) {
    return fmt::format("route {} in VRF {}", to_string(key.prefix), key.vrf.value());
}

// A segment of this node lies where the node's segments are; a tunnel begins at one of them; what a
// route leads into is there.
Result<void> check_segments(const State& state, const HopRequest& request,
                            const VrfLookup& vrf_exists, const std::string& path) {
    if (request.kind == NextHopSpec::Kind::kVrf)
        return check_vrf(vrf_exists, request.vrf, path + ".vrf");
    const bool is_tunnel = request.kind == NextHopSpec::Kind::kTunnel;
    if (!is_tunnel && request.kind != NextHopSpec::Kind::kSid) return {};
    if (!state.locator) {
        const bool several = request.segment_routing.paths.size() > 1;
        return fail(ErrorCode::kInvalid,
                    path + (!is_tunnel ? ".sid"
                            : several  ? ".paths"
                                       : ".segments"),
                    "this node does no segment routing: srv6.locator is not set");
    }
    if (is_tunnel) return {};
    const IpPrefix& sid = request.segment_routing.sid->sid;
    if (sid.length >= state.locator->length && state.locator->contains(sid.address))
        return check_vrf(vrf_exists, request.segment_routing.sid->vrf, path + ".sid.vrf");
    return fail(ErrorCode::kInvalid, path + ".sid",
                fmt::format("{} is not in the node's locator {}", to_string(sid),
                            to_string(*state.locator)));
}

// That the route which is there may be changed by `owner`.
Result<void> check_route_owner(const State& state, const RouteItem& item, RouteValue held,
                               std::string_view owner, bool force) {
    if (held.origin_port != 0) {
        return fail(ErrorCode::kConflict, item.path(),
                    fmt::format("{} in VRF {} is an address of port {}", to_string(item.key.prefix),
                                item.key.vrf.value(), state.ports.at(uint16_t(held.hop)).name));
    }
    const std::string& holder = state.owners.name(held.owner);
    if (holder == owner || force) return {};
    return check_owner(holder, owner, force, item.path(), route_name(item.key));
}

}  // namespace

std::string RouteItem::path() const {
    return fmt::format("$.params.routes[{}].prefixes[{}]", group, index);
}

Result<std::vector<RouteItem>> sorted_items(const std::vector<RouteGroup>& groups) {
    std::vector<RouteItem> items;
    size_t total = 0;
    for (const RouteGroup& group : groups)
        total += group.prefixes.size();
    items.reserve(total);
    for (uint32_t g = 0; g < groups.size(); ++g) {
        for (uint32_t i = 0; i < groups[g].prefixes.size(); ++i) {
            items.push_back({{groups[g].vrf, groups[g].prefixes[i]}, g, i});
            if (auto ok = check_prefix(groups[g], items.back()); !ok) {
                return tl::unexpected(ok.error());
            }
        }
    }
    const auto by_key = [](const RouteItem& a, const RouteItem& b) { return a.key < b.key; };
    if (!std::ranges::is_sorted(items, by_key)) std::ranges::sort(items, by_key);
    const auto twice = std::ranges::adjacent_find(
        items, [](const RouteItem& a, const RouteItem& b) { return a.key == b.key; });
    if (twice != items.end()) return tl::unexpected(duplicate(*twice, *(twice + 1)));
    return items;
}

namespace planning {

Result<void> check_route_capacity(const State& state, const std::vector<RouteChange>& changes) {
    std::array<std::array<std::ptrdiff_t, 2>, 2> delta{};  // [family][prefix]
    for (const RouteChange& change : changes) {
        auto& count =
            delta[change.key.prefix.address.is_ipv4() ? 0 : 1][change.key.prefix.is_host() ? 0 : 1];
        count += (change.has ? 1 : 0) - (change.had ? 1 : 0);
    }
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const auto& more = delta[family == Family::kIpv4 ? 0 : 1];
        const State::RouteCounts& now = state.route_counts(family);
        const auto over = [](size_t have, std::ptrdiff_t add, size_t max) {
            return add > 0 && have + static_cast<size_t>(add) > max;
        };
        const int number = family == Family::kIpv4 ? 4 : 6;
        if (over(now.hosts, more[0], kMaxHostRoutes)) {
            return fail(ErrorCode::kLimit, "",
                        fmt::format("at most {} IPv{} host routes", kMaxHostRoutes, number));
        }
        if (over(now.prefixes, more[1], kMaxPrefixes)) {
            return fail(ErrorCode::kLimit, "",
                        fmt::format("at most {} IPv{} prefixes", kMaxPrefixes, number));
        }
    }
    return {};
}

Result<uint32_t> resolve_hop(State& state, ChangeSet& change, const HopRequest& request,
                             const PortLookup& lookup, const VrfLookup& vrf_exists,
                             const std::string& path) {
    HopSpec spec{request.kind, HopSpec::kNoPortIndex,   request.via,
                 request.mac,  request.segment_routing, request.vrf};
    if (auto ok = check_segments(state, request, vrf_exists, path); !ok)
        return tl::unexpected(ok.error());
    const std::string at = request.kind == NextHopSpec::Kind::kSid ? path + ".sid" : path;
    if (request.has_port()) {
        spec.port = lookup(request.port);
        if (spec.port == PortTable::kNone) {
            return fail(ErrorCode::kNotFound, at + ".port",
                        fmt::format("there is no port {}", request.port));
        }
        if (state.ports.at(spec.port).host_view) {
            return fail(ErrorCode::kInvalid, at + ".port",
                        fmt::format("{} is the host's view of an uplink", request.port));
        }
        const bool is_uplink = state.ports.at(spec.port).is_uplink();
        if (is_uplink && !request.via) {
            return fail(ErrorCode::kInvalid, at + ".via",
                        fmt::format("is required: {} is an uplink", request.port));
        }
        if (is_uplink && request.mac) {
            return fail(ErrorCode::kInvalid, at + ".mac",
                        fmt::format("not for an uplink: {} is one", request.port));
        }
        if (!is_uplink && request.via) {
            return fail(ErrorCode::kInvalid, at + ".via",
                        fmt::format("for uplinks only: {} is the port of a VM", request.port));
        }
    }
    Result<uint32_t> hop = state.hops.pin(spec);
    if (!hop) return tl::unexpected(hop.error());
    change.pins.add_hop(*hop);
    if (request.has_port()) {
        const Result<uint16_t> pinned = state.ports.pin(state.ports.at(spec.port).name);
        change.pins.add_port(*pinned);
    }
    return hop;
}

}  // namespace planning

Result<ChangeSet> plan(State& state, const RouteApply& request) {
    const Result<uint32_t> owner = acting_owner(state, request.owner);
    if (!owner) return tl::unexpected(owner.error());
    const Result<std::vector<RouteItem>> items = sorted_items(request.routes);
    if (!items) return tl::unexpected(items.error());
    ChangeSet change(state, ChangeSet::Kind::kRoute, request.owner);

    std::vector<RouteValue> values(request.routes.size());
    const PortLookup lookup = [&](std::string_view name) { return state.ports.find(name); };
    const VrfLookup vrf_exists = [&](VrfId id) { return state.vrfs.exists(id); };
    for (size_t g = 0; g < request.routes.size(); ++g) {
        const std::string path = fmt::format("$.params.routes[{}]", g);
        if (auto ok = check_vrf(vrf_exists, request.routes[g].vrf, path + ".vrf"); !ok)
            return tl::unexpected(ok.error());
        const auto hop = resolve_hop(state, change, request.routes[g].next_hop, lookup, vrf_exists,
                                     path + ".next_hop");
        if (!hop) return tl::unexpected(hop.error());
        values[g].hop = *hop & (kMaxNextHops - 1);
        values[g].owner = *owner & ((1u << kOwnerIndexBits) - 1);
    }
    change.routes.reserve(items->size());
    for (const RouteItem& item : *items) {
        RouteChange route{item.key, false, true, {}, values[item.group]};
        if (const RouteValue* held = state.routes.find(item.key)) {
            auto ok = check_route_owner(state, item, *held, request.owner, request.force);
            if (!ok) return tl::unexpected(ok.error());
            if (held->hop == route.after.hop && held->owner == route.after.owner) {
                ++change.unchanged;
                if (held->stale != 0) change.confirmed_routes.push_back(item.key);
                continue;
            }
            route.had = true;
            route.before = *held;
        }
        change.routes.push_back(route);
    }
    if (auto ok = check_route_capacity(state, change.routes); !ok) {
        return tl::unexpected(ok.error());
    }
    return change;
}

Result<ChangeSet> plan(State& state, const RouteDelete& request) {
    const Result<std::vector<RouteItem>> items = sorted_items(request.routes);
    if (!items) return tl::unexpected(items.error());
    ChangeSet change(state, ChangeSet::Kind::kRoute, request.owner);
    for (const RouteItem& item : *items) {
        const RouteValue* held = state.routes.find(item.key);
        if (held == nullptr) {
            ++change.missing;
            continue;
        }
        auto ok = check_route_owner(state, item, *held, request.owner, request.force);
        if (!ok) return tl::unexpected(ok.error());
        change.routes.push_back({item.key, true, false, *held, {}});
    }
    return change;
}

}  // namespace slash32
