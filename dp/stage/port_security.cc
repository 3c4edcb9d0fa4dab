// SPDX-License-Identifier: Apache-2.0
// Anti-spoofing: what a VM may claim to be.
//
// A port with port security sends only from its (MAC, address) pairs; ARP senders, ND targets and
// link-layer options are held to the same pairs. Independent of pairs, no VM port may send a
// segment routing header or play the router, and none with port security the DHCP server.
// A later fragment is held to its addresses like any packet.
#include "dp/packet/nd.h"
#include "dp/packet/segments.h"
#include "dp/packet/source_match.h"
#include "dp/stage/disposition.h"
#include "dp/stage/stages.h"

#include <cstring>
#include <optional>
#include <type_traits>

namespace slash32 {
namespace {

using Refusal = std::optional<DropReason>;

bool allowed(SourceMatch match) {
    return match == SourceMatch::kFixed || match == SourceMatch::kPair;
}

Ip4 source_of(const Ipv4Header& ip) {
    return ip.source.get();
}
const Ip6& source_of(const Ipv6Header& ip) {
    return ip.source;
}

// The ports of a DHCP server's answers, as they stand in a UDP header.
uint32_t ports_word(Be16 source, Be16 destination) {
    return uint32_t{destination.raw()} << 16 | source.raw();
}

// The packets of `mask`, all of one family, that come from one of the port's own (MAC, address)
// pairs and from no DHCP server: all there is to say of most.
template <typename Header, typename Address>
uint32_t usual_sources(const Burst& burst, uint32_t mask) {
    constexpr bool kIpv4 = std::is_same_v<Address, Ip4>;
    const uint32_t served = kIpv4 ? ports_word(kPortDhcpServer, kPortDhcpClient)
                                  : ports_word(kPortDhcp6Server, kPortDhcp6Client);
    uint32_t left = mask;
    for (unsigned n = 0; n < burst.in->source_count && left != 0; ++n) {
        const SourcePair& pair = burst.in->sources[n];
        if (pair.prefix.address.is_ipv4() != kIpv4) continue;
        const uint64_t mac = pair.mac.number();
        const PrefixMatch<Address> prefix(pair.prefix);
        const auto is_usual = [&](const PacketMeta& meta) {
            const auto& ip = *reinterpret_cast<const Header*>(meta.l3);
            if (ethernet_before(meta).source.number() != mac) return false;
            if (!prefix.covers(source_of(ip))) return false;
            if (meta.protocol != kProtoUdp || meta.l4_length == 0) return true;
            uint32_t ports;
            std::memcpy(&ports, meta.l3 + meta.l3_length, sizeof ports);
            return ports != served;
        };
        uint32_t others = 0;
        for_nearly_each_packet(left, [&](unsigned i) {
            if (!is_usual(burst.meta[i])) [[unlikely]]
                others |= 1u << i;
        });
        left = others;
    }
    return mask & ~left;
}

bool is_udp_between(const PacketMeta& meta, Be16 source, Be16 destination) {
    if (meta.protocol != kProtoUdp || meta.l4_length == 0) return false;
    const auto& udp = *reinterpret_cast<const UdpHeader*>(meta.l3 + meta.l3_length);
    return udp.source.get() == source && udp.destination.get() == destination;
}

Refusal check_ipv4(const PortConfig& in, const EthernetHeader& ethernet, const PacketMeta& meta) {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(meta.l3);
    const Ip4 source = ip.source.get();
    const SourceMatch match = match_source(in, ethernet.source, source);
    if (!allowed(match)) {
        if (match == SourceMatch::kNoMac) return DropReason::kSpoofedMac;
        // Parsing lets the unspecified address through for a DHCP client only.
        if (source != Ip4{}) return DropReason::kSpoofedSource;
    }
    if (is_udp_between(meta, kPortDhcpServer, kPortDhcpClient)) return DropReason::kDhcpServer;
    return {};
}

// A VM always has the link-local address of its MAC; the unspecified one is left by parsing for
// ND and MLD only.
bool allowed_ipv6(const PortConfig& in, const Mac& mac, const Ip6& address, SourceMatch match) {
    if (allowed(match)) return true;
    if (match == SourceMatch::kNoMac || !port_has_mac(in, mac)) return false;
    return address.is_unspecified() || address == eui64_link_local(mac);
}

Refusal check_ipv6(const PortConfig& in, const EthernetHeader& ethernet, const PacketMeta& meta) {
    const Ip6& source = ipv6_of(meta).source;
    const SourceMatch match = match_source(in, ethernet.source, source);
    if (!allowed_ipv6(in, ethernet.source, source, match)) {
        return match == SourceMatch::kNoMac ? DropReason::kSpoofedMac : DropReason::kSpoofedSource;
    }
    if (is_udp_between(meta, kPortDhcp6Server, kPortDhcp6Client)) return DropReason::kDhcpServer;
    return {};
}

// The target of an advertisement, and the link-layer addresses in solicitations and advertisements.
// What is malformed is left for the ND stage to refuse.
Refusal check_nd(const PortConfig& in, const EthernetHeader& ethernet, const rte_mbuf* packet,
                 const PacketMeta& meta) {
    const uint8_t type = icmp_of(meta).type;
    uint32_t fixed = sizeof(NdNeighbour);
    if (type == kIcmp6RouterSolicitation) {
        fixed = sizeof(IcmpHeader);
    } else if (type != kIcmp6NeighbourSolicitation && type != kIcmp6NeighbourAdvertisement) {
        return {};
    }
    const NdOptions options = read_nd_options(packet, meta, fixed);
    if (!options.valid) return {};
    for (const Mac* mac : {options.source_link_layer, options.target_link_layer}) {
        if (mac != nullptr && *mac != ethernet.source) return DropReason::kSpoofedNd;
    }
    if (type == kIcmp6NeighbourAdvertisement) {
        const Ip6& target = reinterpret_cast<const NdNeighbour*>(meta.l3 + meta.l3_length)->target;
        if (!allowed(match_source(in, ethernet.source, target)) &&
            target != eui64_link_local(ethernet.source)) {
            return DropReason::kSpoofedNd;
        }
    }
    return {};
}

// The SR domain is closed (RFC 8754 section 5.1): whoever is outside does not name its segments.
uint32_t to_segments(const Burst& burst, const SrDomain::Prefixes& locators) {
    uint32_t found = 0;
    for_each_packet(burst.live & burst.ipv6, [&](unsigned i) {
        found |= static_cast<uint32_t>(locators.covers(ipv6_of(burst.meta[i]).destination)) << i;
    });
    return found;
}

// A probe (RFC 5227 section 2.1.1) has no sender address to check.
Refusal check_arp(const PortConfig& in, const EthernetHeader& ethernet, const PacketMeta& meta) {
    const auto& arp = *reinterpret_cast<const ArpHeader*>(meta.l3);
    if (!port_has_mac(in, ethernet.source)) return DropReason::kSpoofedMac;
    if (arp.sender_mac != ethernet.source) return DropReason::kSpoofedArp;
    const Ip4 sender = arp.sender_ip.get();
    if (sender == Ip4{}) {
        return arp.operation.get() == kArpRequest ? Refusal{} : DropReason::kSpoofedArp;
    }
    if (!allowed(match_source(in, arp.sender_mac, sender))) return DropReason::kSpoofedArp;
    return {};
}

}  // namespace

void check_port_security(WorkerContext& context, Burst& burst) {
    const PortConfig& in = *burst.in;
    if (in.kind == PortKind::kUplink) return;
    const auto run = [&](uint32_t mask, auto&& check) {
        for_each_packet(burst.live & mask, [&](unsigned i) {
            if (const Refusal refusal = check(i)) drop(context, burst, i, *refusal);
        });
    };
    run(burst.icmp6, [&](unsigned i) -> Refusal {
        const uint8_t type = icmp_of(burst.meta[i]).type;
        if (type == kIcmp6RouterAdvertisement || type == kIcmp6Redirect) {
            return DropReason::kRouterAdvertisement;
        }
        return {};
    });
    drop_all(context, burst, burst.live & burst.segment_routing, DropReason::kSegmentRouting);
    if (context.domain != nullptr)
        drop_all(context, burst, to_segments(burst, context.domain->locators),
                 DropReason::kVmToSegment);
    if (!in.has(kPortSecurity)) return;
    const uint32_t ipv4 = burst.live & burst.ipv4;
    run(ipv4 & ~usual_sources<Ipv4Header, Ip4>(burst, ipv4),
        [&](unsigned i) { return check_ipv4(in, ethernet_of(burst, i), burst.meta[i]); });
    const uint32_t ipv6 = burst.live & burst.ipv6;
    run(ipv6 & ~usual_sources<Ipv6Header, Ip6>(burst, ipv6),
        [&](unsigned i) { return check_ipv6(in, ethernet_of(burst, i), burst.meta[i]); });
    run(burst.icmp6, [&](unsigned i) {
        return check_nd(in, ethernet_of(burst, i), burst.packets[i], burst.meta[i]);
    });
    run(burst.arp, [&](unsigned i) { return check_arp(in, ethernet_of(burst, i), burst.meta[i]); });
}

}  // namespace slash32
