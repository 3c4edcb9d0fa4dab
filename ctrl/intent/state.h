// SPDX-License-Identifier: Apache-2.0
// All that owners want, in memory: VRFs, ports, routes, neighbours, groups, and who owns them.
//
// Belongs to the control thread. Changed by change sets only: apply() makes one true in memory,
// then either finish() (it is programmed and stays) or undo(), in reverse order of apply().
// Invariants: a route leads to an existing port; a port and a rule name existing groups; every
// fixed address of a port is a host route of origin port; the counts of owners and the number of
// routes of a port agree with the tables.
#pragma once

#include "ctrl/intent/change_set.h"
#include "ctrl/intent/next_hop_table.h"
#include "ctrl/intent/owner_table.h"
#include "ctrl/intent/port_table.h"
#include "ctrl/intent/route_table.h"

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace slash32 {

class State {
  public:
    State(std::set<std::string> volatile_owners, std::function<void(NextHopId)> release_next_hop)
        : owners(std::move(volatile_owners)), hops(std::move(release_next_hop)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    PortTable ports;
    OwnerTable owners;
    NextHopTable hops;
    RouteTable routes;
    std::map<NeighborKey, NeighborRecord> neighbors;
    GroupTable groups;
    VrfTable vrfs;
    std::map<std::string, uint16_t, std::less<>> sockets;  // path → port index
    std::map<std::string, uint16_t, std::less<>> taps;     // interface name → port index
    uint64_t revision = 0;
    bool draining = false;            // no new ports, but the host's own
    std::optional<IpPrefix> locator;  // of the node's segments; absent: it has none

    // The index of an owner's name. Errors: kLimit.
    Result<uint32_t> owner(std::string_view name) { return owners.index(name, live_changes_ == 0); }

    void apply(ChangeSet& change);
    void undo(ChangeSet& change);
    // After programming: lets go of what was replaced.
    void finish(ChangeSet& change);

    // At start only: a route, port or neighbour that is there without a change set.
    // REQUIRES: nothing of that key is there.
    void restore_port(uint16_t port, const PortRecordPtr& record);
    // A host route of origin port.
    void restore_address(const RouteKey& key, uint16_t port, uint32_t owner);
    void restore_neighbor(const NeighborKey& key, const NeighborRecord& record);
    void restore_group(const GroupRecordPtr& record);
    void restore_vrf(const VrfRecordPtr& record);
    // Replaces. `value.hop` is pinned by the caller.
    void restore_route(const RouteKey& key, RouteValue value);
    void restore_no_route(const RouteKey& key);

    struct RouteCounts {
        size_t hosts = 0;     // /32 and /128, fixed addresses included
        size_t prefixes = 0;  // shorter
        size_t of_ports = 0;  // hosts that are fixed addresses
    };
    const RouteCounts& route_counts(Family family) const {
        return route_counts_[family == Family::kIpv4 ? 0 : 1];
    }
    size_t static_routes() const {
        return routes.size() - route_counts_[0].of_ports - route_counts_[1].of_ports;
    }
    size_t vhost_ports() const { return vhost_ports_; }
    size_t ports_wanted() const { return ports_wanted_; }

  private:
    friend class Pins;
    void set_port(uint16_t port, const PortRecordPtr& from, const PortRecordPtr& to, bool stale);
    void set_route(const RouteKey& key, const RouteValue* from, const RouteValue* to);
    void count_route(const RouteKey& key, RouteValue value, int by);
    void set_neighbor(const NeighborKey& key, const std::optional<NeighborRecord>& to);
    void set_group(const GroupKey& key, const GroupRecordPtr& to, bool stale);
    void set_vrf(VrfId id, const VrfRecordPtr& to, bool stale);
    void confirm(const ChangeSet& change);
    void confirm_owner(uint32_t owner);

    std::array<RouteCounts, 2> route_counts_;
    size_t vhost_ports_ = 0;
    size_t ports_wanted_ = 0;
    size_t live_changes_ = 0;  // applied, neither finished nor undone
};

// The intent's owner of a port that is wanted. REQUIRES: not an uplink.
inline const std::string& owner_of(const PortSlot& slot) {
    return slot.record->intent.owner;
}
inline constexpr std::string_view kUplinkOwner = "config";

}  // namespace slash32
