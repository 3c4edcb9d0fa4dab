// SPDX-License-Identifier: Apache-2.0
// The rewrite stage: hop limit, MTU, Ethernet header. What passes is ready to be sent.
//
// RFC 1812 section 5.3.1, RFC 8200 section 3: a packet whose hop limit does not survive the hop is
// answered, not forwarded. A large segment is as big as the packets it will be cut into.
#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"
#include "dp/packet/nd.h"
#include "dp/stage/disposition.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/stages.h"

namespace slash32 {
namespace {

bool hop_limit_expires(const PacketMeta& meta) {
    const uint8_t left = meta.kind == PacketKind::kIpv4
                             ? reinterpret_cast<const Ipv4Header*>(meta.l3)->ttl
                             : ipv6_of(meta).hop_limit;
    return left <= 1;
}

// The largest packet on the link that this one leads to.
uint32_t length_on_link(const rte_mbuf* packet, const PacketMeta& meta) {
    if (!meta.has(kLargeSegment)) return meta.ip_length;
    return uint32_t{meta.l3_length} + meta.l4_length + packet->tso_segsz;
}

bool may_fragment(const PacketMeta& meta) {
    if (meta.kind != PacketKind::kIpv4) return false;
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(meta.l3);
    return (ip.fragment.host() & kIpv4DontFragment) == 0;
}

// False when the packet has been refused.
bool fit_mtu(WorkerContext& context, Burst& burst, unsigned i, uint16_t mtu) {
    PacketMeta& meta = burst.meta[i];
    rte_mbuf* packet = burst.packets[i];
    if (length_on_link(packet, meta) <= mtu) [[likely]]
        return true;
    const uint32_t headers = uint32_t{meta.l3_length} + meta.l4_length;
    if (!may_fragment(meta) || headers >= mtu) {
        drop_with_error(context, burst, i, DropReason::kTooBig, IcmpError::kTooBig, mtu);
        return false;
    }
    if (meta.has(kLargeSegment)) {
        // To the receiver smaller segments are as good as fragments, and cheaper.
        packet->tso_segsz = static_cast<uint16_t>(mtu - headers);
    } else {
        meta.flags |= kMustFragment;
        burst.offload |= 1u << i;
    }
    return true;
}

// RFC 1141, with the correction of RFC 1624: the TTL is the high byte of its word.
void decrement_hop_limit(PacketMeta& meta) {
    if (meta.kind == PacketKind::kIpv6) {
        --reinterpret_cast<Ipv6Header*>(meta.l3)->hop_limit;
        return;
    }
    auto& ip = *reinterpret_cast<Ipv4Header*>(meta.l3);
    const auto word = [&] { return Be16{static_cast<uint16_t>(ip.ttl << 8 | ip.protocol)}; };
    const Be16 before = word();
    --ip.ttl;
    ip.checksum = checksum_adjust(ip.checksum.get(), before, word());
}

}  // namespace

void rewrite(WorkerContext& context, Burst& burst) {
    for_each_packet(burst.live, [&](unsigned i) {
        PacketMeta& meta = burst.meta[i];
        if (hop_limit_expires(meta)) [[unlikely]] {
            return drop_with_error(context, burst, i, DropReason::kHopLimit, IcmpError::kHopLimit);
        }
        const Adjacency& adjacency = context.adjacency(meta.next_hop);
        if (!fit_mtu(context, burst, i, adjacency.mtu)) return;
        decrement_hop_limit(meta);
        EthernetHeader& ethernet = ethernet_of(burst, i);
        ethernet.destination = adjacency.destination;
        ethernet.source = adjacency.source;
        const uint32_t bit = 1u << i;
        burst.live &= ~bit;
        burst.tx |= bit;
    });
}

}  // namespace slash32
