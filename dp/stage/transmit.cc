// SPDX-License-Identifier: Apache-2.0
// The transmit stage: one call into the driver for each destination port in the burst.
//
// Packets to one port keep their order. What the driver does not take is dropped here and now
// (tx_full): a router does not wait for one receiver.
#include "dp/packet/packet_list.h"
#include "dp/stage/capture.h"
#include "dp/stage/disposition.h"
#include "dp/stage/stages.h"

#include <algorithm>

namespace slash32 {
namespace {

struct Sent {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t dropped = 0;
};

void drop_unsent(WorkerContext& context, PortId in, rte_mbuf** packets, uint64_t count,
                 DropReason reason) {
    PortCounters& counters = context.port_counters(in);
    counters.drops[static_cast<size_t>(reason)].add(count);
    for (uint64_t i = 0; i < count; ++i) {
        capture_dropped(context, in, packets[i], reason);
        rte_pktmbuf_free(packets[i]);
    }
}

uint64_t bytes_of(rte_mbuf* const* packets, uint16_t count) {
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < count; ++i)
        bytes += packets[i]->pkt_len;
    return bytes;
}

// Sends up to kBurstSize packets. They are looked at before: the driver frees what it has sent.
void send(WorkerContext& context, PortId in, TxPort& tx, rte_mbuf** packets, uint16_t count,
          Sent& sent) {
    capture_sent(context, tx.port, packets, count);
    sent.bytes += bytes_of(packets, count);
    const uint16_t taken = tx.transmit(tx, context.id, packets, count);
    sent.packets += taken;
    if (taken < count) [[unlikely]] {
        const auto left = static_cast<uint16_t>(count - taken);
        sent.bytes -= bytes_of(packets + taken, left);
        drop_unsent(context, in, packets + taken, left, DropReason::kTxFull);
    }
}

void send_list(WorkerContext& context, PortId in, TxPort& tx, rte_mbuf* packet, Sent& sent) {
    std::array<rte_mbuf*, kBurstSize> batch;
    while (packet != nullptr) {
        uint16_t count = 0;
        for (; packet != nullptr && count < kBurstSize; packet = next_packet(packet))
            batch[count++] = packet;
        send(context, in, tx, batch.data(), count, sent);
    }
}

// Sends the packets of `mask`, which all go to one port that is ready.
void send_group(WorkerContext& context, Burst& burst, uint32_t mask, TxPort& tx, Sent& sent) {
    // They stand together already, and nothing has been cut.
    if ((mask & (mask + 1)) == 0 && (mask & burst.offload) == 0) [[likely]] {
        const auto all = static_cast<uint16_t>(std::popcount(mask));
        return send(context, burst.in->id, tx, burst.packets.data(), all, sent);
    }
    std::array<rte_mbuf*, kBurstSize> batch;
    uint16_t count = 0;
    for_each_packet(mask, [&](unsigned i) {
        if (!burst.meta[i].has(kPacketList)) [[likely]] {
            batch[count++] = burst.packets[i];
            return;
        }
        if (count != 0) send(context, burst.in->id, tx, batch.data(), count, sent);
        count = 0;
        send_list(context, burst.in->id, tx, burst.packets[i], sent);
    });
    if (count != 0) send(context, burst.in->id, tx, batch.data(), count, sent);
}

}  // namespace

void transmit(WorkerContext& context, Burst& burst) {
    PortCounters& in = context.port_counters(burst.in->id);
    while (burst.tx != 0) {
        const PortId out = burst.meta[std::countr_zero(burst.tx)].out_port;
        const uint32_t mask = burst.one_port ? burst.tx : leading_to(burst, burst.tx, out);
        const PortConfig* port = context.ports[out.value()];
        // The offload stage has dropped what leads to a port that is not ready; it may have become
        // so since, and then the driver takes nothing.
        Sent sent;
        send_group(context, burst, mask, *port->tx, sent);
        in.forwarded.add(sent.packets);
        PortCounters& counters = context.port_counters(out);
        counters.tx_packets.add(sent.packets);
        counters.tx_bytes.add(sent.bytes);
        burst.tx &= ~mask;
    }
}

}  // namespace slash32
