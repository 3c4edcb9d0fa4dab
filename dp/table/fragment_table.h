// SPDX-License-Identifier: Apache-2.0
// Virtual reassembly: what a worker knows of packets that come in parts, so that a later part,
// which has no transport header, is filtered by the header of the first. Nothing is put together:
// each part goes its own way. A part that comes before the first waits for it; a part that has
// passed before, or overlaps one that has, is refused (RFC 5722, RFC 8200 section 4.5: of a packet
// whose parts overlap, no further one passes).
//
// Thread safety: a worker's own, as its receive queues are: all parts of a packet come by one queue
// (a sender sends them from one CPU, and a NIC hashes fragments by their addresses).
// Invariants: a part that waits is given back exactly once, by take_released() or take_refused().
// Bounded: memory is fixed by open(); of each port at most its share is known or waits, and where
// that is used up its own oldest packet is forgotten.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/abi/flow.h"
#include "dp/abi/port.h"
#include "dp/base/limits.h"
#include "dp/base/pages.h"
#include "dp/packet/burst.h"
#include "dp/packet/fragment_part.h"
#include "dp/table/flow_hash.h"
#include "dp/table/flow_key.h"

#include <array>
#include <cstdint>

namespace slash32 {

// What the first part tells of the later ones.
struct FragmentHead {
    FlowPorts ports;
    uint8_t protocol = 0;
    uint8_t icmp_code = 0;
};

// A part as it came from its port.
struct FragmentIn {
    FlowKey key;  // fragment_key()
    FragmentPart part;
    const PortConfig& port;
    rte_mbuf* packet;
    const PacketMeta& meta;
};

// What the parts of one packet have in common: a flow's key with the packet's id for ports. Parts
// of an IPv6 packet need not name one protocol (RFC 8200 section 4.5).
inline FlowKey fragment_key(const PacketMeta& meta, const FragmentPart& part, const PortConfig& in,
                            VrfId vrf) {
    FlowKey key = flow_key(meta, in, vrf);
    std::memcpy(&key.source_port, &part.id, sizeof part.id);
    if (meta.kind == PacketKind::kIpv6) key.where = FlowKey::pack(key.ingress(), key.vrf(), 0);
    return key;
}

class FragmentTable {
  public:
    FragmentTable() = default;
    ~FragmentTable();
    FragmentTable(const FragmentTable&) = delete;
    FragmentTable& operator=(const FragmentTable&) = delete;

    // `timeout`: TSC cycles for which a packet's parts may come. False: no memory.
    bool open(const FlowSeed& seed, uint64_t timeout);
    bool enabled() const { return !entries_.empty(); }

    // A first part: later ones have its head from now on, and those that waited are released. One
    // that comes again starts its packet anew: it is filtered by itself.
    void first(const FragmentIn& in, const FragmentHead& head, uint64_t now);

    enum class Later : uint8_t { kPasses, kWaits, kRefused };
    // A later part. kPasses: `head` is its first one's. kWaits: the table owns the packet now.
    // kRefused: `why` is set.
    Later later(const FragmentIn& in, FragmentHead& head, DropReason& why, uint64_t now);

    // Parts that have waited long enough are refused. A few at a time.
    void expire(uint64_t now) {
        if (by_age_.oldest != 0 && entries_[by_age_.oldest].deadline <= now) [[unlikely]]
            expire_some(now);
    }
    // The port is gone: all that is known of its parts is forgotten.
    void forget(PortId port);

    // Parts of a port that wait, and the buffers of all ports' together.
    uint32_t waiting(PortId port) const { return enabled() ? shares_[port.value()].parts : 0; }
    uint32_t waiting_buffers() const { return buffers_; }

    bool settled() const { return released_.first == 0 && refused_.first == 0; }
    // Moves released parts of one port, at most a burst, into a new burst, ready for the stages
    // from join_fragments on but for `in`. Returns the port, or kNoPort where there are none.
    PortId take_released(Burst& burst);
    // nullptr where there are none.
    rte_mbuf* take_refused(PortId& port, DropReason& why);

  private:
    static constexpr size_t kRanges = 16;  // gaps in one packet, and one more
    static constexpr size_t kBuckets = 2 * kMaxFragmented;
    static constexpr unsigned kExpiredAtOnce = 8;

    // Indices into entries_ and waiting_; 0 is none.
    struct Links {
        uint16_t older;
        uint16_t newer;
    };
    struct AgeList {
        uint16_t oldest;
        uint16_t newest;
    };
    struct Queue {
        uint16_t first;
        uint16_t last;
    };
    struct Range {
        uint16_t begin;
        uint16_t end;
    };
    struct Entry {
        FlowKey key;
        uint64_t deadline;  // TSC
        Links age;
        Links port_age;
        uint16_t chain;  // the next one in the hash bucket, or in the free list
        PortId port;
        FragmentHead head;
        bool has_head;
        bool spoiled;    // parts have overlapped
        uint16_t total;  // bytes of the whole; 0: the last part has not passed
        uint16_t range_count;
        uint16_t waiting;                   // the first of those that wait, by their place
        std::array<Range, kRanges> ranges;  // that have passed, ascending, not touching
    };
    struct Waiting {
        rte_mbuf* packet;
        PacketMeta meta;
        FragmentPart part;
        PortId port;
        VrfId vrf;
        DropReason why;
        uint16_t next;
    };
    struct Share {
        AgeList by_age;
        uint16_t packets;
        uint16_t parts;    // that wait
        uint16_t buffers;  // of those
    };

    uint16_t find(const FlowKey& key) const;
    uint16_t make(const FragmentIn& in, uint64_t now);
    void remove(uint16_t index, DropReason why);
    void expire_some(uint64_t now);
    Later wait(uint16_t index, const FragmentIn& in, DropReason& why);
    void refuse(uint16_t slot, DropReason why);
    void refuse_waiting(Entry& entry, PortId port);
    static bool pass(Entry& entry, const FragmentPart& part, DropReason& why);
    void unwait(uint16_t slot);
    void append(Queue& queue, uint16_t slot);
    void append(AgeList& list, Links Entry::*links, uint16_t index);
    void unlink(AgeList& list, Links Entry::*links, uint16_t index);
    uint16_t& bucket(const FlowKey& key) { return buckets_[hash_key(key, seed_) & (kBuckets - 1)]; }

    PageArray<Entry> entries_;  // [0] is none
    PageArray<uint16_t> buckets_;
    PageArray<Waiting> waiting_;  // [0] is none
    PageArray<Share> shares_;     // by PortId
    FlowSeed seed_{};
    uint64_t timeout_ = 0;
    AgeList by_age_{};
    Queue released_{};
    Queue refused_{};
    uint16_t free_entry_ = 0;
    uint16_t used_entries_ = 0;  // ever: those beyond have not been touched
    uint16_t free_waiting_ = 0;
    uint16_t used_waiting_ = 0;
    uint32_t buffers_ = 0;
};

}  // namespace slash32
