// SPDX-License-Identifier: Apache-2.0
// Between an uplink and the host's view of it, a TAP interface: what the host sends goes out of the
// wire, and what the link's other routers and hosts say to the host reaches it. Packets to the
// host's own addresses follow in the route stage.
#include "dp/packet/headers.h"
#include "dp/packet/nd.h"
#include "dp/stage/disposition.h"
#include "dp/stage/proxy.h"
#include "dp/stage/stages.h"
#include "dp/stage/to_host.h"

#include <rte_mbuf.h>

#include <bit>

namespace slash32 {

namespace {

// Asks for a VM's address on an uplink in L2 mode: the stages of ARP and ND answer. An announcement
// asks nothing.
bool asks_for_vm(const WorkerContext& context, const Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    if ((burst.arp >> i & 1) != 0) {
        const auto& arp = *reinterpret_cast<const ArpHeader*>(meta.l3);
        const Ip4 target = arp.target_ip.get();
        return arp.operation.get() == kArpRequest && arp.sender_ip.get() != target &&
               speaks_for(context, *burst.in, target);
    }
    if ((burst.icmp6 >> i & 1) == 0 || icmp_of(meta).type != kIcmp6NeighbourSolicitation ||
        meta.ip_length < meta.l3_length + sizeof(NdNeighbour)) {
        return false;
    }
    const uint32_t end = sizeof(EthernetHeader) + meta.l3_length + sizeof(NdNeighbour);
    if (rte_pktmbuf_data_len(burst.packets[i]) < end) return false;
    const auto& solicitation = *reinterpret_cast<const NdNeighbour*>(meta.l3 + meta.l3_length);
    return speaks_for(context, *burst.in, solicitation.target);
}

}  // namespace

void take_from_host(WorkerContext& context, Burst& burst) {
    if (burst.in->kind != PortKind::kHost) [[likely]]
        return;
    PortCounters& counters = context.port_counters(burst.in->id);
    counters.rx_packets.add(static_cast<uint64_t>(std::popcount(burst.live)));
    burst.offload = burst.tunnel = 0;
    uint64_t bytes = 0;
    for_each_packet(burst.live, [&](unsigned i) {
        bytes += burst.packets[i]->pkt_len;
        burst.meta[i] = PacketMeta{};
        pass(burst, i, burst.in->twin);
    });
    counters.rx_bytes.add(bytes);
}

void give_to_host(WorkerContext& context, Burst& burst) {
    if (burst.in->twin == kNoPort) [[likely]]
        return;
    uint32_t mask = burst.live & (burst.foreign | burst.arp | burst.group);
    // Neighbour discovery between global addresses.
    for_each_packet(burst.live & burst.icmp6 & ~mask, [&](unsigned i) {
        mask |= static_cast<uint32_t>(is_neighbour_discovery(burst.meta[i])) << i;
    });
    const bool l2 = burst.in->has(kAnswersForVms);
    for_each_packet(mask, [&](unsigned i) {
        if (!l2 || !asks_for_vm(context, burst, i)) to_host(context, burst, i);
    });
}

}  // namespace slash32
