// SPDX-License-Identifier: Apache-2.0
// What the planners share; for plan_*.cc alone.
#pragma once

#include "ctrl/intent/plan.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>

namespace slash32::planning {

// Errors: kNotOwner at `path`.
Result<void> check_owner(std::string_view holder, std::string_view owner, bool force,
                         std::string_view path, std::string_view what);
// The index of the acting owner. Errors: kInvalid (reserved), kLimit.
Result<uint32_t> acting_owner(State& state, std::string_view owner);

// Hosts and prefixes of both families after the change. Errors: kLimit.
Result<void> check_route_capacity(const State& state, const std::vector<RouteChange>& changes);

// Finds a port as it will be when the change is done: its index or kNone.
using PortLookup = std::function<uint16_t(std::string_view name)>;

// Whether a VRF is there when the change is done.
using VrfLookup = std::function<bool(VrfId id)>;

// Errors: kNotFound at `path`.
Result<void> check_vrf(const VrfLookup& exists, VrfId id, const std::string& path);

// The next hop's index, pinned by `change`. `path` is that of the next_hop object. Errors:
// kNotFound, kInvalid, kLimit.
Result<uint32_t> resolve_hop(State& state, ChangeSet& change, const HopRequest& request,
                             const PortLookup& lookup, const VrfLookup& vrf_exists,
                             const std::string& path);

// Collects what happens to VRFs, then judges the end state.
class VrfPlanner {
  public:
    VrfPlanner(State& state, ChangeSet& change) : state_(state), change_(change) {}

    // `path` and `fields` as of PortPlanner::upsert.
    Result<void> upsert(const VrfApply& request, const std::string& path, bool fields);
    // REQUIRES: it has a record.
    void remove(VrfId id);
    bool exists(VrfId id) const;

    // No port stays in what goes. REQUIRES: the ports' changes are in the change set. Errors:
    // kConflict at `path`.
    Result<void> check_empty(const std::string& path) const;
    // Appends the removal of the routes in what goes, and of the segments that lead into it, but
    // those that the change has already. Errors: kNotOwner.
    Result<void> remove_routes(const std::string& owner, bool force, const std::string& path);

  private:
    bool removes(VrfId id) const;

    State& state_;
    ChangeSet& change_;
    std::map<VrfId, size_t> changes_;  // indexes of change_.vrfs
};

// Collects what happens to groups and their members, then judges the end state.
class GroupPlanner {
  public:
    GroupPlanner(State& state, ChangeSet& change) : state_(state), change_(change) {}

    // `path` and `fields` as of PortPlanner::upsert.
    Result<void> upsert(const GroupApply& request, const std::string& path, bool fields);
    void remove(const GroupKey& key);
    // Whether the group is there when the change is done.
    bool exists(const GroupKey& key) const { return find(key) != nullptr; }

    // What rules and ports name is there, and fits. REQUIRES: the ports' changes are in the change
    // set.
    Result<void> judge() const;

  private:
    struct Upsert {
        std::string path;
        bool fields;
    };
    const GroupIntent* find(const GroupKey& key) const;
    template <typename Visit>
    void visit_ports(Visit&& visit) const;
    Result<void> check_remotes(const GroupChange& change) const;
    Result<void> check_unused() const;
    Result<void> check_rules_per_port() const;
    Result<void> check_capacity() const;
    tl::unexpected<Error> at_fault(const GroupKey& key, ErrorCode code, std::string_view field,
                                   std::string message) const;

    State& state_;
    ChangeSet& change_;
    std::map<GroupKey, size_t> changes_;  // indexes of change_.groups
    std::map<GroupKey, Upsert> upserts_;
};

// Adds what gets `wanted` from the present members of a group.
void change_members(const State& state, ChangeSet& change, const GroupKey& key,
                    const std::vector<IpPrefix>& wanted);

// Collects what happens to ports, then judges the end state.
class PortPlanner {
  public:
    // `groups` and `vrfs` know which of them will be there.
    PortPlanner(State& state, ChangeSet& change, const GroupPlanner& groups, const VrfPlanner& vrfs)
        : state_(state), change_(change), groups_(groups), vrfs_(vrfs) {}

    // `path` stands for "$.params": the root of error paths. In a sync all paths are `path` itself
    // (one_field = false).
    Result<void> upsert(const PortApply& request, const std::string& path, bool fields);
    void remove(uint16_t port);

    // Checks uniqueness and fills `addresses`. `route_goes` says whether the same change takes the
    // static route of this key away.
    Result<void> judge(const std::function<bool(const RouteKey&)>& route_goes);
    // Host routes of fixed addresses that change, by key.
    std::map<RouteKey, RouteChange>& addresses() { return addresses_; }

    uint16_t lookup(std::string_view name) const;
    bool removes(uint16_t port) const { return removed_.contains(port); }

  private:
    struct Upsert {
        size_t change;  // index of change_.ports
        std::string path;
        bool fields;
    };
    std::string path_of(const Upsert& upsert, std::string_view field) const;
    Result<void> claim_addresses(const Upsert& upsert,
                                 const std::function<bool(const RouteKey&)>& route_goes);
    Result<void> claim_device(const Upsert& upsert);
    Result<void> check_capacity() const;

    State& state_;
    ChangeSet& change_;
    const GroupPlanner& groups_;
    const VrfPlanner& vrfs_;
    std::vector<Upsert> upserts_;
    std::map<std::string, uint16_t, std::less<>> touched_;  // name → index, upserted
    std::unordered_set<uint16_t> removed_;
    std::map<std::string, uint16_t> device_claims_;  // "socket /x", "tap y"
    std::map<RouteKey, RouteChange> addresses_;
};

// Appends the removal of every static route over a port for which `gone` holds, but those that
// `change` has already.
void remove_routes_over(State& state, ChangeSet& change,
                        const std::function<bool(uint16_t port)>& gone);
// Puts the addresses' changes among the routes, in order of key.
void merge_addresses(ChangeSet& change, const std::map<RouteKey, RouteChange>& addresses);

}  // namespace slash32::planning
