// SPDX-License-Identifier: Apache-2.0
// Next hops: from what a route names to the adjacency that workers hold under its id.
//
// Equal specs share one id, counted by reference. An id is used again only after every worker has
// let go of it. Neighbours are kept here too: an adjacency over an uplink follows its neighbour.
// Thread safety: the control thread alone.
#pragma once

#include "ctrl/intent/model.h"
#include "ctrl/plane/encapsulation.h"
#include "ctrl/publish/publisher.h"
#include "dp/abi/adjacency.h"
#include "dp/base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace slash32 {

// What an adjacency takes from its port.
struct PortLink {
    Mac mac;         // of the VM behind it
    Mac router_mac;  // the source of what leaves
    uint16_t mtu = 0;
    bool resolves = false;  // an uplink whose neighbours are found when they are wanted
};

// What has been learnt of a neighbour.
struct LearnedNeighbor {
    std::optional<Mac> mac;  // absent: it does not answer
    bool operator==(const LearnedNeighbor&) const = default;
};

class NextHops {
  public:
    explicit NextHops(Publisher& publisher);

    // Where workers note when next hops were used last, and the clock of that; nullptr: nowhere.
    void set_use(HopUse* use, std::function<uint32_t()> clock) {
        use_ = use;
        clock_ = std::move(clock);
    }
    // Of tunnels made from now on.
    void set_tunnel_settings(const TunnelSettings& settings) { tunnel_settings_ = settings; }

    // A tunnel has one path here; it leads nowhere until set_underlay(). A segment that forwards
    // holds the next hop that it forwards over. REQUIRES: the spec's port has a link. Errors:
    // kLimit.
    Result<NextHopId> acquire(const NextHopSpec& spec);
    void release(NextHopId id);
    // The way of a tunnel's outer packets and the MTU of its link; kNoNextHop: there is none.
    void set_underlay(NextHopId tunnel, NextHopId underlay, uint16_t mtu);
    // When a packet last went by a next hop of a route that ages, or when it was acquired.
    uint32_t last_used(NextHopId id) const {
        return use_ == nullptr ? 0 : (*use_)[id.value()].load(std::memory_order_relaxed);
    }
    // Told when a segment's counter is nobody's any more.
    void on_counter_freed(std::function<void(uint16_t)> hook) { counter_freed_ = std::move(hook); }

    // Sets or changes what the adjacencies over a port take from it.
    void set_link(PortId port, const PortLink& link);
    // REQUIRES: no next hop names the port.
    void remove_link(PortId port);
    // What an owner has set wins over what has been learnt; absent: nothing is known.
    void set_neighbor(PortId port, const IpAddress& address, std::optional<Mac> mac);
    void learn_neighbor(PortId port, const IpAddress& address,
                        const std::optional<LearnedNeighbor>& neighbor);

    // Of an id in use; nullptr: it is not.
    const Adjacency* find(NextHopId id) const {
        if (id.value() >= entries_.size() || entries_[id.value()].references == 0) return nullptr;
        return &entries_[id.value()].adjacency;
    }
    size_t size() const { return by_spec_.size(); }
    // REQUIRES: the id is in use.
    const NextHopSpec& spec(NextHopId id) const { return entries_[id.value()].spec; }
    const Adjacency& adjacency(NextHopId id) const { return entries_[id.value()].adjacency; }

    // Of every id ever used, free ones too (their adjacency is kNone).
    template <typename F>
    void for_each(F&& visit) const {
        for (uint32_t id = 1; id < entries_.size(); ++id)
            visit(NextHopId{id}, entries_[id].adjacency);
    }

  private:
    struct Entry {
        NextHopSpec spec;
        Adjacency adjacency;
        uint32_t references = 0;
        // What the adjacency refers to.
        std::shared_ptr<const Encapsulation> encapsulation;
        std::shared_ptr<const LocalSid> sid;
        NextHopId underlay;  // of a tunnel
        uint16_t underlay_mtu = 0;
    };

    Result<NextHopId> allocate();
    Result<Entry> make_entry(const NextHopSpec& spec);
    Result<std::shared_ptr<const LocalSid>> make_sid(const NextHopSpec& spec);
    void dismiss(const Entry& entry);

    Adjacency compile(NextHopId id, const Entry& entry) const;
    Adjacency compile_over(NextHopId id, const NextHopSpec& spec) const;
    void republish_neighbor(PortId port, const IpAddress& address);
    void publish(NextHopId id);
    void republish_port(PortId port);

    Publisher& publisher_;
    std::vector<Entry> entries_;   // by id; 0 is never used
    std::vector<NextHopId> free_;  // ids that nobody refers to any more
    std::vector<uint16_t> free_counters_;
    uint16_t next_counter_ = 1;
    TunnelSettings tunnel_settings_;
    HopUse* use_ = nullptr;
    std::function<uint32_t()> clock_;
    std::function<void(uint16_t)> counter_freed_ = [](uint16_t) {};
    std::map<NextHopSpec, NextHopId> by_spec_;
    std::map<PortId, PortLink> links_;
    std::map<std::pair<PortId, IpAddress>, Mac> neighbors_;
    std::map<std::pair<PortId, IpAddress>, LearnedNeighbor> learned_;
};

}  // namespace slash32
