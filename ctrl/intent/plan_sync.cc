// SPDX-License-Identifier: Apache-2.0
// The difference between an owner's complete set and what is there.
#include "ctrl/intent/plan_internal.h"

#include <fmt/format.h>

#include <algorithm>

namespace slash32 {

using namespace planning;  // NOLINT: these files are one unit

namespace {

constexpr const char* kPath = "$.params.sync";

class SyncPlanner {
  public:
    SyncPlanner(State& state, const SyncSet& set, uint32_t owner, bool force, ChangeSet& change)
        : state_(state),
          set_(set),
          owner_(owner),
          force_(force),
          change_(change),
          groups_(state, change),
          vrfs_(state, change),
          ports_(state, change, groups_, vrfs_) {}

    Result<void> run() {
        if (auto ok = plan_vrfs(); !ok) return ok;
        if (auto ok = plan_groups(); !ok) return ok;
        if (auto ok = plan_ports(); !ok) return ok;
        if (auto ok = groups_.judge(); !ok) return ok;
        if (auto ok = vrfs_.check_empty(kPath); !ok) return ok;
        if (auto ok = plan_neighbors(); !ok) return ok;
        if (auto ok = plan_routes(); !ok) return ok;
        merge_addresses(change_, ports_.addresses());
        if (auto ok = plan_orphans(); !ok) return ok;
        if (auto ok = vrfs_.remove_routes(set_.owner, force_, kPath); !ok) return ok;
        return check_route_capacity(state_, change_.routes);
    }

  private:
    bool force(bool of_object) const { return force_ || of_object; }
    Result<void> plan_vrfs();
    Result<void> plan_groups();
    Result<void> plan_ports();
    Result<void> plan_routes();
    Result<void> plan_route(const RouteKey& key, RouteValue staged);
    void sweep_routes();
    Result<void> plan_neighbors();
    Result<void> plan_orphans();

    State& state_;
    const SyncSet& set_;
    const uint32_t owner_;
    const bool force_;
    ChangeSet& change_;
    GroupPlanner groups_;
    VrfPlanner vrfs_;
    PortPlanner ports_;
    std::vector<uint32_t> hops_;  // of set_.hops: index of the next-hop table
};

Result<void> SyncPlanner::plan_vrfs() {
    if (!set_.kinds.vrfs) return {};
    for (const auto& [id, staged] : set_.vrfs) {
        VrfApply request = staged;
        request.force = force(staged.force);
        if (auto ok = vrfs_.upsert(request, kPath, false); !ok) return ok;
    }
    for (const auto& [id, slot] : state_.vrfs.all()) {
        if (slot.record->intent.owner == set_.owner && !set_.vrfs.contains(id)) vrfs_.remove(id);
    }
    return {};
}

Result<void> SyncPlanner::plan_groups() {
    for (const auto& [key, staged] : set_.groups) {
        GroupApply request = staged;
        request.force = force(staged.force);
        if (auto ok = groups_.upsert(request, kPath, false); !ok) return ok;
    }
    for (const auto& [key, slot] : state_.groups.all()) {
        const bool mine = slot.record->intent.owner == set_.owner;
        if (set_.kinds.has(key.kind) && mine && !set_.groups.contains(key)) groups_.remove(key);
    }
    return {};
}

Result<void> SyncPlanner::plan_ports() {
    if (set_.kinds.ports) {
        for (const auto& [name, staged] : set_.ports) {
            PortApply request = staged;
            request.force = force(staged.force);
            if (auto ok = ports_.upsert(request, kPath, false); !ok) return ok;
        }
        std::vector<uint16_t> missing;
        state_.ports.visit_all([&](uint16_t index, const PortSlot& slot) {
            if (slot.record && owner_of(slot) == set_.owner && !set_.ports.contains(slot.name)) {
                missing.push_back(index);
            }
        });
        for (const uint16_t index : missing)
            ports_.remove(index);
    }
    return ports_.judge([this](const RouteKey& key) {
        const RouteValue* held = state_.routes.find(key);
        return set_.kinds.routes && held != nullptr && held->owner == owner_ &&
               set_.routes.find(key) == nullptr;
    });
}

Result<void> SyncPlanner::plan_routes() {
    if (!set_.kinds.routes) return {};
    const PortLookup lookup = [this](std::string_view name) { return ports_.lookup(name); };
    const VrfLookup vrf_exists = [this](VrfId id) { return vrfs_.exists(id); };
    // Of the next hops only those that some route has: it may have been staged again with another.
    std::vector<bool> used(set_.hops.size());
    set_.routes.visit_all([&](const RouteKey&, RouteValue staged) {
        used[staged.hop] = true;
        return true;
    });
    hops_.resize(set_.hops.size());
    for (size_t i = 0; i < hops_.size(); ++i) {
        if (!used[i]) continue;
        const auto hop = resolve_hop(state_, change_, set_.hops[i], lookup, vrf_exists, kPath);
        if (!hop) return fail(hop.error().code, kPath, hop.error().message);
        hops_[i] = *hop;
    }
    Result<void> result;
    set_.routes.visit_all([&](const RouteKey& key, RouteValue staged) {
        result = plan_route(key, staged);
        return result.has_value();
    });
    if (!result) return result;
    sweep_routes();
    return {};
}

Result<void> SyncPlanner::plan_route(const RouteKey& key, RouteValue staged) {
    RouteValue wanted;
    wanted.hop = hops_[staged.hop] & (kMaxNextHops - 1);
    wanted.owner = owner_ & ((1u << kOwnerIndexBits) - 1);
    const auto vrf_exists = [this](VrfId id) { return vrfs_.exists(id); };
    if (auto ok = check_vrf(vrf_exists, key.vrf, kPath); !ok) return ok;
    RouteChange route{key, false, true, {}, wanted};
    auto& addresses = ports_.addresses();
    if (const auto at = addresses.find(key); at != addresses.end()) {
        if (at->second.has) {
            return fail(ErrorCode::kConflict, kPath,
                        fmt::format("route {} is an address of port {}", to_string(key.prefix),
                                    state_.ports.at(uint16_t(at->second.after.hop)).name));
        }
        route.had = true;  // an address that its port gives up
        route.before = at->second.before;
        addresses.erase(at);
        change_.routes.push_back(route);
        return {};
    }
    if (const RouteValue* held = state_.routes.find(key)) {
        if (held->origin_port != 0) {
            return fail(ErrorCode::kConflict, kPath,
                        fmt::format("route {} is an address of port {}", to_string(key.prefix),
                                    state_.ports.at(uint16_t(held->hop)).name));
        }
        if (held->owner != owner_) {
            auto mine =
                check_owner(state_.owners.name(held->owner), set_.owner, force(staged.owner != 0),
                            kPath, fmt::format("route {}", to_string(key.prefix)));
            if (!mine) return mine;
        }
        if (held->hop == wanted.hop && held->owner == wanted.owner) {
            ++change_.unchanged;
            return {};
        }
        route.had = true;
        route.before = *held;
    }
    change_.routes.push_back(route);
    return {};
}

void SyncPlanner::sweep_routes() {
    std::vector<RouteChange> swept;
    const auto& addresses = ports_.addresses();
    state_.routes.visit_all([&](const RouteKey& key, RouteValue held) {
        if (held.origin_port != 0 || held.owner != owner_) return true;
        if (set_.routes.find(key) != nullptr || addresses.contains(key)) return true;
        swept.push_back({key, true, false, held, {}});
        return true;
    });
    std::vector<RouteChange> merged(change_.routes.size() + swept.size());
    std::ranges::merge(change_.routes, swept, merged.begin(),
                       [](const RouteChange& a, const RouteChange& b) { return a.key < b.key; });
    change_.routes = std::move(merged);
}

Result<void> SyncPlanner::plan_neighbors() {
    if (!set_.kinds.neighbors) return {};
    for (const auto& [key, staged] : set_.neighbors) {
        NeighborApply request = staged;
        request.force = force(staged.force);
        Result<ChangeSet> one = plan(state_, request);
        if (!one) return fail(one.error().code, kPath, one.error().message);
        change_.unchanged += one->unchanged;
        for (NeighborChange& change : one->neighbors)
            change_.neighbors.push_back(change);
    }
    for (const auto& [key, held] : state_.neighbors) {
        const auto name = std::make_pair(state_.ports.at(key.port).name, key.address);
        if (held.owner != owner_ || set_.neighbors.contains(name)) continue;
        change_.neighbors.push_back({key, held, std::nullopt});
    }
    return {};
}

// Routes over ports that go: those of the set were resolved against the end state, so what is left
// over belongs to others, or is of a kind that this sync is not about.
Result<void> SyncPlanner::plan_orphans() {
    std::map<uint16_t, uint32_t> left;
    for (const PortChange& change : change_.ports) {
        const uint32_t routes = state_.ports.at(change.port).routes;
        if (!change.after && routes > 0) left[change.port] = routes;
    }
    if (left.empty()) return {};
    for (const RouteChange& change : change_.routes) {
        if (!change.had || change.before.origin_port != 0) continue;
        const HopSpec& hop = state_.hops.spec(change.before.hop);
        const auto at = left.find(hop.port);
        if (hop.has_port() && at != left.end()) --at->second;
    }
    std::erase_if(left, [](const auto& entry) { return entry.second == 0; });
    if (left.empty()) return {};
    if (!force_) {
        return fail(ErrorCode::kConflict, kPath,
                    fmt::format("{} route(s) that this sync does not remove lead to port {}, which "
                                "it does; force removes them",
                                left.begin()->second, state_.ports.at(left.begin()->first).name));
    }
    remove_routes_over(state_, change_, [this](uint16_t port) { return ports_.removes(port); });
    return {};
}

}  // namespace

Result<ChangeSet> plan(State& state, const SyncSet& set, bool force) {
    if (set.gone) return fail(ErrorCode::kNotFound, kPath, "the sync is gone");
    const Result<uint32_t> owner = acting_owner(state, set.owner);
    if (!owner) return tl::unexpected(owner.error());
    ChangeSet change(state, ChangeSet::Kind::kSync, set.owner);
    SyncPlanner planner(state, set, *owner, force, change);
    if (auto ok = planner.run(); !ok) return tl::unexpected(ok.error());
    change.confirmed_owner = *owner;
    return change;
}

}  // namespace slash32
