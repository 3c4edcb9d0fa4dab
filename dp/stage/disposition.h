// SPDX-License-Identifier: Apache-2.0
// How packets leave the pipeline, other than by being forwarded. Every stage uses these and nothing
// else, so that each packet leaves exactly once and is counted at the port that it came from.
//
// Thread safety: the worker's own. After a call the packet is no longer in `live`.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/abi/punt.h"
#include "dp/packet/burst.h"
#include "dp/packet/headers.h"
#include "dp/stage/context.h"

#include <rte_mbuf.h>

namespace slash32 {

inline EthernetHeader& ethernet_of(Burst& burst, unsigned i) {
    return *rte_pktmbuf_mtod(burst.packets[i], EthernetHeader*);
}

// The same of an IP packet, which it stands right before: without looking at the mbuf.
inline EthernetHeader& ethernet_before(const PacketMeta& meta) {
    return *reinterpret_cast<EthernetHeader*>(meta.l3 - sizeof(EthernetHeader));
}

// Counts, shows it to a capture of the port, frees: of a packet from `port` that is in no burst.
void drop_received(WorkerContext&, PortId port, rte_mbuf* packet, DropReason);

// The same. The packet may be in `live` or `tx`.
void drop(WorkerContext&, Burst&, unsigned i, DropReason);

// Drops each of the packets that the one in this slot was cut into.
// REQUIRES: meta.has(kPacketList).
void drop_list(WorkerContext&, Burst&, unsigned i, DropReason);

// Drops all packets of the mask for one reason.
void drop_all(WorkerContext&, Burst&, uint32_t mask, DropReason);

// Absorbed: nothing further happens with it.
void consume(WorkerContext&, Burst&, unsigned i);

// The packet has been rewritten into the answer to itself: sends it back where it came from.
// REQUIRES: the mbuf holds the whole answer, checksums included.
void reply(WorkerContext&, Burst&, unsigned i);

// Sends the packet out of a port as it stands.
void pass(Burst&, unsigned i, PortId out);

// Gives the packet to control, within the rate limit and the ring; else drops it.
void punt(WorkerContext&, Burst&, unsigned i, PuntReason);

}  // namespace slash32
