// SPDX-License-Identifier: Apache-2.0
// The rewrite stage: hop limit, MTU, Ethernet header. What passes is ready to be sent.
//
// RFC 1812 section 5.3.1, RFC 8200 section 3: a packet whose hop limit does not survive the hop is
// answered, not forwarded. A large segment is as big as the packets it will be cut into.
#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"
#include "dp/packet/link_header.h"
#include "dp/packet/nd.h"
#include "dp/stage/disposition.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/stages.h"

namespace slash32 {
namespace {

uint8_t hop_limit_of(const Ipv4Header& ip) {
    return ip.ttl;
}
uint8_t hop_limit_of(const Ipv6Header& ip) {
    return ip.hop_limit;
}

void decrement_hop_limit(Ipv4Header& ip) {
    --ip.ttl;
    ip.checksum = checksum_of_smaller_ttl(ip.checksum.get());
}
void decrement_hop_limit(Ipv6Header& ip) {
    --ip.hop_limit;
}

// The largest packet on the link that this one leads to.
uint32_t length_on_link(const Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    if (!meta.has(kLargeSegment)) return meta.ip_length;
    return uint32_t{meta.l3_length} + meta.l4_length + burst.packets[i]->tso_segsz;
}

bool may_fragment(const PacketMeta& meta) {
    if (meta.kind != PacketKind::kIpv4) return false;
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(meta.l3);
    return (ip.fragment.host() & kIpv4DontFragment) == 0;
}

// Called for a packet that is too big for the link. False when it has been refused.
bool fit_mtu(WorkerContext& context, Burst& burst, unsigned i, uint16_t mtu) {
    PacketMeta& meta = burst.meta[i];
    rte_mbuf* packet = burst.packets[i];
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

// Those that stay live are ready to be sent.
template <typename Header>
void rewrite_family(WorkerContext& context, Burst& burst, uint32_t mask) {
    // Most packets go where the one before goes.
    NextHopId last = kNoNextHop;
    const Adjacency* adjacency = &context.adjacency(last);
    for_nearly_each_packet(mask, [&](unsigned i) {
        const PacketMeta& meta = burst.meta[i];
        auto& ip = *reinterpret_cast<Header*>(meta.l3);
        if (hop_limit_of(ip) <= 1) [[unlikely]] {
            return drop_with_error(context, burst, i, DropReason::kHopLimit, IcmpError::kHopLimit);
        }
        if (meta.next_hop != last) {
            last = meta.next_hop;
            adjacency = &context.adjacency(last);
        }
        if (length_on_link(burst, i) > adjacency->mtu) [[unlikely]] {
            if (!fit_mtu(context, burst, i, adjacency->mtu)) return;
        }
        decrement_hop_limit(ip);
        set_macs(ethernet_before(meta), *adjacency);
    });
}

}  // namespace

void rewrite(WorkerContext& context, Burst& burst) {
    rewrite_family<Ipv4Header>(context, burst, burst.live & burst.ipv4);
    rewrite_family<Ipv6Header>(context, burst, burst.live & burst.ipv6);
    const uint32_t ready = burst.live & (burst.ipv4 | burst.ipv6);
    burst.live &= ~ready;
    burst.tx |= ready;
}

}  // namespace slash32
