// SPDX-License-Identifier: Apache-2.0
// The parse stage: counts what was received, proves the length of every header, and refuses what no
// router may pass on. After it no stage needs to doubt a length in PacketMeta.
//
// Nearly all packets go the short way of parse_plain.h; the functions here are for the others.
// IPv6 extension headers are walked in ipv6_extensions.cc, offload requests judged in
// offload_request().
#include "dp/packet/checksum.h"
#include "dp/packet/ipv6_extensions.h"
#include "dp/packet/view.h"
#include "dp/stage/disposition.h"
#include "dp/stage/parse_again.h"
#include "dp/stage/parse_plain.h"
#include "dp/stage/stages.h"

#include <optional>

namespace slash32 {
namespace {

constexpr uint32_t kL2 = sizeof(EthernetHeader);
using Refusal = std::optional<DropReason>;  // nothing: the packet is fine so far

Refusal parse_ethernet(const PortConfig& in, const rte_mbuf* packet, const HeaderView& view,
                       PacketMeta& meta) {
    const auto* ethernet = view.at<EthernetHeader>(0);
    if (ethernet == nullptr) return view.missing(0, kL2, DropReason::kTruncatedEthernet);
    if ((packet->ol_flags & (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED)) != 0) {
        return DropReason::kBadVlan;
    }
    if (ethernet->source.is_multicast() || ethernet->source.is_zero()) {
        return DropReason::kSourceMacMulticast;
    }
    if (ethernet->destination != in.router_mac) {
        if (!ethernet->destination.is_multicast()) return DropReason::kWrongDestinationMac;
        constexpr Mac kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
        meta.flags |= ethernet->destination == kBroadcastMac ? kLinkBroadcast : kLinkMulticast;
    }
    const Be16 type = ethernet->type.get();
    if (type == kEtherIpv4) {
        meta.kind = PacketKind::kIpv4;
    } else if (type == kEtherIpv6) {
        meta.kind = PacketKind::kIpv6;
    } else if (type == kEtherArp) {
        meta.kind = PacketKind::kArp;
    } else if (type == kEtherVlan || type == kEtherQinq) {
        return DropReason::kBadVlan;
    } else {
        return DropReason::kUnknownEthertype;
    }
    return {};
}

// RFC 826, "Packet Reception": hardware space, protocol space and their lengths come first.
Refusal parse_arp(const HeaderView& view, PacketMeta& meta) {
    const auto* arp = view.at<ArpHeader>(kL2);
    if (arp == nullptr) return view.missing(kL2, sizeof(ArpHeader), DropReason::kBadArp);
    if (arp->hardware.get() != kArpEthernet || arp->protocol.get() != kEtherIpv4 ||
        arp->hardware_length != 6 || arp->protocol_length != 4) {
        return DropReason::kBadArp;
    }
    meta.l3 = view.at<uint8_t>(kL2);
    return {};
}

// RFC 791 section 3.1, "Options": each but the first two has a length that counts itself.
Refusal walk_ipv4_options(const uint8_t* options, unsigned length, PacketMeta& meta) {
    enum : uint8_t { kEnd = 0, kNoOperation = 1, kLooseSource = 131, kStrictSource = 137 };
    constexpr uint8_t kRouterAlertOption = 148;  // RFC 2113
    for (unsigned i = 0; i < length;) {
        const uint8_t type = options[i];
        if (type == kEnd) break;
        if (type == kNoOperation) {
            ++i;
            continue;
        }
        if (i + 2 > length || options[i + 1] < 2 || i + options[i + 1] > length) {
            return DropReason::kBadIpv4Options;
        }
        // RFC 7126 sections 4.3 and 4.4: dropped by default.
        if (type == kLooseSource || type == kStrictSource) return DropReason::kSourceRoute;
        if (type == kRouterAlertOption) meta.flags |= kRouterAlert;
        i += options[i + 1];
    }
    return {};
}

// `offset` and `length` of this part in bytes.
Refusal check_fragment(uint32_t offset, uint32_t length, bool more, uint8_t protocol) {
    if (length == 0 || (more && length % 8 != 0)) return DropReason::kBadFragment;
    if (offset + length > UINT16_MAX) return DropReason::kBadFragment;  // "ping of death"
    // RFC 3128: a part that would overwrite the TCP flags of the first.
    if (protocol == kProtoTcp && offset == 8) return DropReason::kBadFragment;
    return {};
}

template <PacketKind kKind>
Refusal parse_transport(const HeaderView& view, PacketMeta& meta) {
    const uint32_t l4 = kL2 + meta.l3_length;
    const uint32_t length = uint32_t{meta.ip_length} - meta.l3_length;  // in this packet
    const auto need = [&](uint32_t n) -> Refusal {
        if (length < n) return DropReason::kTruncatedTransport;
        if (!view.holds(l4, n)) return DropReason::kSplitHeader;
        return {};
    };
    uint32_t size = 0;
    switch (meta.protocol) {
        case kProtoTcp: {
            if (Refusal refusal = need(sizeof(TcpHeader))) return refusal;
            size = view.at<TcpHeader>(l4)->length();
            if (size < sizeof(TcpHeader)) return DropReason::kBadTransportHeader;
            break;
        }
        case kProtoUdp: {
            size = sizeof(UdpHeader);
            if (Refusal refusal = need(size)) return refusal;
            const uint16_t udp_length = view.at<UdpHeader>(l4)->length.host();
            if (udp_length < size) return DropReason::kBadTransportHeader;
            if (udp_length > length && !meta.has(kFragment)) return DropReason::kBadTransportHeader;
            meta.l4_length = sizeof(UdpHeader);
            return {};
        }
        case kProtoIcmp:
            if (kKind == PacketKind::kIpv4) size = sizeof(IcmpHeader);
            break;
        case kProtoIcmp6:
            if (kKind == PacketKind::kIpv6) size = sizeof(IcmpHeader);
            break;
        case kProtoSctp:
            // The first chunk's header (RFC 9260 section 3.2), and of an INIT the tag it chooses.
            size = kSctpHeaderLength + (length < kSctpHeaderLength + 8 ? 4 : 8);
            break;
        default:
            break;
    }
    if (Refusal refusal = need(size)) return refusal;
    meta.l4_length = static_cast<uint8_t>(size);
    return {};
}

// RFC 1812 sections 5.3.7 and 4.2.2.11: what may never be a source, but for a DHCP client that has
// no address yet (RFC 2131 section 4.1).
Refusal check_ipv4_addresses(const Ipv4Header& ip, const PacketMeta& meta, bool& group) {
    const uint32_t source = ip.source.get().value.to_host();
    const uint32_t destination = ip.destination.get().value.to_host();
    const uint32_t source_net = source >> 24;
    const uint32_t destination_net = destination >> 24;
    constexpr uint32_t kBroadcastIp = 0xffffffff;
    if (source_net == 0 || source_net == 127 || source_net >= 224) {
        if (source != 0 || destination != kBroadcastIp || meta.protocol != kProtoUdp ||
            meta.l4_length == 0) {
            return DropReason::kBadSourceAddress;
        }
        const auto& udp = *reinterpret_cast<const UdpHeader*>(meta.l3 + meta.l3_length);
        if (udp.source.get() != kPortDhcpClient || udp.destination.get() != kPortDhcpServer) {
            return DropReason::kBadSourceAddress;
        }
    }
    if (destination_net == 0 || destination_net == 127) return DropReason::kBadDestinationAddress;
    if (destination_net >= 240 && destination != kBroadcastIp) {
        return DropReason::kBadDestinationAddress;
    }
    group = destination_net >= 224;
    return {};
}

Refusal parse_ipv4(const rte_mbuf* packet, const HeaderView& view, PacketMeta& meta, bool& group) {
    const auto* ip = view.at<Ipv4Header>(kL2);
    if (ip == nullptr) {
        return view.missing(kL2, sizeof(Ipv4Header), DropReason::kTruncatedIpv4);
    }
    const unsigned header = ip->length();
    const uint16_t total = ip->total_length.host();
    // RFC 1812 section 5.2.2.
    if (ip->version_ihl >> 4 != 4 || header < sizeof(Ipv4Header)) return DropReason::kBadIpv4Header;
    if (total < header) return DropReason::kBadIpv4Header;
    if (total > view.total() - kL2) return DropReason::kTruncatedIpv4;
    if (!view.holds(kL2, header)) return DropReason::kSplitHeader;
    if ((packet->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) != RTE_MBUF_F_RX_IP_CKSUM_GOOD &&
        ipv4_header_residue(*ip) != 0) {
        return DropReason::kBadIpv4Checksum;
    }
    meta.l3 = view.at<uint8_t>(kL2);
    meta.ip_length = total;
    meta.l3_length = static_cast<uint16_t>(header);
    meta.protocol = ip->protocol;
    if (header > sizeof(Ipv4Header)) [[unlikely]] {
        const unsigned options = header - static_cast<unsigned>(sizeof(Ipv4Header));
        if (Refusal refusal = walk_ipv4_options(meta.l3 + sizeof(Ipv4Header), options, meta)) {
            return refusal;
        }
    }
    const uint16_t fragment = ip->fragment.host();
    if ((fragment & (kIpv4MoreFragments | kIpv4OffsetMask)) != 0) [[unlikely]] {
        const uint32_t offset = (fragment & uint32_t{kIpv4OffsetMask}) * 8;
        meta.flags |= offset == 0 ? kFragment : kFragment | kLaterFragment;
        const bool more = (fragment & kIpv4MoreFragments) != 0;
        const uint32_t length = uint32_t{total} - header;
        if (Refusal refusal = check_fragment(offset, length, more, ip->protocol)) return refusal;
    }
    if (!meta.has(kLaterFragment)) {
        if (Refusal refusal = parse_transport<PacketKind::kIpv4>(view, meta)) return refusal;
    }
    return check_ipv4_addresses(*ip, meta, group);
}

// Addresses that name no node on a link: RFC 4291 sections 2.5.2 (unspecified), 2.5.3 (loopback)
// and 2.5.5.2 (an IPv4-mapped one is a notation within a node). All begin with eight zero bytes.
enum class Ip6Oddity : uint8_t { kNone, kUnspecified, kLoopback, kMapped };

Ip6Oddity oddity_of(const Ip6& address) {
    uint64_t halves[2];
    std::memcpy(halves, address.bytes.data(), sizeof halves);
    if (halves[0] != 0) [[likely]]
        return Ip6Oddity::kNone;
    const uint64_t low = __builtin_bswap64(halves[1]);
    if (low == 0) return Ip6Oddity::kUnspecified;
    if (low == 1) return Ip6Oddity::kLoopback;
    return low >> 32 == 0xffff ? Ip6Oddity::kMapped : Ip6Oddity::kNone;
}

// RFC 4291 section 2.7, and the oddities. A node without an address yet may solicit and report its
// group memberships (RFC 4861 sections 4.1 and 4.3, RFC 3590 section 4).
Refusal check_ipv6_addresses(const Ipv6Header& ip, const PacketMeta& meta, bool& group) {
    const Ip6Oddity source = oddity_of(ip.source);
    const bool unspecified = source == Ip6Oddity::kUnspecified;
    if (ip.source.is_multicast() || (source != Ip6Oddity::kNone && !unspecified)) {
        return DropReason::kBadSourceAddress;
    }
    if (unspecified && (!ip.destination.is_multicast() || meta.protocol != kProtoIcmp6)) {
        return DropReason::kBadSourceAddress;
    }
    if (oddity_of(ip.destination) != Ip6Oddity::kNone) return DropReason::kBadDestinationAddress;
    group = unspecified || ip.destination.is_multicast() || ip.destination.is_link_local() ||
            ip.source.is_link_local();
    return {};
}

Refusal parse_extensions(const HeaderView& view, uint32_t total, PacketMeta& meta) {
    Ipv6Chain chain;
    if (Refusal refusal = walk_ipv6_extensions(view, kL2, total, chain)) return refusal;
    meta.l3_length = static_cast<uint16_t>(chain.length);
    meta.protocol = chain.protocol;
    meta.flags |= chain.flags;
    if (!meta.has(kFragment)) return {};
    meta.fragment_header = static_cast<uint8_t>(chain.fragment_part / 8 - 1);
    return check_fragment(chain.fragment_offset, total - chain.fragment_part, chain.more_fragments,
                          chain.protocol);
}

Refusal parse_ipv6(const HeaderView& view, PacketMeta& meta, bool& group) {
    const auto* ip = view.at<Ipv6Header>(kL2);
    if (ip == nullptr) {
        return view.missing(kL2, sizeof(Ipv6Header), DropReason::kTruncatedIpv6);
    }
    if (ip->version_class_flow.host() >> 28 != 6) return DropReason::kBadIpv6Header;
    const uint32_t total = sizeof(Ipv6Header) + ip->payload_length.host();
    if (total > view.total() - kL2) return DropReason::kTruncatedIpv6;
    // The IPv6 header and the longest payload exceed 16 bits; no such packet fits a link here.
    if (total > UINT16_MAX) return DropReason::kBadIpv6Header;
    meta.l3 = view.at<uint8_t>(kL2);
    meta.ip_length = static_cast<uint16_t>(total);

    meta.l3_length = sizeof(Ipv6Header);
    meta.protocol = ip->next_header;
    if (is_ipv6_extension(meta.protocol)) [[unlikely]] {
        if (Refusal refusal = parse_extensions(view, total, meta)) return refusal;
    }
    if (!meta.has(kLaterFragment)) {
        if (Refusal refusal = parse_transport<PacketKind::kIpv6>(view, meta)) return refusal;
    }
    return check_ipv6_addresses(*ip, meta, group);
}

// "Checksum not yet filled" and "large segment" hold only for what we can fill and cut ourselves,
// by the lengths of our own parser; whatever else the sender claims is refused.
Refusal offload_request(const rte_mbuf* packet, PacketMeta& meta) {
    const uint64_t flags = packet->ol_flags;
    const bool partial = (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
    const bool large = (flags & RTE_MBUF_F_RX_LRO) != 0;
    if (!partial && !large) [[likely]]
        return {};
    // The pseudo-header of a packet with a routing header has another destination.
    if (meta.has(kFragment | kRoutingHeader)) return DropReason::kNoOffload;
    const uint32_t length = uint32_t{meta.ip_length} - meta.l3_length;
    if (meta.protocol == kProtoUdp) {
        const auto& udp = *reinterpret_cast<const UdpHeader*>(meta.l3 + meta.l3_length);
        if (large || udp.length.host() != length) return DropReason::kNoOffload;
    } else if (meta.protocol != kProtoTcp) {
        return DropReason::kNoOffload;
    }
    meta.flags |= kPartialChecksum;
    if (!large) return {};
    const uint32_t payload = length - meta.l4_length;
    const uint32_t size = packet->tso_segsz;
    if (size == 0 || payload > size * kMaxPartsPerPacket) return DropReason::kNoOffload;
    // A large segment that fits in one is an ordinary packet.
    if (payload > size) meta.flags |= kLargeSegment;
    return {};
}

[[gnu::noinline]] void parse_packet(WorkerContext& context, Burst& burst, unsigned i) {
    rte_mbuf* packet = burst.packets[i];
    PacketMeta& meta = burst.meta[i];
    const uint32_t bit = 1u << i;
    meta = PacketMeta{};
    if (packet->nb_segs > 1) [[unlikely]] {
        pull_headers(packet, kMaxHeaderBytes);
    }
    const HeaderView view(packet);
    bool group = false;
    Refusal refusal = parse_ethernet(*burst.in, packet, view, meta);
    if (refusal == DropReason::kUnknownEthertype && burst.in->twin != kNoPort) {
        burst.foreign |= bit;
        return;
    }
    if (refusal) return drop(context, burst, i, *refusal);
    if (meta.kind == PacketKind::kIpv4) {
        burst.ipv4 |= bit;
        refusal = parse_ipv4(packet, view, meta, group);
        if (meta.protocol == kProtoIcmp && meta.l4_length != 0) burst.icmp |= bit;
    } else if (meta.kind == PacketKind::kIpv6) {
        burst.ipv6 |= bit;
        refusal = parse_ipv6(view, meta, group);
        if (meta.protocol == kProtoIcmp6 && meta.l4_length != 0) {
            burst.icmp |= bit;
            burst.icmp6 |= bit;
        }
    } else {
        burst.arp |= bit;
        refusal = parse_arp(view, meta);
        if (refusal) drop(context, burst, i, *refusal);
        return;
    }
    if (!refusal) refusal = offload_request(packet, meta);
    if (refusal) return drop(context, burst, i, *refusal);

    trim_packet(packet, kL2 + meta.ip_length);  // padding is the link's, not the packet's
    if (!group && meta.flags == 0 && packet->nb_segs == 1) return;
    if (group || meta.has(kLinkBroadcast | kLinkMulticast)) burst.group |= bit;
    if (packet->nb_segs > 1 || meta.has(kPartialChecksum)) burst.offload |= bit;
    if (meta.has(kFragment)) burst.fragments |= bit;
    if (meta.has(kSegmentRoutingHeader)) burst.segment_routing |= bit;
}

// Parses these packets of the burst. Returns their bytes, Ethernet headers counted.
uint64_t parse_all(WorkerContext& context, Burst& burst, uint32_t packets) {
    const PlainParser plain(*burst.in);
    uint32_t ipv4 = 0;
    uint32_t ipv6 = 0;
    uint64_t bytes = 0;
    for_each_packet(packets, [&](unsigned i) {
        bytes += burst.packets[i]->pkt_len;
        const PacketKind kind = plain.parse(burst.packets[i], burst.meta[i]);
        if (kind == PacketKind::kIpv4) {
            ipv4 |= 1u << i;
        } else if (kind == PacketKind::kIpv6) {
            ipv6 |= 1u << i;
        } else {
            parse_packet(context, burst, i);
        }
    });
    burst.ipv4 |= ipv4;
    burst.ipv6 |= ipv6;
    return bytes;
}

}  // namespace

void parse(WorkerContext& context, Burst& burst) {
    PortCounters& counters = context.port_counters(burst.in->id);
    counters.rx_packets.add(static_cast<uint64_t>(std::popcount(burst.live)));
    burst.arp = burst.ipv4 = burst.ipv6 = burst.icmp = burst.icmp6 = 0;
    burst.group = burst.foreign = burst.offload = burst.fragments = burst.segment_routing = 0;
    burst.steered = burst.tunnel = 0;
    burst.vrfs.fill(burst.in->vrf);
    counters.rx_bytes.add(parse_all(context, burst, burst.live));
}

void parse_again(WorkerContext& context, Burst& burst, uint32_t packets) {
    for (uint32_t* kind : {&burst.ipv4, &burst.ipv6, &burst.icmp, &burst.icmp6, &burst.group,
                           &burst.offload, &burst.fragments, &burst.segment_routing})
        *kind &= ~packets;
    parse_all(context, burst, packets);
}

}  // namespace slash32
