// SPDX-License-Identifier: Apache-2.0
// The ways of the kernel's routes: each distinct set of them is one next-hop group of the plane,
// whatever number of routes share it. A link, a neighbour or a next-hop object that changes is an
// edit of the groups concerned; the routes stay as they are.
//
// Thread safety: the control thread.
#pragma once

#include "ctrl/netlink/messages.h"
#include "ctrl/plane/forwarding_plane.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace slash32 {

// Where a route leads, as the kernel says it.
struct Ways {
    RouteType type = RouteType::kUnicast;
    uint32_t next_hop_object = 0;
    std::vector<HopMessage> hops;  // sorted; empty where there is an object
    auto operator<=>(const Ways&) const = default;
};

class HopSets {
  public:
    using Id = uint32_t;

    // `tables`: of the kernel, with the VRF of each.
    HopSets(ForwardingPlane& plane, std::map<uint32_t, VrfId> tables)
        : plane_(plane), tables_(std::move(tables)) {}
    HopSets(const HopSets&) = delete;
    HopSets& operator=(const HopSets&) = delete;

    // Told of each next hop that a set has come to want, and when the last one wants it no more.
    using WantHook = std::function<void(PortId, const IpAddress&, bool wanted)>;
    void on_want(WantHook hook) { want_ = std::move(hook); }

    // A reference to the set. Errors: kLimit.
    Result<Id> acquire(const Ways& ways);
    void release(Id id);
    NextHopId group(Id id) const { return sets_.at(id).group; }
    const Ways& ways(Id id) const { return *sets_.at(id).ways; }
    // Whether it leads anywhere now.
    bool resolved(Id id) const { return !sets_.at(id).members.empty(); }
    // References to sets that lead nowhere.
    size_t unresolved() const;
    size_t size() const { return sets_.size(); }

    // An interface is that of an uplink and set up, or is not (any more).
    void set_interface(uint32_t interface, std::optional<PortId> port);
    std::optional<PortId> port_of(uint32_t interface) const;
    uint32_t interface_of(PortId port) const;  // 0: none
    // Whether a set has a way over the interface.
    bool uses(uint32_t interface) const;
    void set_object(const NextHopMessage& object);
    // Whether a set was made by it.
    bool remove_object(uint32_t id);
    // The port's link, or whether a neighbour on it answers, has changed.
    void refresh(PortId port);
    void set_failed(PortId port, const IpAddress& neighbor, bool failed);
    // Whether the underlay leads to some tunnel's first segment has changed.
    void refresh_tunnels();

  private:
    struct Set {
        const Ways* ways = nullptr;  // the key in by_ways_
        NextHopId group;
        size_t references = 0;
        std::vector<std::pair<NextHopSpec, NextHopId>> members;  // held adjacencies
    };
    using Wanted = std::map<NextHopSpec, uint16_t>;  // with weights

    std::vector<HopMessage> hops_of(const Ways& ways) const;
    void add_object_hops(uint32_t id, uint16_t weight, std::vector<HopMessage>& hops) const;
    bool leads_over(const Ways& ways, uint32_t interface) const;
    Wanted members_of(const Ways& ways) const;
    void add_way(const HopMessage& hop, Wanted& usable, Wanted& doubtful) const;
    // The next hop of a way; nothing: it leads nowhere.
    std::optional<NextHopSpec> spec_of(const HopMessage& hop) const;
    std::optional<NextHopSpec> segment_of(const HopMessage& hop) const;
    bool is_doubtful(const HopMessage& hop, const NextHopSpec& spec) const;
    void evaluate(Set& set);
    template <typename Concerns>
    void evaluate_where(Concerns&& concerns);
    void count_want(const NextHopSpec& spec, int by);

    ForwardingPlane& plane_;
    const std::map<uint32_t, VrfId> tables_;
    WantHook want_ = [](PortId, const IpAddress&, bool) {};
    std::map<Ways, Id> by_ways_;
    std::map<Id, Set> sets_;
    Id next_ = 1;
    std::map<uint32_t, PortId> ports_;  // by interface
    std::map<uint32_t, NextHopMessage> objects_;
    std::set<std::pair<PortId, IpAddress>> failed_;
    std::map<std::pair<PortId, IpAddress>, int> wants_;
};

}  // namespace slash32
