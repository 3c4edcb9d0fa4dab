// SPDX-License-Identifier: Apache-2.0
// How a packet enters a tunnel: the way of the outer packet is found by its segment's route, and
// the header is put in front of it when everything else is done (encapsulate.cc).
#pragma once

#include "dp/abi/srv6.h"
#include "dp/packet/burst.h"
#include "dp/packet/headers.h"
#include "dp/packet/path_hash.h"
#include "dp/stage/context.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <cstdint>

struct rte_mbuf;

namespace slash32 {

// The headers that a packet gets, and what is known of it.
struct Wrapping {
    const Encapsulation& outer;
    const Adjacency& link;  // the Ethernet header in front of them
    PacketKind kind;
    uint32_t flow_label;  // flow_label() of a hash of its connection
};

// RFC 6437 section 3: not zero, which says that there is none.
inline uint32_t flow_label(uint32_t hash) {
    return std::max<uint32_t>(hash & 0xfffff, 1);
}

// Puts the headers in front of the packet, in place of its Ethernet header. False: there is not the
// headroom. REQUIRES: the inner IP header stands in the first buffer.
bool wrap_packet(rte_mbuf* packet, const Wrapping& with);

// What the flags of the tunnel's adjacency ask for: its use is noted, or control is told of the
// packet's destination, once a second and within the worker's rate limit.
void note_tunnel(WorkerContext&, const Burst&, unsigned i, NextHopId tunnel);

// The packet enters a tunnel that leads to `underlay`, an adjacency or a group. Its connection
// chooses among several, and names itself in the flow label.
inline void enter_tunnel(WorkerContext& context, Burst& burst, unsigned i, NextHopId underlay) {
    const uint32_t hash = path_hash(burst.meta[i]);
    context.path_hashes[i] = hash;
    context.underlays[i] = context.member(underlay, hash);
    burst.tunnel |= 1u << i;
    // Nobody has touched the headroom yet: the outer headers would wait for its cache line.
    rte_prefetch0_write(burst.meta[i].l3 - sizeof(EthernetHeader) - sizeof(Ipv6Header));
}

// Whether all packets by a tunnel leave by one adjacency, and nobody asks about them.
inline bool is_plain_tunnel(const Adjacency& adjacency) {
    return adjacency.kind == AdjacencyKind::kTunnel && adjacency.flags == 0 &&
           !is_group(adjacency.underlay);
}

// The adjacency that the packet leaves by when it goes by `hop`: of a tunnel, the one below it.
inline const Adjacency& leave_by(WorkerContext& context, Burst& burst, unsigned i, NextHopId hop) {
    const Adjacency& adjacency = context.adjacency(hop);
    if (adjacency.kind != AdjacencyKind::kTunnel) [[likely]]
        return adjacency;
    if (adjacency.flags != 0) [[unlikely]]
        note_tunnel(context, burst, i, hop);
    enter_tunnel(context, burst, i, adjacency.underlay);
    return context.adjacency(context.underlays[i]);
}

}  // namespace slash32
