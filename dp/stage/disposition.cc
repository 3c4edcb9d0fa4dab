// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/disposition.h"

#include "dp/packet/packet_list.h"
#include "dp/stage/capture.h"

#include <rte_ring.h>

#include <bit>

namespace slash32 {
namespace {

void leave(Burst& burst, unsigned i) {
    burst.live &= ~(1u << i);
    burst.tx &= ~(1u << i);
}

}  // namespace

void drop_received(WorkerContext& context, PortId port, rte_mbuf* packet, DropReason reason) {
    context.port_counters(port).drops[static_cast<size_t>(reason)].add(1);
    capture_dropped(context, port, packet, reason);
    rte_pktmbuf_free(packet);
}

void drop(WorkerContext& context, Burst& burst, unsigned i, DropReason reason) {
    leave(burst, i);
    drop_received(context, burst.in->id, burst.packets[i], reason);
}

void drop_list(WorkerContext& context, Burst& burst, unsigned i, DropReason reason) {
    leave(burst, i);
    for (rte_mbuf* packet = burst.packets[i]; packet != nullptr;) {
        rte_mbuf* next = next_packet(packet);
        drop_received(context, burst.in->id, packet, reason);
        packet = next;
    }
}

void drop_all(WorkerContext& context, Burst& burst, uint32_t mask, DropReason reason) {
    for_each_packet(mask, [&](unsigned i) { drop(context, burst, i, reason); });
}

void consume(WorkerContext& context, Burst& burst, unsigned i) {
    leave(burst, i);
    context.port_counters(burst.in->id).consumed.add(1);
    rte_pktmbuf_free(burst.packets[i]);
}

void reply(WorkerContext& context, Burst& burst, unsigned i) {
    const uint32_t bit = 1u << i;
    PortCounters& counters = context.port_counters(burst.in->id);
    counters.consumed.add(1);
    counters.injected.add(1);
    burst.meta[i].flags = 0;
    burst.meta[i].out_port = burst.in->id;
    burst.live &= ~bit;
    burst.tunnel &= ~bit;
    burst.tx |= bit;
    // Still on the list where it is chained: the receiver may not take chains.
    if (burst.packets[i]->nb_segs == 1) burst.offload &= ~bit;
}

void pass(Burst& burst, unsigned i, PortId out) {
    const uint32_t bit = 1u << i;
    burst.meta[i].out_port = out;
    burst.live &= ~bit;
    burst.tx |= bit;
    if (burst.packets[i]->nb_segs > 1) burst.offload |= bit;
}

void punt(WorkerContext& context, Burst& burst, unsigned i, PuntReason reason) {
    rte_mbuf* packet = burst.packets[i];
    if (!context.punt_tokens.take(context.now)) {
        return drop(context, burst, i, DropReason::kPuntRateLimited);
    }
    packet->port = burst.in->id.value();
    auto* info = static_cast<PuntInfo*>(rte_mbuf_to_priv(packet));
    *info = PuntInfo{.port = burst.in->id,
                     .reason = reason,
                     .direction = CaptureDirection::kIn,
                     .drop_reason = DropReason{},
                     .vrf = {},
                     .original_length = packet->pkt_len,
                     .tsc = context.now};
    if (rte_ring_sp_enqueue(context.punt_ring, packet) != 0) {
        return drop(context, burst, i, DropReason::kPuntFull);
    }
    leave(burst, i);
    context.port_counters(burst.in->id).punted.add(1);
    context.doorbell_due = true;
}

}  // namespace slash32
