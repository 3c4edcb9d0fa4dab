// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/icmp_error.h"

#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"
#include "dp/packet/icmp.h"
#include "dp/packet/nd.h"
#include "dp/packet/view.h"
#include "dp/stage/capture.h"
#include "dp/stage/disposition.h"
#include "dp/stage/tunnel.h"

#include <algorithm>

namespace slash32 {
namespace {

constexpr uint32_t kL2 = sizeof(EthernetHeader);
constexpr uint8_t kHopLimitOfOurs = 64;
constexpr uint32_t kHeaders4 = sizeof(Ipv4Header) + sizeof(IcmpHeader);
constexpr uint32_t kHeaders6 = sizeof(Ipv6Header) + sizeof(IcmpHeader);

// RFC 1812 section 4.3.2.3: as much of the packet as fits in 576 bytes.
constexpr uint32_t kMaxError4 = 576;
// RFC 4443 section 2.4 (c): as fits in the minimum IPv6 MTU.
constexpr uint32_t kMaxError6 = 1280;
// RFC 1812 section 4.3.2.5: precedence "internetwork control".
constexpr uint8_t kTosInternetworkControl = 0xc0;

struct TypeAndCode {
    uint8_t type;
    uint8_t code;
};

TypeAndCode icmp4_code(IcmpError error) {
    switch (error) {
        case IcmpError::kNoRoute:
            return {kIcmpUnreachable, 0};
        case IcmpError::kHostUnreachable:
            return {kIcmpUnreachable, 1};
        case IcmpError::kPortUnreachable:
            return {kIcmpUnreachable, 3};
        case IcmpError::kTooBig:
            return {kIcmpUnreachable, 4};
        case IcmpError::kBadField:
        case IcmpError::kBadUpperLayer:  // of IPv6 alone
        case IcmpError::kHopLimit:
            break;
    }
    return {kIcmpTimeExceeded, 0};
}

TypeAndCode icmp6_code(IcmpError error) {
    switch (error) {
        case IcmpError::kNoRoute:
            return {kIcmp6Unreachable, 0};
        case IcmpError::kHostUnreachable:
            return {kIcmp6Unreachable, 3};
        case IcmpError::kPortUnreachable:
            return {kIcmp6Unreachable, 4};
        case IcmpError::kTooBig:
            return {kIcmp6TooBig, 0};
        case IcmpError::kBadField:
            return {kIcmp6ParameterProblem, 0};
        case IcmpError::kBadUpperLayer:
            return {kIcmp6ParameterProblem, 4};
        case IcmpError::kHopLimit:
            break;
    }
    return {kIcmp6TimeExceeded, 0};
}

// RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e). Sources that are no single host's do not come
// this far but for the unspecified one.
bool calls_for_error(const PacketMeta& meta) {
    if (meta.has(kLaterFragment | kLinkBroadcast | kLinkMulticast)) return false;
    if (is_icmp_error(meta)) return false;
    if (meta.kind == PacketKind::kIpv4) {
        const auto& ip = *reinterpret_cast<const Ipv4Header*>(meta.l3);
        return ip.source.get() != Ip4{} && ip.destination.get().value.to_host() >> 28 < 0xe;
    }
    if (meta.kind == PacketKind::kIpv6) {
        const Ipv6Header& ip = ipv6_of(meta);
        return !ip.source.is_unspecified() && !ip.destination.is_multicast();
    }
    return false;
}

// Cuts the packet to what is quoted and puts `header` bytes between it and a new Ethernet header.
// Returns where the new IP header goes. REQUIRES: headroom of that much.
uint8_t* make_room(const PortConfig& in, rte_mbuf* packet, const PacketMeta& meta, uint32_t header,
                   uint32_t max_error) {
    const auto old = *rte_pktmbuf_mtod(packet, const EthernetHeader*);
    const uint32_t quoted = std::min<uint32_t>(meta.ip_length, max_error - header);
    trim_packet(packet, kL2 + quoted);
    auto* ethernet = reinterpret_cast<EthernetHeader*>(
        rte_pktmbuf_prepend(packet, static_cast<uint16_t>(header)));
    ethernet->destination = old.source;
    ethernet->source = in.router_mac;
    ethernet->type = old.type.get();
    return reinterpret_cast<uint8_t*>(ethernet) + kL2;
}

void build_ipv4(const PortConfig& in, rte_mbuf* packet, const PacketMeta& meta, IcmpError error,
                uint16_t detail) {
    const Ip4 to = reinterpret_cast<const Ipv4Header*>(meta.l3)->source.get();
    uint8_t* l3 = make_room(in, packet, meta, kHeaders4, kMaxError4);
    auto& ip = *reinterpret_cast<Ipv4Header*>(l3);
    ip.version_ihl = 0x45;
    ip.tos = kTosInternetworkControl;
    ip.total_length = Be16{static_cast<uint16_t>(packet->pkt_len - kL2)};
    ip.id = Be16{};  // RFC 6864 section 4.1: free to choose where DF is set
    ip.fragment = Be16{kIpv4DontFragment};
    ip.ttl = kHopLimitOfOurs;
    ip.protocol = kProtoIcmp;
    ip.source = in.gateway4;
    ip.destination = to;
    set_ipv4_checksum(ip);

    auto& icmp = *reinterpret_cast<IcmpHeader*>(l3 + sizeof(Ipv4Header));
    const TypeAndCode code = icmp4_code(error);
    icmp.type = code.type;
    icmp.code = code.code;
    icmp.checksum = Be16{};
    icmp.rest = Be32{detail};  // RFC 1191 section 4: the low 16 bits
    constexpr uint32_t kIcmp = kL2 + sizeof(Ipv4Header);
    icmp.checksum = checksum_finish(checksum_add_chain(0, packet, kIcmp, packet->pkt_len - kIcmp));
}

void build_ipv6(const PortConfig& in, rte_mbuf* packet, const PacketMeta& meta, IcmpError error,
                uint16_t detail) {
    const Ip6 to = ipv6_of(meta).source;
    uint8_t* l3 = make_room(in, packet, meta, kHeaders6, kMaxError6);
    constexpr uint32_t kIcmp = kL2 + sizeof(Ipv6Header);
    const uint32_t length = packet->pkt_len - kIcmp;
    auto& ip = *reinterpret_cast<Ipv6Header*>(l3);
    ip.version_class_flow = Be32{0x60000000};
    ip.payload_length = Be16{static_cast<uint16_t>(length)};
    ip.next_header = kProtoIcmp6;
    ip.hop_limit = kHopLimitOfOurs;
    ip.source = in.gateway6;
    ip.destination = to;

    auto& icmp = *reinterpret_cast<IcmpHeader*>(l3 + sizeof(Ipv6Header));
    const TypeAndCode code = icmp6_code(error);
    icmp.type = code.type;
    icmp.code = code.code;
    icmp.checksum = Be16{};
    icmp.rest = Be32{detail};
    const ChecksumSum pseudo = pseudo_header_sum(ip, kProtoIcmp6, length);
    icmp.checksum = checksum_finish(checksum_add_chain(pseudo, packet, kIcmp, length));
}

// What came out of a tunnel has its sender beyond one: the error goes by the routes of the VRF.
// Without any, it is lost.
void send_by_route(WorkerContext& context, Burst& burst, unsigned i) {
    PacketMeta& meta = burst.meta[i];
    const bool ipv4 = meta.kind == PacketKind::kIpv4;
    meta.l3 = rte_pktmbuf_mtod_offset(burst.packets[i], uint8_t*, kL2);
    meta.l3_length = ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    meta.l4_length = 0;
    meta.protocol = ipv4 ? kProtoIcmp : kProtoIcmp6;
    const NextHopId hop =
        ipv4 ? context.fib.lookup(burst.vrfs[i],
                                  reinterpret_cast<const Ipv4Header*>(meta.l3)->destination.get())
             : context.fib.lookup(burst.vrfs[i], ipv6_of(meta).destination);
    meta.next_hop = context.member(hop, path_hash(meta));
    const Adjacency& adjacency = leave_by(context, burst, i, meta.next_hop);
    if (adjacency.kind != AdjacencyKind::kEthernet ||
        context.ports[adjacency.port.value()] == nullptr) {
        return drop(context, burst, i, DropReason::kNoRoute);
    }
    meta.out_port = adjacency.port;
    EthernetHeader& ethernet = ethernet_before(meta);
    ethernet.destination = adjacency.destination;
    ethernet.source = adjacency.source;
}

}  // namespace

void make_icmp_error(const PortConfig& port, rte_mbuf* packet, const PacketMeta& meta,
                     IcmpError error, uint16_t detail) {
    if (meta.kind == PacketKind::kIpv4) {
        build_ipv4(port, packet, meta, error, detail);
    } else {
        build_ipv6(port, packet, meta, error, detail);
    }
}

void drop_with_error(WorkerContext& context, Burst& burst, unsigned i, DropReason reason,
                     IcmpError error, uint16_t detail) {
    PacketMeta& meta = burst.meta[i];
    rte_mbuf* packet = burst.packets[i];
    const bool ipv4 = meta.kind == PacketKind::kIpv4;
    if (!calls_for_error(meta)) return drop(context, burst, i, reason);
    if (rte_pktmbuf_headroom(packet) < (ipv4 ? kHeaders4 : kHeaders6)) {
        return drop(context, burst, i, DropReason::kNoHeadroom);
    }
    if (!context.icmp_tokens.take(context.now)) {
        return drop(context, burst, i, DropReason::kIcmpRateLimited);
    }
    capture_dropped(context, burst.in->id, packet, reason);
    PortCounters& counters = context.port_counters(burst.in->id);
    counters.drops[static_cast<size_t>(reason)].add(1);
    counters.injected.add(1);
    make_icmp_error(*burst.in, packet, meta, error, detail);
    const bool decapsulated = meta.has(kDecapsulated);
    meta.flags = 0;
    meta.out_port = burst.in->id;
    const uint32_t bit = 1u << i;
    burst.live &= ~bit;
    burst.tunnel &= ~bit;
    burst.tx |= bit;
    if (packet->nb_segs == 1) burst.offload &= ~bit;
    if (decapsulated) send_by_route(context, burst, i);
}

}  // namespace slash32
