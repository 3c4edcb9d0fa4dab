// SPDX-License-Identifier: Apache-2.0
// Broadcast, multicast and link-local packets, which go no further than the link. What ARP, ND and
// echo have not taken ends here: DHCP by its own name, since it is where a DHCP service would take
// it up.
#include "dp/packet/nd.h"
#include "dp/stage/disposition.h"
#include "dp/stage/stages.h"

namespace slash32 {
namespace {

bool is_udp_to(const PacketMeta& meta, Be16 source, Be16 destination) {
    if (meta.protocol != kProtoUdp || meta.l4_length == 0) return false;
    const auto& udp = *reinterpret_cast<const UdpHeader*>(meta.l3 + meta.l3_length);
    return udp.source.get() == source && udp.destination.get() == destination;
}

DropReason classify_ipv4(const PacketMeta& meta) {
    if (is_udp_to(meta, kPortDhcpClient, kPortDhcpServer)) return DropReason::kDhcpNoServer;
    if (meta.protocol == kProtoIgmp) return DropReason::kMulticastListener;
    const uint32_t to =
        reinterpret_cast<const Ipv4Header*>(meta.l3)->destination.get().value.to_host();
    if (to == UINT32_MAX) return DropReason::kBroadcast;
    if (to >> 28 == 0xe || meta.has(kLinkMulticast)) return DropReason::kMulticast;
    return DropReason::kBroadcast;  // RFC 1812 section 5.3.4: a unicast packet in a broadcast frame
}

DropReason classify_ipv6(const PacketMeta& meta) {
    const Ipv6Header& ip = ipv6_of(meta);
    const bool group_address = ip.destination.is_multicast();
    if (group_address && is_udp_to(meta, kPortDhcp6Client, kPortDhcp6Server)) {
        return DropReason::kDhcpNoServer;
    }
    if (group_address || meta.has(kLinkMulticast)) return DropReason::kMulticast;
    if (meta.has(kLinkBroadcast)) return DropReason::kBroadcast;
    return DropReason::kLinkLocal;  // RFC 4291 section 2.5.6: never forwarded
}

}  // namespace

void refuse_group_destinations(WorkerContext& context, Burst& burst) {
    for_each_packet(burst.live & burst.group, [&](unsigned i) {
        const PacketMeta& meta = burst.meta[i];
        drop(context, burst, i,
             meta.kind == PacketKind::kIpv4 ? classify_ipv4(meta) : classify_ipv6(meta));
    });
}

}  // namespace slash32
