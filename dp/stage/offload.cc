// SPDX-License-Identifier: Apache-2.0
// The offload stage: makes each packet in `tx` what its receiver accepts now.
//
// A checksum that the sender left open and a large segment are passed on as requests where the
// receiver takes them, and otherwise filled and cut here, at the last moment. Packets for a port
// that is down are dropped before any of that work. What asks for nothing is left as it is: nobody
// but this stage sets flags that a sending driver reads.
#include "dp/packet/checksum.h"
#include "dp/packet/fragment.h"
#include "dp/packet/nd.h"
#include "dp/packet/packet_list.h"
#include "dp/packet/segment.h"
#include "dp/packet/transport_checksum.h"
#include "dp/packet/view.h"
#include "dp/stage/disposition.h"
#include "dp/stage/stages.h"

namespace slash32 {
namespace {

// Drivers and librte_vhost compute the pseudo-header from the IPv6 header alone: with extension
// headers they would take the wrong protocol and length.
bool is_plain(const PacketMeta& meta) {
    return meta.kind == PacketKind::kIpv4 || meta.l3_length == sizeof(Ipv6Header);
}

void request(rte_mbuf* packet, const PacketMeta& meta, uint64_t flags) {
    flags |= meta.kind == PacketKind::kIpv4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
    packet->ol_flags |= flags;
    packet->tx_offload = 0;
    packet->l2_len = sizeof(EthernetHeader);
    // A plain header, so 60 bytes at most: it fits the 9 bits.
    packet->l3_len = meta.l3_length & 0x1ff;
    packet->l4_len = meta.l4_length;
}

// Puts the parts in place of the packet.
void take_parts(WorkerContext& context, Burst& burst, unsigned i, const PacketList& parts) {
    rte_pktmbuf_free(burst.packets[i]);
    burst.packets[i] = parts.first;
    burst.meta[i].flags |= kPacketList;
    context.port_counters(burst.in->id).injected.add(parts.count - 1u);
}

void cut(WorkerContext& context, Burst& burst, unsigned i, bool chains) {
    PacketMeta& meta = burst.meta[i];
    PacketList parts;
    const CutResult result =
        meta.has(kLargeSegment)
            ? segment_tcp(burst.packets[i], meta, context.pool, parts)
            : fragment_ipv4(burst.packets[i], meta, context.adjacency(meta.next_hop).mtu,
                            context.pool, parts);
    switch (result) {
        case CutResult::kDone:
            // The first part is as large as any.
            if (parts.first->nb_segs == 1 || chains) return take_parts(context, burst, i, parts);
            parts.free();
            return drop(context, burst, i, DropReason::kNoOffload);
        case CutResult::kNoBuffer:
            return drop(context, burst, i, DropReason::kNoBuffer);
        case CutResult::kImpossible:
            return drop(context, burst, i, DropReason::kSegmentationFailed);
    }
}

// A receiver that takes no chains gets one buffer, if one is large enough.
void fit_segments(WorkerContext& context, Burst& burst, unsigned i) {
    rte_mbuf* packet = burst.packets[i];
    if (rte_pktmbuf_tailroom(packet) >= packet->pkt_len - packet->data_len) {
        pull_headers(packet, packet->pkt_len);
        return;
    }
    rte_mbuf* whole = rte_pktmbuf_alloc(context.pool);
    if (whole == nullptr) {
        drop(context, burst, i, DropReason::kNoBuffer);
        return;
    }
    if (rte_pktmbuf_tailroom(whole) < packet->pkt_len) {
        rte_pktmbuf_free(whole);
        drop(context, burst, i, DropReason::kNoOffload);
        return;
    }
    ChainReader(packet, 0).read(rte_pktmbuf_mtod(whole, uint8_t*), packet->pkt_len);
    whole->data_len = static_cast<uint16_t>(packet->pkt_len);
    whole->pkt_len = packet->pkt_len;
    whole->ol_flags |= packet->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK;
    whole->tx_offload = packet->tx_offload;
    rte_pktmbuf_free(packet);
    burst.packets[i] = whole;
}

void resolve(WorkerContext& context, Burst& burst, unsigned i, uint32_t offloads) {
    const PacketMeta& meta = burst.meta[i];
    rte_mbuf* packet = burst.packets[i];
    const bool chains = (offloads & kTxMultiSegment) != 0;
    if (meta.has(kLargeSegment)) {
        const uint32_t tso = meta.kind == PacketKind::kIpv4 ? kTxTso4 : kTxTso6;
        if ((offloads & tso) == 0 || !is_plain(meta) || (packet->nb_segs > 1 && !chains)) {
            return cut(context, burst, i, chains);
        }
        const uint16_t size = packet->tso_segsz;
        request(packet, meta, RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM);
        packet->tso_segsz = size;
        return;
    }
    if (meta.has(kPartialChecksum)) {
        if ((offloads & kTxChecksum) != 0 && is_plain(meta) && !meta.has(kMustFragment)) {
            request(packet, meta,
                    meta.protocol == kProtoTcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
        } else {
            fill_transport_checksum(packet, meta);
        }
    }
    if (meta.has(kMustFragment)) return cut(context, burst, i, chains);
    if (packet->nb_segs > 1 && !chains) fit_segments(context, burst, i);
}

// nullptr when the port cannot take packets now.
const TxPort* ready_port(const WorkerContext& context, PortId out) {
    const PortConfig* port = context.ports[out.value()];
    if (port == nullptr || port->tx == nullptr) return nullptr;
    // Pairs with the driver's release: what it set up for sending is complete.
    return port->tx->ready.load(std::memory_order_acquire) ? port->tx : nullptr;
}

}  // namespace

void resolve_offloads(WorkerContext& context, Burst& burst) {
    unsigned ports = 0;  // that the packets go to
    for (uint32_t left = burst.tx; left != 0; ++ports) {
        const PortId out = burst.meta[std::countr_zero(left)].out_port;
        const uint32_t mask = leading_to(burst, left, out);
        left &= ~mask;
        const TxPort* tx = ready_port(context, out);
        if (tx == nullptr) {
            drop_all(context, burst, mask, DropReason::kPortDown);
            continue;
        }
        for_each_packet(mask & burst.offload, [&](unsigned i) {
            uint32_t offloads = tx->offloads.load(std::memory_order_relaxed);
            // What is in a tunnel no device fills or cuts.
            if ((burst.tunnel >> i & 1) != 0) offloads &= kTxMultiSegment;
            resolve(context, burst, i, offloads);
        });
    }
    burst.one_port = ports == 1;
}

}  // namespace slash32
