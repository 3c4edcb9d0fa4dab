// SPDX-License-Identifier: Apache-2.0
// The parse stage's short way: proves what nearly all packets are in a few comparisons of words.
//
// A plain packet stands in one segment, asks for nothing, is unicast to the router's MAC from one
// host's ordinary address to another's, and has TCP or UDP right behind an IPv4 header without
// options or an IPv6 one without extension headers, or there another IP packet; it is no fragment.
// Of any other packet nothing is said here: the rest of the stage looks at it from the start. Both
// ways find the same in a plain packet (tests/unit/dp/stage/parse_test.cc).
#pragma once

#include "dp/abi/port.h"
#include "dp/packet/burst.h"
#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"

#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace slash32 {

// Of the packets of one port. Thread safety: immutable.
class PlainParser {
  public:
    // The bytes of the shortest one.
    static constexpr uint32_t kLeast = sizeof(Ipv4Header) + sizeof(UdpHeader);

    explicit PlainParser(const PortConfig& in) : router_mac_(in.router_mac.number() << 16) {}

    // kIpv4 or kIpv6, with meta filled and the link's padding cut off; kUnknown, and the packet as
    // it was, where it is not plain.
    PacketKind parse(rte_mbuf* packet, PacketMeta& meta) const {
        const uint32_t length = packet->data_len;
        if (packet->nb_segs != 1 || (packet->ol_flags & kRequests) != 0 || length < kL2 + kLeast)
            return PacketKind::kUnknown;
        auto* l3 = rte_pktmbuf_mtod_offset(packet, uint8_t*, kL2);
        const uint64_t destination = load(l3 - kL2);  // and two bytes of the source
        const uint64_t source = load(l3 - 8);         // and the type
        constexpr uint64_t kGroup = 1;
        if (destination << 16 != router_mac_ || source << 16 == 0 || (source & kGroup) != 0)
            return PacketKind::kUnknown;
        const auto type = static_cast<uint16_t>(source >> 48);
        PacketKind kind = PacketKind::kUnknown;
        uint32_t total = 0;
        if (type == kEtherIpv4.raw()) {
            kind = PacketKind::kIpv4;
            total = parse_ipv4(l3, length - kL2, meta);
        } else if (type == kEtherIpv6.raw()) {
            kind = PacketKind::kIpv6;
            total = parse_ipv6(l3, length - kL2, meta);
        }
        if (total == 0) return PacketKind::kUnknown;
        if (kL2 + total != length)
            packet->pkt_len = packet->data_len = static_cast<uint16_t>(kL2 + total);
        return kind;
    }

    // An IPv4 packet of `available` bytes at most, whatever it stands in. Its length; 0, and
    // nothing said of it, where it is not plain. REQUIRES: kLeast bytes.
    static uint32_t parse_ipv4(uint8_t* l3, uint32_t available, PacketMeta& meta) {
        const auto& ip = *reinterpret_cast<const Ipv4Header*>(l3);
        const uint32_t total = ip.total_length.host();
        constexpr uint8_t kWithoutOptions = 0x45;
        constexpr Be16 kPart{kIpv4MoreFragments | kIpv4OffsetMask};
        if (ip.version_ihl != kWithoutOptions || total > available ||
            (ip.fragment.get().raw() & kPart.raw()) != 0 || ipv4_header_residue(ip) != 0 ||
            !kOrdinaryIpv4[l3[12]] || !kOrdinaryIpv4[l3[16]])
            return 0;
        return parse_transport<PacketKind::kIpv4, sizeof ip>(l3, total, ip.protocol, meta);
    }

    // The same of an IPv6 packet, whose length field says whether the header is whole.
    static uint32_t parse_ipv6(uint8_t* l3, uint32_t available, PacketMeta& meta) {
        const auto& ip = *reinterpret_cast<const Ipv6Header*>(l3);
        const uint32_t total = sizeof ip + ip.payload_length.host();
        if (l3[0] >> 4 != 6 || total > available || !is_ordinary_ipv6(ip.source.bytes[0]) ||
            !is_ordinary_ipv6(ip.destination.bytes[0]))
            return 0;
        return parse_transport<PacketKind::kIpv6, sizeof ip>(l3, total, ip.next_header, meta);
    }

  private:
    static constexpr uint32_t kL2 = sizeof(EthernetHeader);
    // A tag, a segment to be cut, a checksum that is bad or not filled: "none" has the bit of
    // "bad".
    static constexpr uint64_t kRequests = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED |
                                          RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_BAD;
    static_assert((RTE_MBUF_F_RX_L4_CKSUM_NONE & RTE_MBUF_F_RX_L4_CKSUM_BAD) != 0);

    // By the first byte of an address: it is none of this network, loopback, a group, reserved.
    static constexpr auto kOrdinaryIpv4 = [] {
        std::array<bool, 256> ordinary{};
        for (unsigned first = 1; first < 224; ++first)
            ordinary[first] = first != 127;
        return ordinary;
    }();
    // Nor of: unspecified, loopback, mapped, link-local, a group. (Some ordinary ones, too.)
    static bool is_ordinary_ipv6(uint8_t first) { return first - 1u < 0xfd; }

    static uint64_t load(const uint8_t* at) {
        uint64_t value;
        std::memcpy(&value, at, sizeof value);
        return value;
    }

    // `total` bytes of the packet, an IP header of kHeader bytes among them.
    template <PacketKind kKind, uint16_t kHeader>
    static uint32_t parse_transport(uint8_t* l3, uint32_t total, uint8_t protocol,
                                    PacketMeta& meta) {
        const uint8_t* l4 = l3 + kHeader;
        const auto found = [&](uint32_t size, uint8_t number) {
            meta.set_plain(kKind, l3, static_cast<uint16_t>(total), kHeader,
                           static_cast<uint8_t>(size), number);
            return total;
        };
        if (protocol == kProtoUdp) {
            if (total < kHeader + sizeof(UdpHeader)) return 0;
            const uint32_t length = reinterpret_cast<const UdpHeader*>(l4)->length.host();
            if (length < sizeof(UdpHeader) || kHeader + length > total) return 0;
            return found(sizeof(UdpHeader), kProtoUdp);
        }
        if (protocol == kProtoTcp) {
            if (total < kHeader + sizeof(TcpHeader)) return 0;
            const uint32_t size = reinterpret_cast<const TcpHeader*>(l4)->length();
            if (size < sizeof(TcpHeader) || kHeader + size > total) return 0;
            return found(size, kProtoTcp);
        }
        if (kKind == PacketKind::kIpv6 && (protocol == kProtoIpv4 || protocol == kProtoIpv6)) {
            // The inner header goes on in a cache line that nobody else asks for.
            rte_prefetch0_write(l4 + sizeof(Ipv4Header));
            return found(0, protocol);
        }
        return 0;
    }

    uint64_t router_mac_;
};

}  // namespace slash32
