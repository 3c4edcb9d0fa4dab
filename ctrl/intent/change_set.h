// SPDX-License-Identifier: Apache-2.0
// What one request changes: planned against the state, then stored, applied, programmed, reported,
// and, when any of that fails, undone. The one currency of the intent layer.
//
// A change set holds pins on the next hops and ports that it names until it goes.
#pragma once

#include "ctrl/intent/group_table.h"
#include "ctrl/intent/port_table.h"
#include "ctrl/intent/route_table.h"
#include "ctrl/intent/vrf_table.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace slash32 {

class State;

struct NeighborKey {
    uint16_t port = 0;  // index of the port table
    IpAddress address;
    auto operator<=>(const NeighborKey&) const = default;
};

struct NeighborRecord {
    Mac mac;
    uint32_t owner = 0;  // index of the owner table
    bool stale = false;
    bool operator==(const NeighborRecord&) const = default;
};

struct PortChange {
    uint16_t port = 0;
    PortRecordPtr before;  // null: added
    PortRecordPtr after;   // null: removed
    bool was_stale = false;
};

struct RouteChange {
    RouteKey key;
    bool had = false;
    bool has = false;
    RouteValue before;
    RouteValue after;

    bool is_add() const { return !had; }
    bool is_remove() const { return !has; }
    // The fixed address of a port: programmed, stored and reported with the port.
    bool of_port() const {
        return (had && before.origin_port != 0) || (has && after.origin_port != 0);
    }
};

struct NeighborChange {
    NeighborKey key;
    std::optional<NeighborRecord> before;
    std::optional<NeighborRecord> after;
};

struct GroupChange {
    GroupKey key;
    GroupRecordPtr before;  // null: added
    GroupRecordPtr after;   // null: removed
    bool was_stale = false;
};

struct VrfChange {
    VrfId id;
    VrfRecordPtr before;  // null: added
    VrfRecordPtr after;   // null: removed
    bool was_stale = false;
};

// Of one group that is there before and after, or is added or removed by the same change.
struct MemberChange {
    GroupKey key;
    std::vector<IpPrefix> added;    // none of them was there
    std::vector<IpPrefix> removed;  // all of them were
};

// Pins of one change set, given back when it goes.
class Pins {
  public:
    explicit Pins(State& state) : state_(&state) {}
    Pins(Pins&& other) noexcept;
    Pins& operator=(Pins&& other) noexcept;
    ~Pins();
    void add_hop(uint32_t index) { hops_.push_back(index); }
    void add_port(uint16_t index) { ports_.push_back(index); }

  private:
    void release();
    State* state_;
    std::vector<uint32_t> hops_;
    std::vector<uint16_t> ports_;
};

struct ChangeCounts {
    uint64_t added = 0;
    uint64_t changed = 0;
    uint64_t removed = 0;
    uint64_t unchanged = 0;
    uint64_t missing = 0;  // of a deletion: nothing there
};

struct ChangeSet {
    enum class Kind : uint8_t { kPort, kRoute, kNeighbor, kGroup, kMembers, kVrf, kSync };

    ChangeSet(State& state, Kind kind_, std::string owner_)
        : kind(kind_), owner(std::move(owner_)), pins(state) {}

    Kind kind;
    std::string owner;      // who asked
    uint64_t revision = 0;  // set by State::apply when it changes anything
    std::vector<PortChange> ports;
    std::vector<RouteChange> routes;  // in order of key
    std::vector<NeighborChange> neighbors;
    std::vector<GroupChange> groups;
    std::vector<MemberChange> members;
    std::vector<VrfChange> vrfs;
    uint64_t unchanged = 0;
    uint64_t missing = 0;
    uint16_t port = PortTable::kNone;  // kPort: the port that the request is about

    // No longer stale once this is done, though unchanged.
    std::vector<uint16_t> confirmed_ports;
    std::vector<RouteKey> confirmed_routes;
    std::vector<NeighborKey> confirmed_neighbors;
    std::vector<GroupKey> confirmed_groups;
    std::vector<VrfId> confirmed_vrfs;
    std::optional<uint32_t> confirmed_owner;  // everything of this owner

    Pins pins;

    bool empty() const {
        return ports.empty() && routes.empty() && neighbors.empty() && groups.empty() &&
               members.empty() && vrfs.empty();
    }
    // Of objects; the fixed addresses of ports do not count as routes. Of kMembers: of members.
    ChangeCounts counts() const;
};

}  // namespace slash32
