// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/plan_internal.h"

#include <fmt/format.h>

#include <algorithm>

namespace slash32 {

using namespace planning;  // NOLINT: these files are one unit

void canonicalize(PortIntent& intent) {
    std::ranges::sort(intent.addresses);
    std::ranges::sort(intent.allowed_pairs);
    std::ranges::sort(intent.gateways);
    std::ranges::sort(intent.groups);
}

namespace planning {
namespace {

RouteKey host_key(VrfId vrf, const IpAddress& address) {
    return {vrf, {address, address.bits()}};
}

const std::string& device_name(const PortIntent& intent) {
    return intent.kind == PortKind::kVhost ? intent.socket : intent.tap;
}

}  // namespace

Result<void> check_owner(std::string_view holder, std::string_view owner, bool force,
                         std::string_view path, std::string_view what) {
    if (holder == owner || force) return {};
    return fail(ErrorCode::kNotOwner, std::string(path),
                fmt::format("{} belongs to owner {}; force takes it", what, holder));
}

Result<uint32_t> acting_owner(State& state, std::string_view owner) {
    if (owner == kUplinkOwner) {
        return fail(ErrorCode::kInvalid, "$.params.owner",
                    "this name is kept for the configuration file");
    }
    return state.owner(owner);
}

std::string PortPlanner::path_of(const Upsert& upsert, std::string_view field) const {
    return upsert.fields ? fmt::format("{}.{}", upsert.path, field) : upsert.path;
}

Result<void> PortPlanner::upsert(const PortApply& request, const std::string& path, bool fields) {
    const Upsert place{change_.ports.size(), path, fields};
    const PortIntent& wanted = request.intent;
    for (size_t i = 0; i < wanted.groups.size(); ++i) {
        const GroupKey key{GroupKind::kSecurityGroup, wanted.groups[i]};
        if (key.name == kGroupAny || groups_.exists(key)) continue;
        return fail(ErrorCode::kNotFound, path_of(place, fmt::format("groups[{}]", i)),
                    fmt::format("there is no security group {}", wanted.groups[i]));
    }
    const auto is_there = [this](VrfId id) { return vrfs_.exists(id); };
    if (auto ok = check_vrf(is_there, wanted.vrf, path_of(place, "vrf")); !ok) return ok;
    const Result<uint16_t> index = state_.ports.pin(wanted.name);
    if (!index) return tl::unexpected(index.error());
    change_.pins.add_port(*index);
    PortSlot& slot = state_.ports.at(*index);
    if (slot.is_configured()) {
        return fail(ErrorCode::kConflict, path_of(place, "name"),
                    fmt::format("{} is an uplink of the configuration file", wanted.name));
    }
    if (slot.record) {
        auto ok = check_owner(owner_of(slot), wanted.owner, request.force, path_of(place, "name"),
                              fmt::format("port {}", wanted.name));
        if (!ok) return ok;
    }
    if (!slot.record && state_.draining && wanted.owner != kHostOwner) {
        return fail(ErrorCode::kConflict, path_of(place, "name"),
                    "this host is being drained: it takes no new ports");
    }
    touched_.emplace(wanted.name, *index);
    change_.port = *index;
    auto record = std::make_shared<PortRecord>(PortRecord{wanted, 0});
    canonicalize(record->intent);
    // A port that the plane could not make at start is tried again, though unchanged.
    if (slot.record && slot.record->intent == record->intent && slot.id != kNoPort) {
        ++change_.unchanged;
        if (slot.stale) change_.confirmed_ports.push_back(*index);
        return {};
    }
    // Claims are judged in the order of the request, so that paths name its fields.
    auto as_asked = std::make_shared<PortRecord>(PortRecord{wanted, 0});
    change_.ports.push_back({*index, slot.record, std::move(as_asked)});
    upserts_.push_back(place);
    return {};
}

void PortPlanner::remove(uint16_t port) {
    const Result<uint16_t> index = state_.ports.pin(state_.ports.at(port).name);
    change_.pins.add_port(*index);
    change_.ports.push_back({port, state_.ports.at(port).record, nullptr});
    removed_.insert(port);
}

uint16_t PortPlanner::lookup(std::string_view name) const {
    if (const auto at = touched_.find(name); at != touched_.end()) return at->second;
    const uint16_t index = state_.ports.find(name);
    return index != PortTable::kNone && !removes(index) ? index : PortTable::kNone;
}

Result<void> PortPlanner::judge(const std::function<bool(const RouteKey&)>& route_goes) {
    for (const PortChange& change : change_.ports) {
        if (!change.before) continue;
        const PortIntent& old = change.before->intent;
        for (const FixedAddress& fixed : old.addresses) {
            const RouteKey key = host_key(old.vrf, fixed.address);
            addresses_[key] = RouteChange{key, true, false, *state_.routes.find(key), {}};
        }
    }
    for (const Upsert& upsert : upserts_) {
        if (auto ok = claim_device(upsert); !ok) return ok;
        if (auto ok = claim_addresses(upsert, route_goes); !ok) return ok;
    }
    std::erase_if(addresses_, [](const auto& entry) {
        const RouteChange& change = entry.second;
        return change.had && change.has && change.before == change.after;
    });
    for (const Upsert& upsert : upserts_) {
        PortChange& change = change_.ports[upsert.change];
        auto record = std::make_shared<PortRecord>(*change.after);
        canonicalize(record->intent);
        change.after = std::move(record);
    }
    return check_capacity();
}

Result<void> PortPlanner::claim_device(const Upsert& upsert) {
    const PortChange& change = change_.ports[upsert.change];
    const PortIntent& wanted = change.after->intent;
    const bool is_vhost = wanted.kind == PortKind::kVhost;
    const char* field = is_vhost ? "socket" : "tap";
    const auto conflict = [&](uint16_t holder) {
        return fail(ErrorCode::kConflict, path_of(upsert, field),
                    fmt::format("{} {} of port {} belongs to port {}", field, device_name(wanted),
                                wanted.name, state_.ports.at(holder).name));
    };
    const auto [at, is_new] =
        device_claims_.emplace(fmt::format("{} {}", field, device_name(wanted)), change.port);
    if (!is_new) return conflict(at->second);
    const auto& holders = is_vhost ? state_.sockets : state_.taps;
    const auto held = holders.find(device_name(wanted));
    if (held == holders.end() || held->second == change.port) return {};
    // Whoever changes or goes in the same request gives its own name up, or has claimed it again.
    const bool released = std::ranges::any_of(change_.ports, [&](const PortChange& other) {
        return other.port == held->second &&
               (!other.after || other.after->intent.kind != wanted.kind ||
                device_name(other.after->intent) != device_name(wanted));
    });
    if (!released) return conflict(held->second);
    return {};
}

Result<void> PortPlanner::claim_addresses(const Upsert& upsert,
                                          const std::function<bool(const RouteKey&)>& route_goes) {
    const PortChange& change = change_.ports[upsert.change];
    const PortIntent& wanted = change.after->intent;
    const Result<uint32_t> owner = state_.owner(wanted.owner);
    if (!owner) return tl::unexpected(owner.error());
    for (size_t i = 0; i < wanted.addresses.size(); ++i) {
        const IpAddress& address = wanted.addresses[i].address;
        const RouteKey key = host_key(wanted.vrf, address);
        const auto conflict = [&](std::string holder) {
            return fail(ErrorCode::kConflict, path_of(upsert, fmt::format("addresses[{}]", i)),
                        fmt::format("{} of port {} in VRF {} belongs to {}", to_string(address),
                                    wanted.name, wanted.vrf.value(), holder));
        };
        const auto [at, is_new] = addresses_.try_emplace(key);
        RouteChange& route = at->second;
        route.key = key;
        if (route.has) return conflict("port " + state_.ports.at(uint16_t(route.after.hop)).name);
        if (is_new) {
            if (const RouteValue* held = state_.routes.find(key)) {
                if (held->origin_port != 0) {
                    return conflict("port " + state_.ports.at(uint16_t(held->hop)).name);
                }
                if (!route_goes(key)) {
                    return conflict("a route of owner " + state_.owners.name(held->owner));
                }
                route.had = true;
                route.before = *held;
            }
        }
        route.has = true;
        route.after.hop = change.port;
        route.after.owner = *owner & ((1u << kOwnerIndexBits) - 1);
        route.after.origin_port = 1;
    }
    return {};
}

Result<void> PortPlanner::check_capacity() const {
    size_t total = state_.ports_wanted();
    size_t vhost = state_.vhost_ports();
    for (const PortChange& change : change_.ports) {
        total = total + (change.after ? 1 : 0) - (change.before ? 1 : 0);
        const auto is_vhost = [](const PortRecordPtr& record) {
            return record && record->intent.kind == PortKind::kVhost ? size_t{1} : size_t{0};
        };
        vhost = vhost + is_vhost(change.after) - is_vhost(change.before);
    }
    if (total >= kMaxPorts) {
        return fail(ErrorCode::kLimit, "", fmt::format("at most {} ports", kMaxPorts - 1));
    }
    if (vhost > kMaxVhostPorts) {
        return fail(ErrorCode::kLimit, "",
                    fmt::format("at most {} vhost-user ports", kMaxVhostPorts));
    }
    return {};
}

void merge_addresses(ChangeSet& change, const std::map<RouteKey, RouteChange>& addresses) {
    if (addresses.empty()) return;
    std::vector<RouteChange> merged;
    merged.reserve(change.routes.size() + addresses.size());
    auto address = addresses.begin();
    for (RouteChange& route : change.routes) {
        while (address != addresses.end() && address->first < route.key) {
            merged.push_back((address++)->second);
        }
        merged.push_back(route);
    }
    for (; address != addresses.end(); ++address)
        merged.push_back(address->second);
    change.routes = std::move(merged);
}

void remove_routes_over(State& state, ChangeSet& change,
                        const std::function<bool(uint16_t port)>& gone) {
    std::vector<RouteChange> merged;
    auto planned = change.routes.begin();
    state.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        while (planned != change.routes.end() && planned->key < key)
            merged.push_back(*planned++);
        if (planned != change.routes.end() && planned->key == key) {
            merged.push_back(*planned++);
            return true;
        }
        if (value.origin_port != 0) return true;
        const HopSpec& hop = state.hops.spec(value.hop);
        if (hop.has_port() && gone(hop.port)) {
            merged.push_back(RouteChange{key, true, false, value, {}});
        }
        return true;
    });
    merged.insert(merged.end(), planned, change.routes.end());
    change.routes = std::move(merged);
}

}  // namespace planning

Result<ChangeSet> plan(State& state, const PortApply& request) {
    if (auto owner = acting_owner(state, request.intent.owner); !owner) {
        return tl::unexpected(owner.error());
    }
    ChangeSet change(state, ChangeSet::Kind::kPort, request.intent.owner);
    const GroupPlanner groups(state, change);
    const VrfPlanner vrfs(state, change);
    PortPlanner planner(state, change, groups, vrfs);
    if (auto ok = planner.upsert(request, "$.params", true); !ok) return tl::unexpected(ok.error());
    if (auto ok = planner.judge([](const RouteKey&) { return false; }); !ok) {
        return tl::unexpected(ok.error());
    }
    if (auto ok = groups.judge(); !ok) return tl::unexpected(ok.error());
    merge_addresses(change, planner.addresses());
    if (auto ok = check_route_capacity(state, change.routes); !ok) {
        return tl::unexpected(ok.error());
    }
    return change;
}

Result<ChangeSet> plan(State& state, const PortDelete& request) {
    constexpr const char* kPath = "$.params.name";
    const uint16_t index = state.ports.find(request.name);
    if (index == PortTable::kNone) {
        return fail(ErrorCode::kNotFound, kPath, fmt::format("there is no port {}", request.name));
    }
    const PortSlot& slot = state.ports.at(index);
    if (slot.is_configured()) {
        return fail(ErrorCode::kConflict, kPath,
                    fmt::format("{} is an uplink of the configuration file", request.name));
    }
    auto mine = check_owner(owner_of(slot), request.owner, request.force, kPath,
                            fmt::format("port {}", request.name));
    if (!mine) return tl::unexpected(mine.error());
    if (slot.routes > 0 && !request.force) {
        return fail(ErrorCode::kConflict, kPath,
                    fmt::format("{} route(s) lead to port {}; force removes them", slot.routes,
                                request.name));
    }
    ChangeSet change(state, ChangeSet::Kind::kPort, request.owner);
    change.port = index;
    const GroupPlanner groups(state, change);
    const VrfPlanner vrfs(state, change);
    PortPlanner planner(state, change, groups, vrfs);
    planner.remove(index);
    if (auto ok = planner.judge([](const RouteKey&) { return false; }); !ok) {
        return tl::unexpected(ok.error());
    }
    merge_addresses(change, planner.addresses());
    if (slot.routes > 0) {
        remove_routes_over(state, change, [index](uint16_t port) { return port == index; });
    }
    return change;
}

}  // namespace slash32
