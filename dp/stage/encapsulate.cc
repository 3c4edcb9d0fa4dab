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
[[gnu::always_inline]] inline void write_headers(rte_mbuf* packet, const Wrapping with) {
    const Encapsulation& outer = with.outer;
    auto* ethernet = rte_pktmbuf_mtod(packet, EthernetHeader*);
    auto* l3 = reinterpret_cast<uint8_t*>(ethernet + 1);
    const uint8_t* inner = l3 + outer.length;
    const bool ipv4 = with.kind == PacketKind::kIpv4;
    const uint8_t inner_class = traffic_class(with.kind, inner);
    set_macs(*ethernet, with.link);
    ethernet->type = kEtherIpv6;
    // RFC 6040 section 4.1, normal mode: the inner mark is copied.
    const uint32_t copied = outer.copies_dscp ? inner_class : inner_class & kEcnMask;
    const auto& prebuilt = *reinterpret_cast<const Ipv6Header*>(outer.bytes.data());
    const Be32 version{prebuilt.version_class_flow.host() | copied << 20 | with.flow_label};
    const Be16 length{static_cast<uint16_t>(packet->pkt_len - kL2 - sizeof prebuilt)};
    const uint8_t protocol = ipv4 ? kProtoIpv4 : kProtoIpv6;
    uint8_t hop_limit = outer.hop_limit;
    if (hop_limit == 0) {
        hop_limit = ipv4 ? reinterpret_cast<const Ipv4Header*>(inner)->ttl
                         : reinterpret_cast<const Ipv6Header*>(inner)->hop_limit;
    }
    // All that differs by packet stands before the addresses, and is written as one word.
    const bool alone = outer.length == sizeof(Ipv6Header);
    const uint64_t start = version.raw() | uint64_t{length.raw()} << 32 |
                           uint64_t{alone ? protocol : prebuilt.next_header} << 48 |
                           uint64_t{hop_limit} << 56;
    std::memcpy(l3, &start, sizeof start);
    const uint8_t* rest = outer.bytes.data() + sizeof start;
    // A length that is known here costs no call.
    if (alone) [[likely]] {
        std::memcpy(l3 + sizeof start, rest, sizeof(Ipv6Header) - sizeof start);
    } else {
        std::memcpy(l3 + sizeof start, rest, outer.length - sizeof start);
        l3[outer.next_header_at] = protocol;
    }
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

bool prepend_room(rte_mbuf* packet, const Encapsulation& outer) {
    return rte_pktmbuf_prepend(packet, outer.length) != nullptr;
}

// A list's packets have been made with the headroom. (Or the pool's buffers are too small for it.)
void wrap_list(WorkerContext& context, Burst& burst, unsigned i, const Wrapping& with) {
    for (rte_mbuf* packet = burst.packets[i]; packet != nullptr; packet = next_packet(packet)) {
        if (!wrap_packet(packet, with))
            return drop_list(context, burst, i, DropReason::kNoHeadroom);
    }
}

// A list, or a packet without the headroom. Apart, so that nothing of it is prepared for the
// others.
[[gnu::noinline]] void wrap_other(WorkerContext& context, Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    const Wrapping with{.outer = *context.adjacency(meta.next_hop).encapsulation,
                        .link = context.adjacency(context.underlays[i]),
                        .kind = meta.kind,
                        .flow_label = flow_label(context.path_hashes[i])};
    if (meta.has(kPacketList)) return wrap_list(context, burst, i, with);
    const TxPort* tx = context.ports[meta.out_port.value()]->tx;
    const bool chains = (tx->offloads.load(std::memory_order_relaxed) & kTxMultiSegment) != 0;
    rte_mbuf* wrapped = prepend_buffer(context.pool, burst.packets[i], with, chains);
    if (wrapped == nullptr) return drop(context, burst, i, DropReason::kNoHeadroom);
    burst.packets[i] = wrapped;
}

}  // namespace

bool wrap_packet(rte_mbuf* packet, const Wrapping& with) {
    if (!prepend_room(packet, with.outer)) return false;
    write_headers(packet, with);
    return true;
}

void encapsulate(WorkerContext& context, Burst& burst) {
    const uint32_t mask = burst.tx & burst.tunnel;
    if (mask == 0) [[likely]]
        return;
    // Most packets enter the tunnel that the one before has entered.
    NextHopId tunnel = kNoNextHop;
    NextHopId underlay = kNoNextHop;
    const Encapsulation* outer = nullptr;
    const Adjacency* link = nullptr;
    for_each_packet(mask, [&](unsigned i) {
        const PacketMeta& meta = burst.meta[i];
        if (meta.next_hop != tunnel || context.underlays[i] != underlay) {
            tunnel = meta.next_hop;
            underlay = context.underlays[i];
            outer = context.adjacency(tunnel).encapsulation;
            link = &context.adjacency(underlay);
        }
        rte_mbuf* packet = burst.packets[i];
        if (meta.has(kPacketList) || !prepend_room(packet, *outer)) [[unlikely]]
            return wrap_other(context, burst, i);
        write_headers(packet, {.outer = *outer,
                               .link = *link,
                               .kind = meta.kind,
                               .flow_label = flow_label(context.path_hashes[i])});
    });
}

}  // namespace slash32
