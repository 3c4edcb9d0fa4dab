// SPDX-License-Identifier: Apache-2.0
// A burst: up to 32 packets of one receive queue, on their way through the stages.
//
// Which packets are where is told by two masks, a bit a packet: `live` are still in the pipeline,
// `tx` are ready to be sent to meta.out_port. A stage visits the live ones and leaves each live,
// or moves it to `tx`, or lets it leave (dropped, punted, consumed). At the end of the pipeline
// live is empty, so every packet leaves exactly once. Owned by one worker's stack.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/limits.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

struct rte_mbuf;

namespace slash32 {

struct PortConfig;

enum class PacketKind : uint8_t { kUnknown, kArp, kIpv4, kIpv6 };

enum PacketFlag : uint16_t {
    kFragment = 1u << 0,       // part of a fragmented packet
    kLaterFragment = 1u << 1,  // not the first part: no transport header
    kLinkMulticast = 1u << 2,  // Ethernet destination is a group, but not broadcast
    kLinkBroadcast = 1u << 3,
    kRouterAlert = 1u << 4,           // IPv4 option or IPv6 hop-by-hop option
    kRoutingHeader = 1u << 5,         // IPv6 routing header of any type
    kSegmentRoutingHeader = 1u << 6,  // RFC 8754
    kPartialChecksum = 1u << 7,       // the TCP or UDP checksum is left for us or the receiver
    kLargeSegment = 1u << 8,          // to be cut into TCP segments of mbuf->tso_segsz
    kMustFragment = 1u << 9,          // IPv4, larger than the MTU, and may be fragmented
    kDecapsulated = 1u << 11,         // came in a tunnel
    kPacketList = 1u << 10,           // the slot holds a PacketList: what the packet was cut into
};

// What parsing found. Lengths are proven: l2 + l3 + l4 bytes stand in the first segment, and an IP
// packet is l2 + ip_length bytes long, without padding.
struct PacketMeta {
    uint8_t* l3 = nullptr;   // ARP or IP header
    NextHopId next_hop;      // set by the route stage
    PortId out_port;         // set by the route stage, or with the tx bit
    uint16_t ip_length = 0;  // of the IP packet in bytes, from its header
    uint16_t l3_length = 0;  // IP header with options, or with all extension headers
    uint16_t flags = 0;      // PacketFlag bits
    uint8_t l4_length = 0;   // TCP with options, UDP, ICMP, ...; 0 where not known
    uint8_t protocol = 0;    // the transport's, IPv6 extension headers skipped
    PacketKind kind = PacketKind::kUnknown;
    uint8_t fragment_header = 0;  // IPv6: where it stands, in 8 bytes from the IPv6 header; 0: none
    bool has(uint16_t any_of) const { return (flags & any_of) != 0; }

    // Of a packet without flags, the rest as it is at first. In three stores of words made in
    // registers: GCC makes nine of it, or gathers the fields on the stack and reads them back
    // before they are written, a stall.
    void set_plain(PacketKind of, uint8_t* ip, uint16_t length, uint16_t header, uint8_t transport,
                   uint8_t number);
};
static_assert(sizeof(PacketMeta) == 24);

inline void PacketMeta::set_plain(PacketKind of, uint8_t* ip, uint16_t length, uint16_t header,
                                  uint8_t transport, uint8_t number) {
    static_assert(std::endian::native == std::endian::little &&
                  offsetof(PacketMeta, next_hop) == 8 && offsetof(PacketMeta, ip_length) == 14 &&
                  offsetof(PacketMeta, l3_length) == 16 && offsetof(PacketMeta, l4_length) == 20 &&
                  offsetof(PacketMeta, protocol) == 21 && offsetof(PacketMeta, kind) == 22);
    const uint64_t words[] = {reinterpret_cast<uintptr_t>(ip), uint64_t{length} << 48,
                              header | uint64_t{transport} << 32 | uint64_t{number} << 40 |
                                  uint64_t{static_cast<uint8_t>(of)} << 48};
    auto* at = reinterpret_cast<std::byte*>(this);
    for (size_t i = 0; i < 3; ++i)
        std::memcpy(at + 8 * i, &words[i], sizeof words[i]);
}

// The masks of kinds are set by the parse stage, so that a stage visits only what concerns it.
struct Burst {
    const PortConfig* in = nullptr;  // the source port
    uint32_t live = 0;
    uint32_t tx = 0;
    uint32_t arp = 0;
    uint32_t ipv4 = 0;
    uint32_t ipv6 = 0;
    uint32_t icmp = 0;             // ICMP or ICMPv6 with its header, so no later fragment
    uint32_t icmp6 = 0;            // those of ICMPv6
    uint32_t segment_routing = 0;  // with a segment routing header
    uint32_t fragments = 0;        // parts of fragmented packets
    uint32_t group = 0;    // IP packets to a group, or with a link-local or unspecified address
    uint32_t foreign = 0;  // neither ARP nor IP, from an uplink that the host has a view of
    uint32_t steered = 0;  // next_hop is given: the destination is not looked up
    // Set by the find_flows stage: what is left to be done for a packet.
    uint32_t miss = 0;           // it has no flow
    uint32_t unrouted = 0;       // its route must be looked up
    uint32_t judge_egress = 0;   // the source port's policy must be asked
    uint32_t judge_ingress = 0;  // the destination port's
    uint32_t tunnel = 0;         // enters a tunnel; set by the route stage
    bool one_port = false;       // what is in `tx` leaves by one port; set by the offload stage
    uint32_t offload = 0;        // chained, or has kPartialChecksum, kLargeSegment or kMustFragment
    std::array<rte_mbuf*, kBurstSize> packets;
    std::array<PacketMeta, kBurstSize> meta;
    std::array<VrfId, kBurstSize> vrfs;  // whose routes each goes by
};

// Calls f(index) for each bit that is set now; f may change the mask it was taken from.
template <typename F>
inline void for_each_packet(uint32_t mask, F&& f) {
    for (; mask != 0; mask &= mask - 1)
        f(static_cast<unsigned>(std::countr_zero(mask)));
}

// The same in twice the code, for stages that have something to do with nearly every packet: a
// burst without gaps becomes a plain loop.
template <typename F>
inline void for_nearly_each_packet(uint32_t mask, F&& f) {
    if ((mask & (mask + 1)) != 0) return for_each_packet(mask, f);
    const auto n = static_cast<unsigned>(std::popcount(mask));
    for (unsigned i = 0; i < n; ++i)
        f(i);
}

// The packets of `mask` that leave by this port.
inline uint32_t leading_to(const Burst& burst, uint32_t mask, PortId out) {
    uint32_t found = 0;
    for_nearly_each_packet(mask, [&](unsigned i) {
        found |= static_cast<uint32_t>(burst.meta[i].out_port == out) << i;
    });
    return found;
}

}  // namespace slash32
