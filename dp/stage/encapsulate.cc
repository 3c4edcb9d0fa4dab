// SPDX-License-Identifier: Apache-2.0
// The encapsulate stage: puts the outer headers in front of what enters a tunnel (RFC 8986 section
// 5). It comes last, so that segments and fragments are cut and checksums filled before.
#include "dp/packet/headers.h"
#include "dp/packet/link_header.h"
#include "dp/packet/packet_list.h"
#include "dp/packet/segments.h"
#include "dp/packet/view.h"
#include "dp/stage/disposition.h"
#include "dp/stage/stages.h"
#include "dp/stage/tunnel.h"

#include <algorithm>
#include <cstring>

namespace slash32 {
namespace {

constexpr uint32_t kL2 = sizeof(EthernetHeader);

// Writes Ethernet and outer headers into the first bytes of the packet. REQUIRES: the inner one
// stands behind them.
[[gnu::always_inline]] inline void write_headers(rte_mbuf* packet, const Wrapping& with) {
    const Encapsulation& outer = with.outer;
    auto* ethernet = rte_pktmbuf_mtod(packet, EthernetHeader*);
    auto* l3 = reinterpret_cast<uint8_t*>(ethernet + 1);
    const uint8_t* inner = l3 + outer.length;
    const uint8_t inner_class = traffic_class(with.kind, inner);
    set_macs(*ethernet, with.link);
    ethernet->type = kEtherIpv6;
    // A length that is known here costs no call.
    if (outer.length == sizeof(Ipv6Header)) [[likely]] {
        std::memcpy(l3, outer.bytes.data(), sizeof(Ipv6Header));
    } else {
        std::memcpy(l3, outer.bytes.data(), outer.length);
    }
    auto& ip = *reinterpret_cast<Ipv6Header*>(l3);
    // RFC 6040 section 4.1, normal mode: the inner mark is copied.
    const uint32_t copied = outer.copies_dscp ? inner_class : inner_class & kEcnMask;
    // From where the bytes come, not from where they have just been written.
    const auto& prebuilt = *reinterpret_cast<const Ipv6Header*>(outer.bytes.data());
    ip.version_class_flow =
        Be32{prebuilt.version_class_flow.host() | copied << 20 | with.flow_label};
    ip.payload_length = Be16{static_cast<uint16_t>(packet->pkt_len - kL2 - sizeof ip)};
    l3[outer.next_header_at] = with.kind == PacketKind::kIpv4 ? kProtoIpv4 : kProtoIpv6;
    ip.hop_limit = outer.hop_limit;
    if (outer.hop_limit != 0) return;
    ip.hop_limit = with.kind == PacketKind::kIpv4
                       ? reinterpret_cast<const Ipv4Header*>(inner)->ttl
                       : reinterpret_cast<const Ipv6Header*>(inner)->hop_limit;
}

// A packet without the headroom: its headers go into a buffer of their own, in front of it. Where
// the port takes no chains, the packet is copied behind them if it fits. nullptr: it cannot be.
rte_mbuf* prepend_buffer(rte_mempool* pool, rte_mbuf* packet, const Wrapping& with, bool chains) {
    rte_mbuf* head = rte_pktmbuf_alloc(pool);
    if (head == nullptr) return nullptr;
    const uint32_t headers = kL2 + with.outer.length;
    const uint32_t payload = packet->pkt_len - kL2;
    // The inner header stands with the outer ones, where it is read.
    const uint32_t together = chains ? std::min<uint32_t>(packet->data_len - kL2, 40) : payload;
    if (rte_pktmbuf_tailroom(head) < headers + together) {
        rte_pktmbuf_free(head);
        return nullptr;
    }
    ChainReader(packet, kL2).read(rte_pktmbuf_mtod_offset(head, uint8_t*, headers), together);
    head->data_len = static_cast<uint16_t>(headers + together);
    head->pkt_len = headers + payload;
    if (together == payload) {
        rte_pktmbuf_free(packet);
    } else {
        rte_pktmbuf_adj(packet, static_cast<uint16_t>(kL2 + together));
        head->next = packet;
        head->nb_segs = static_cast<uint16_t>(packet->nb_segs + 1);
    }
    write_headers(head, with);
    return head;
}

// A list's packets have been made with the headroom. (Or the pool's buffers are too small for it.)
void wrap_list(WorkerContext& context, Burst& burst, unsigned i, const Wrapping& with) {
    for (rte_mbuf* packet = burst.packets[i]; packet != nullptr; packet = next_packet(packet)) {
        if (!wrap_packet(packet, with))
            return drop_list(context, burst, i, DropReason::kNoHeadroom);
    }
}

void wrap(WorkerContext& context, Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    const Wrapping with{.outer = *context.adjacency(meta.next_hop).encapsulation,
                        .link = context.adjacency(context.underlays[i]),
                        .kind = meta.kind,
                        .flow_label = flow_label(context.path_hashes[i])};
    if (meta.has(kPacketList)) return wrap_list(context, burst, i, with);
    rte_mbuf* packet = burst.packets[i];
    if (wrap_packet(packet, with)) [[likely]]
        return;
    const TxPort* tx = context.ports[meta.out_port.value()]->tx;
    const bool chains = (tx->offloads.load(std::memory_order_relaxed) & kTxMultiSegment) != 0;
    rte_mbuf* wrapped = prepend_buffer(context.pool, packet, with, chains);
    if (wrapped == nullptr) return drop(context, burst, i, DropReason::kNoHeadroom);
    burst.packets[i] = wrapped;
}

}  // namespace

bool wrap_packet(rte_mbuf* packet, const Wrapping& with) {
    if (rte_pktmbuf_prepend(packet, with.outer.length) == nullptr) return false;
    write_headers(packet, with);
    return true;
}

void encapsulate(WorkerContext& context, Burst& burst) {
    const uint32_t mask = burst.tx & burst.tunnel;
    if (mask == 0) [[likely]]
        return;
    for_each_packet(mask, [&](unsigned i) { wrap(context, burst, i); });
}

}  // namespace slash32
