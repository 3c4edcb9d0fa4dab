// SPDX-License-Identifier: Apache-2.0
// A packet's visit to segments of this node (RFC 8986 section 4): the long way of the segments
// stage, which does everything, and what it has in common with the short one.
#pragma once

#include "dp/abi/srv6.h"
#include "dp/base/burst_array.h"
#include "dp/packet/burst.h"
#include "dp/packet/headers.h"
#include "dp/packet/path_hash.h"
#include "dp/stage/context.h"
#include "dp/stage/disposition.h"

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace slash32 {

// What came out of tunnels, and is to be parsed yet.
struct Decapsulated {
    uint32_t packets = 0;
    struct Packet {
        uint8_t ecn;   // of the outer header
        VrfId vrf;     // that the inner packet goes by
        NextHopId to;  // where the segment leads, kNoNextHop: the destination says it
    };
    BurstArray<Packet> of;
};

// The packet has come to a segment, where the routes lead to `hop`, and goes on from segment to
// segment of this node. It is left live with another destination, or in `inner`, or has left.
[[gnu::noinline]] void visit_segments(WorkerContext&, Burst&, unsigned i, NextHopId hop,
                                      Decapsulated& inner);

inline bool carries(const LocalSid& sid, uint8_t protocol) {
    switch (sid.behavior) {
        case SidBehavior::kEndDt4:
        case SidBehavior::kEndDx4:
            return protocol == kProtoIpv4;
        case SidBehavior::kEndDt6:
        case SidBehavior::kEndDx6:
            return protocol == kProtoIpv6;
        default:
            return protocol == kProtoIpv4 || protocol == kProtoIpv6;
    }
}

inline bool ends_tunnel(const LocalSid& sid) {
    return sid.behavior >= SidBehavior::kEndDt4;
}

inline void count_sid(WorkerContext& context, const LocalSid& sid, uint32_t packets,
                      uint64_t bytes) {
    SidCounters& counters = context.counters->sids[sid.counter];
    counters.packets.add(packets);
    counters.bytes.add(bytes);
}

// Its destination is not looked up: the segment says where it goes.
inline void steer(WorkerContext& context, Burst& burst, unsigned i, NextHopId hop) {
    burst.meta[i].next_hop = context.member(hop, path_hash(burst.meta[i]));
    burst.steered |= 1u << i;
}

// Puts the Ethernet header `before` the outer headers before the inner packet, a payload of
// `protocol`; what is between them, an IPv6 header at least, is to be cut off.
inline void frame_inner(rte_mbuf* packet, const EthernetHeader& before, uint8_t* inner,
                        uint8_t protocol) {
    // Straight from one place to the other: a copy on the stack would be read back in other words
    // than it was written in, which stalls the core.
    auto* ethernet = reinterpret_cast<EthernetHeader*>(inner - sizeof before);
    std::memcpy(ethernet, &before, sizeof before);
    ethernet->type = protocol == kProtoIpv4 ? kEtherIpv4 : kEtherIpv6;
    // What the device has found out is of the outer headers, or said to be.
    packet->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
}

// Takes the outer headers off. The Ethernet header stands before the inner packet then.
inline void strip_outer(rte_mbuf* packet, const PacketMeta& meta) {
    frame_inner(packet, ethernet_before(meta), meta.l3 + meta.l3_length, meta.protocol);
    rte_pktmbuf_adj(packet, meta.l3_length);
}

}  // namespace slash32
