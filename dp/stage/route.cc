// SPDX-License-Identifier: Apache-2.0
// The route stage: one bulk lookup a family for packets without a flow, then each packet's
// adjacency.
#include "dp/base/burst_array.h"
#include "dp/packet/headers.h"
#include "dp/packet/nd.h"
#include "dp/stage/disposition.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/stages.h"
#include "dp/stage/to_host.h"
#include "dp/stage/tunnel.h"

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
void lookup(WorkerContext& context, Burst& burst, uint32_t mask) {
    BurstArray<Address> destinations;
    BurstArray<NextHopId> next_hops;
    for_each_packet(mask, [&](unsigned i) {
        const auto& ip = *reinterpret_cast<const Header*>(burst.meta[i].l3);
        destinations[i] = destination_of(ip);
    });
    context.fib.lookup_bulk(mask, burst.vrfs.data(), destinations.data(), next_hops.data());
    for_each_packet(mask, [&](unsigned i) {
        NextHopId hop = next_hops[i];
        if (is_group(hop)) hop = context.member(hop, path_hash(burst.meta[i]));
        burst.meta[i].next_hop = hop;
        rte_prefetch0(&context.adjacency(hop));
    });
}

// Of the routes that are about to be read, for the flows that are made by them.
void note_generations(WorkerContext& context, const Burst& burst, uint32_t mask) {
    for_each_packet(mask, [&](unsigned i) {
        const std::atomic<uint32_t>& routes = context.generations->routes[burst.vrfs[i].value()];
        context.scratch.routes[i] = routes.load(std::memory_order_acquire);
    });
}

// Follows routes that lead into other VRFs.
[[gnu::noinline]] void cross_vrfs(WorkerContext& context, Burst& burst, unsigned i) {
    PacketMeta& meta = burst.meta[i];
    for (unsigned n = 0; n < kMaxVrfHops; ++n) {
        const Adjacency& adjacency = context.adjacency(meta.next_hop);
        if (adjacency.kind != AdjacencyKind::kVrf) return;
        const bool ipv4 = (burst.ipv4 >> i & 1) != 0;
        const NextHopId hop =
            ipv4
                ? context.fib.lookup(adjacency.vrf,
                                     destination_of(*reinterpret_cast<const Ipv4Header*>(meta.l3)))
                : context.fib.lookup(adjacency.vrf,
                                     destination_of(*reinterpret_cast<const Ipv6Header*>(meta.l3)));
        meta.next_hop = is_group(hop) ? context.member(hop, path_hash(meta)) : hop;
    }
}

// Of a packet that its adjacency does not lead straight out of a port. `crossed`: by the routes of
// another VRF.
[[gnu::noinline]] void detour(WorkerContext& context, Burst& burst, unsigned i,
                              const Adjacency& adjacency, bool crossed) {
    PacketMeta& meta = burst.meta[i];
    const auto refuse = [&](DropReason reason, IcmpError error) {
        drop_with_error(context, burst, i, reason, error);
    };
    switch (adjacency.kind) {
        case AdjacencyKind::kNone:
        case AdjacencyKind::kTunnel:  // below another one
        case AdjacencyKind::kVrf:     // round and round
            return refuse(
                (burst.tunnel >> i & 1) != 0 ? DropReason::kNoSegmentRoute : DropReason::kNoRoute,
                IcmpError::kNoRoute);
        case AdjacencyKind::kBlackhole:
            return drop(context, burst, i, DropReason::kBlackhole);
        case AdjacencyKind::kSegment:
            return drop(context, burst, i, DropReason::kUnknownSegment);
        case AdjacencyKind::kUnreachable:
            return refuse(DropReason::kUnreachable, IcmpError::kHostUnreachable);
        case AdjacencyKind::kIncomplete:
        case AdjacencyKind::kGlean:
            if ((adjacency.flags & kResolves) == 0 || !context.resolve_tokens.take(context.now))
                return refuse(DropReason::kNoNeighbour, IcmpError::kHostUnreachable);
            meta.out_port = kResolverPort;
            return;
        case AdjacencyKind::kHost:
            // A route into another VRF is not one to the host: its services are not a tenant's.
            if (burst.in->twin == kNoPort || crossed)
                return refuse(DropReason::kHostAddress, IcmpError::kHostUnreachable);
            return to_host(context, burst, i);
        case AdjacencyKind::kEthernet:
            return;  // not here
    }
}

// Of a packet that its route does not lead straight out of a port: the adjacency that it leaves by,
// below a tunnel maybe; nullptr where it is done with, or goes to the resolver. Apart, so that
// apply() is short.
[[gnu::noinline]] const Adjacency* way_out(WorkerContext& context, Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    const bool crossed = context.adjacency(meta.next_hop).kind == AdjacencyKind::kVrf;
    if (crossed) cross_vrfs(context, burst, i);
    const Adjacency& adjacency = leave_by(context, burst, i, meta.next_hop);
    if (adjacency.kind == AdjacencyKind::kEthernet) return &adjacency;
    detour(context, burst, i, adjacency, crossed);
    return nullptr;
}

// Whether all packets of the burst to this next hop leave by the port that this one does, through a
// plain tunnel or straight.
bool apply(WorkerContext& context, Burst& burst, unsigned i) {
    PacketMeta& meta = burst.meta[i];
    const Adjacency* adjacency = &context.adjacency(meta.next_hop);
    const bool same_way =
        adjacency->kind == AdjacencyKind::kEthernet || is_plain_tunnel(*adjacency);
    if (adjacency->kind != AdjacencyKind::kEthernet) [[unlikely]] {
        adjacency = way_out(context, burst, i);
        if (adjacency == nullptr) return false;
    }
    const PortConfig* out = context.ports[adjacency->port.value()];
    if (out == nullptr) {
        drop(context, burst, i, DropReason::kPortGone);
        return false;
    }
    // A VM does not need the router to reach itself; an uplink may well have two neighbours.
    if (out == burst.in && out->kind != PortKind::kUplink) {
        drop(context, burst, i, DropReason::kHairpin);
        return false;
    }
    // What reaches the host by an uplink shows there as the uplink's.
    if (out->has(kHostLink) && burst.in->twin != kNoPort) {
        to_host(context, burst, i);
        return false;
    }
    meta.out_port = adjacency->port;
    return same_way;
}

}  // namespace

void route(WorkerContext& context, Burst& burst) {
    if (context.policy_ports != 0) note_generations(context, burst, burst.live & burst.miss);
    const uint32_t unrouted = burst.live & burst.unrouted;
    const uint32_t ipv4 = unrouted & burst.ipv4;
    const uint32_t ipv6 = unrouted & burst.ipv6;
    if (ipv4 != 0) lookup<Ipv4Header, Ip4>(context, burst, ipv4);
    if (ipv6 != 0) lookup<Ipv6Header, Ip6>(context, burst, ipv6);
    // Most packets go where the one before goes.
    NextHopId last{UINT32_MAX};  // none's
    NextHopId underlay;          // of its tunnel, kNoNextHop: it is none
    PortId port;
    for_nearly_each_packet(burst.live, [&](unsigned i) {
        PacketMeta& meta = burst.meta[i];
        if (meta.next_hop == last) {
            if (underlay != kNoNextHop) enter_tunnel(context, burst, i, underlay);
            meta.out_port = port;
        } else if (apply(context, burst, i)) {
            last = meta.next_hop;
            const bool tunnel = (burst.tunnel >> i & 1) != 0;
            underlay = tunnel ? context.underlays[i] : kNoNextHop;
            port = meta.out_port;
        }
    });
}

}  // namespace slash32
