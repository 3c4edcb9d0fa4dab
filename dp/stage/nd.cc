// SPDX-License-Identifier: Apache-2.0
// Proxy neighbour discovery (RFC 4861, RFC 4862), the IPv6 twin of arp.cc: towards VMs the router
// speaks for every global address but the VM's own, on an uplink for its own addresses, and
// in L2 mode for the VMs'.
// Router solicitations are answered; multicast listener messages end here.
//
// Answers are written over the solicitation's buffer from the Ethernet header on: what they need of
// it is copied out first.
#include "dp/packet/nd.h"

#include "dp/packet/checksum.h"
#include "dp/packet/source_match.h"
#include "dp/packet/view.h"
#include "dp/stage/disposition.h"
#include "dp/stage/proxy.h"
#include "dp/stage/stages.h"

#include <optional>

namespace slash32 {
namespace {

using Refusal = std::optional<DropReason>;

constexpr uint32_t kL2 = sizeof(EthernetHeader);
constexpr uint32_t kL4 = kL2 + sizeof(Ipv6Header);
constexpr uint8_t kNdHopLimit = 255;
constexpr uint8_t kAdvertisedHopLimit = 64;
// RFC 8319 section 3: the longest there is, since a VM that has stopped soliciting hears from us
// only when it asks again.
constexpr uint16_t kRouterLifetimeSeconds = 65535;
constexpr uint32_t kInfiniteLifetime = 0xffffffff;
constexpr Ip6 kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr Mac kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};

NdNeighbour& neighbour_of(const PacketMeta& meta) {
    return *reinterpret_cast<NdNeighbour*>(meta.l3 + meta.l3_length);
}

// RFC 4291 section 2.7.1.
bool is_solicited_node(const Ip6& address) {
    constexpr uint8_t kPrefix[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    return std::memcmp(address.bytes.data(), kPrefix, sizeof kPrefix) == 0;
}

// RFC 4861 section 7.1.1.
bool is_valid_solicitation(const rte_mbuf* packet, const PacketMeta& meta) {
    if (!is_valid_nd(packet, meta)) return false;
    const NdOptions options = read_nd_options(packet, meta, sizeof(NdNeighbour));
    if (!options.valid || neighbour_of(meta).target.is_multicast()) return false;
    const Ipv6Header& ip = ipv6_of(meta);
    if (!ip.source.is_unspecified()) return true;
    return is_solicited_node(ip.destination) && options.source_link_layer == nullptr;
}

// RFC 4861 section 7.1.2.
bool is_valid_advertisement(const rte_mbuf* packet, const PacketMeta& meta) {
    if (!is_valid_nd(packet, meta)) return false;
    if (!read_nd_options(packet, meta, sizeof(NdNeighbour)).valid) return false;
    const NdNeighbour& message = neighbour_of(meta);
    if (message.target.is_multicast()) return false;
    return !ipv6_of(meta).destination.is_multicast() ||
           (message.icmp.rest.host() & kNdSolicited) == 0;
}

// RFC 4861 section 6.1.1.
bool is_valid_router_solicitation(const rte_mbuf* packet, const PacketMeta& meta) {
    if (!is_valid_nd(packet, meta)) return false;
    const NdOptions options = read_nd_options(packet, meta, sizeof(IcmpHeader));
    if (!options.valid) return false;
    return !ipv6_of(meta).source.is_unspecified() || options.source_link_layer == nullptr;
}

// Why a solicitation is not answered; nothing if it is.
Refusal refuse_solicitation(const WorkerContext& context, const PortConfig& in, const Ip6& target,
                            bool probe) {
    if (in.kind == PortKind::kUplink) {
        if (is_router_address(in, target) || speaks_for(context, in, target)) return {};
        return DropReason::kNdNotForUs;
    }
    if (is_fixed_address(in, target)) return DropReason::kNdOwnAddress;
    if (is_router_address(in, target)) return {};
    if (target == eui64_link_local(in.mac)) return DropReason::kNdOwnAddress;
    constexpr Ip6 kLoopback{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    if (target.is_link_local() || target.is_unspecified() || target == kLoopback) {
        return DropReason::kNdNotForUs;
    }
    // Any route at all makes the router speak for an address, but only its own host route says that
    // somebody holds it (RFC 4862 section 5.4.3).
    const NextHopId hop =
        probe ? context.fib.lookup_host(in.vrf, target) : context.fib.lookup(in.vrf, target);
    const Adjacency& route = context.adjacency(context.member(hop, 0));
    if (leads_out(route) && route.port == in.id) return DropReason::kNdOwnAddress;
    if (probe && !leads_out(route)) return DropReason::kNdProbeFree;
    return {};
}

// Writes the Ethernet and IPv6 header of an answer of `length` bytes of ICMPv6 into a buffer that
// has just become that large, and returns where the message goes. The answer to a solicitation from
// the unspecified address goes to all nodes.
uint8_t* write_answer_headers(const PortConfig& in, rte_mbuf* packet, const Mac& to_mac,
                              const Ip6& to, const Ip6& from, uint16_t length) {
    const bool to_all = to.is_unspecified();
    auto& ethernet = *rte_pktmbuf_mtod(packet, EthernetHeader*);
    ethernet.destination = to_all ? kAllNodesMac : to_mac;
    ethernet.source = in.router_mac;
    ethernet.type = kEtherIpv6;
    auto& ip = *rte_pktmbuf_mtod_offset(packet, Ipv6Header*, kL2);
    ip.version_class_flow = Be32{0x60000000};
    ip.payload_length = Be16{length};
    ip.next_header = kProtoIcmp6;
    ip.hop_limit = kNdHopLimit;
    ip.source = from;
    ip.destination = to_all ? kAllNodes : to;
    return rte_pktmbuf_mtod_offset(packet, uint8_t*, kL4);
}

void fill_icmp6_checksum(rte_mbuf* packet, Wire<Be16>& field, uint16_t length) {
    field = Be16{};
    const auto& ip = *rte_pktmbuf_mtod_offset(packet, const Ipv6Header*, kL2);
    field = checksum_finish(
        checksum_add_chain(pseudo_header_sum(ip, kProtoIcmp6, length), packet, kL4, length));
}

// RFC 4861 section 7.2.4; for an address that is not the router's own, section 7.2.8: no override.
void advertise(WorkerContext& context, Burst& burst, unsigned i) {
    const PortConfig& in = *burst.in;
    rte_mbuf* packet = burst.packets[i];
    const Ip6 target = neighbour_of(burst.meta[i]).target;
    const Ip6 to = ipv6_of(burst.meta[i]).source;
    const Mac to_mac = ethernet_of(burst, i).source;
    constexpr uint16_t kLength = sizeof(NdNeighbour) + sizeof(NdLinkLayerOption);
    if (!resize_to_single(packet, kL4 + kLength)) {
        return drop(context, burst, i, DropReason::kNoBuffer);
    }
    const bool own = is_router_address(in, target);
    const Ip6 proxy = in.kind == PortKind::kUplink ? router_link_local(in) : in.gateway6;
    uint8_t* message = write_answer_headers(in, packet, to_mac, to, own ? target : proxy, kLength);
    auto& advertisement = *reinterpret_cast<NdNeighbour*>(message);
    advertisement.icmp.type = kIcmp6NeighbourAdvertisement;
    advertisement.icmp.code = 0;
    advertisement.icmp.rest =
        Be32{kNdRouter | (to.is_unspecified() ? 0 : kNdSolicited) | (own ? kNdOverride : 0)};
    advertisement.target = target;
    auto& option = *reinterpret_cast<NdLinkLayerOption*>(message + sizeof(NdNeighbour));
    option.option = {.type = kNdTargetLinkLayer, .length = 1};
    option.mac = in.router_mac;
    fill_icmp6_checksum(packet, advertisement.icmp.checksum, kLength);
    reply(context, burst, i);
}

void handle_solicitation(WorkerContext& context, Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    if (!is_valid_solicitation(burst.packets[i], meta)) {
        return drop(context, burst, i, DropReason::kBadNd);
    }
    const bool probe = ipv6_of(meta).source.is_unspecified();
    if (const Refusal refusal =
            refuse_solicitation(context, *burst.in, neighbour_of(meta).target, probe)) {
        return drop(context, burst, i, *refusal);
    }
    advertise(context, burst, i);
}

// An unsolicited advertisement of an allowed pair moves a shared address: control decides.
void handle_advertisement(WorkerContext& context, Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    if (!is_valid_advertisement(burst.packets[i], meta)) {
        return drop(context, burst, i, DropReason::kBadNd);
    }
    const PortConfig& in = *burst.in;
    const NdNeighbour& message = neighbour_of(meta);
    const bool unsolicited = (message.icmp.rest.host() & kNdSolicited) == 0;
    if (unsolicited && in.kind != PortKind::kUplink &&
        match_source(in, ethernet_of(burst, i).source, message.target) == SourceMatch::kPair) {
        return punt(context, burst, i, PuntReason::kAddressAnnounced);
    }
    drop(context, burst, i, DropReason::kNdAdvertisement);
}

uint8_t* write_prefix(uint8_t* at, const RaPrefix& prefix) {
    auto& option = *reinterpret_cast<NdPrefixOption*>(at);
    option.option = {.type = kNdPrefix, .length = sizeof(NdPrefixOption) / 8};
    option.prefix_length = prefix.length;
    // Never on-link: whatever the VM sends, it sends to the router.
    option.flags = prefix.autonomous ? kPrefixFlagAutonomous : 0;
    option.valid_seconds = Be32{kInfiniteLifetime};
    option.preferred_seconds = Be32{kInfiniteLifetime};
    option.reserved = Be32{};
    option.prefix = prefix.prefix;
    return at + sizeof(NdPrefixOption);
}

// RFC 4861 section 6.2.6.
void advertise_router(WorkerContext& context, Burst& burst, unsigned i) {
    const PortConfig& in = *burst.in;
    rte_mbuf* packet = burst.packets[i];
    const Ip6 to = ipv6_of(burst.meta[i]).source;
    const Mac to_mac = ethernet_of(burst, i).source;
    const auto length =
        static_cast<uint16_t>(sizeof(NdRouterAdvertisement) + sizeof(NdLinkLayerOption) +
                              sizeof(NdMtuOption) + in.ra_prefix_count * sizeof(NdPrefixOption));
    if (!resize_to_single(packet, kL4 + length)) {
        return drop(context, burst, i, DropReason::kNoBuffer);
    }
    uint8_t* at = write_answer_headers(in, packet, to_mac, to, router_link_local(in), length);
    auto& message = *reinterpret_cast<NdRouterAdvertisement*>(at);
    message.type = kIcmp6RouterAdvertisement;
    message.code = 0;
    message.hop_limit = kAdvertisedHopLimit;
    message.flags = in.has(kRaManaged) ? kRaFlagManaged : 0;
    message.lifetime_seconds = Be16{kRouterLifetimeSeconds};
    message.reachable_ms = Be32{};
    message.retransmit_ms = Be32{};
    at += sizeof message;
    auto& source = *reinterpret_cast<NdLinkLayerOption*>(at);
    source.option = {.type = kNdSourceLinkLayer, .length = 1};
    source.mac = in.router_mac;
    at += sizeof source;
    auto& mtu = *reinterpret_cast<NdMtuOption*>(at);
    mtu.option = {.type = kNdMtu, .length = 1};
    mtu.reserved = Be16{};
    mtu.mtu = Be32{in.mtu};
    at += sizeof mtu;
    for (unsigned p = 0; p < in.ra_prefix_count; ++p)
        at = write_prefix(at, in.ra_prefixes[p]);
    fill_icmp6_checksum(packet, message.checksum, length);
    reply(context, burst, i);
}

void handle_router_solicitation(WorkerContext& context, Burst& burst, unsigned i) {
    if (!is_valid_router_solicitation(burst.packets[i], burst.meta[i])) {
        return drop(context, burst, i, DropReason::kBadNd);
    }
    if (burst.in->kind == PortKind::kUplink || !burst.in->has(kSendRa)) {
        return drop(context, burst, i, DropReason::kNdNotForUs);
    }
    advertise_router(context, burst, i);
}

}  // namespace

void answer_nd(WorkerContext& context, Burst& burst) {
    for_each_packet(burst.live & burst.icmp6, [&](unsigned i) {
        switch (icmp_of(burst.meta[i]).type) {
            case kIcmp6NeighbourSolicitation:
                return handle_solicitation(context, burst, i);
            case kIcmp6NeighbourAdvertisement:
                return handle_advertisement(context, burst, i);
            case kIcmp6RouterSolicitation:
                return handle_router_solicitation(context, burst, i);
            case kIcmp6RouterAdvertisement:
            case kIcmp6Redirect:
                // Of a VM's, port security has refused it.
                return drop(context, burst, i, DropReason::kNdAdvertisement);
            case kIcmp6MldQuery:
            case kIcmp6MldReport:
            case kIcmp6MldDone:
            case kIcmp6Mld2Report:
                return drop(context, burst, i, DropReason::kMulticastListener);
            default:
                return;
        }
    });
}

}  // namespace slash32
