// SPDX-License-Identifier: Apache-2.0
// The route stage: one bulk lookup a family for packets without a flow, then each packet's
// adjacency.
#include "dp/packet/headers.h"
#include "dp/packet/nd.h"
#include "dp/packet/path_hash.h"
#include "dp/stage/disposition.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/stages.h"
#include "dp/stage/to_host.h"

#include <rte_prefetch.h>

namespace slash32 {
namespace {

Ip4 destination_of(const Ipv4Header& ip) {
    return ip.destination.get();
}
Ip6 destination_of(const Ipv6Header& ip) {
    return ip.destination;
}

// Gathers the destinations of one family and looks them up together.
template <typename Header, typename Address>
void lookup(WorkerContext& context, Burst& burst, uint32_t mask, const VrfId* vrfs) {
    std::array<Address, kBurstSize> destinations;
    std::array<NextHopId, kBurstSize> next_hops;
    for_each_packet(mask, [&](unsigned i) {
        const auto& ip = *reinterpret_cast<const Header*>(burst.meta[i].l3);
        destinations[i] = destination_of(ip);
    });
    context.fib.lookup_bulk(mask, vrfs, destinations.data(), next_hops.data());
    for_each_packet(mask, [&](unsigned i) {
        NextHopId hop = next_hops[i];
        if (is_group(hop)) hop = context.member(hop, path_hash(burst.meta[i]));
        burst.meta[i].next_hop = hop;
        rte_prefetch0(&context.adjacency(hop));
    });
}

void apply(WorkerContext& context, Burst& burst, unsigned i) {
    PacketMeta& meta = burst.meta[i];
    const NextHopId id = meta.next_hop;
    const Adjacency& adjacency = context.adjacency(id);
    switch (adjacency.kind) {
        case AdjacencyKind::kEthernet:
            break;
        case AdjacencyKind::kNone:
            return drop_with_error(context, burst, i, DropReason::kNoRoute, IcmpError::kNoRoute);
        case AdjacencyKind::kBlackhole:
            return drop(context, burst, i, DropReason::kBlackhole);
        case AdjacencyKind::kUnreachable:
            return drop_with_error(context, burst, i, DropReason::kUnreachable,
                                   IcmpError::kHostUnreachable);
        case AdjacencyKind::kIncomplete:
        case AdjacencyKind::kGlean:
            if (adjacency.resolves && context.resolve_tokens.take(context.now)) {
                meta.out_port = kResolverPort;
                return;
            }
            return drop_with_error(context, burst, i, DropReason::kNoNeighbour,
                                   IcmpError::kHostUnreachable);
        case AdjacencyKind::kHost:
            if (burst.in->twin != kNoPort) return to_host(context, burst, i);
            return drop_with_error(context, burst, i, DropReason::kHostAddress,
                                   IcmpError::kHostUnreachable);
    }
    const PortConfig* out = context.ports[adjacency.port.value()];
    if (out == nullptr) return drop(context, burst, i, DropReason::kPortGone);
    // A VM does not need the router to reach itself; an uplink may well have two neighbours.
    if (out == burst.in && out->kind != PortKind::kUplink) {
        return drop(context, burst, i, DropReason::kHairpin);
    }
    // What reaches the host by an uplink shows there as the uplink's.
    if (out->has(kHostLink) && burst.in->twin != kNoPort) return to_host(context, burst, i);
    meta.out_port = adjacency.port;
}

}  // namespace

void route(WorkerContext& context, Burst& burst) {
    const uint32_t unrouted = burst.live & burst.unrouted;
    if (unrouted != 0) {
        const VrfId vrf = burst.in->vrf;  // read once, whatever fill() may write
        std::array<VrfId, kBurstSize> vrfs;
        vrfs.fill(vrf);
        const uint32_t ipv4 = unrouted & burst.ipv4;
        const uint32_t ipv6 = unrouted & burst.ipv6;
        if (ipv4 != 0) lookup<Ipv4Header, Ip4>(context, burst, ipv4, vrfs.data());
        if (ipv6 != 0) lookup<Ipv6Header, Ip6>(context, burst, ipv6, vrfs.data());
    }
    for_each_packet(burst.live, [&](unsigned i) { apply(context, burst, i); });
}

}  // namespace slash32
