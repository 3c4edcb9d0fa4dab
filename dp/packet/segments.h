// SPDX-License-Identifier: Apache-2.0
// Segment routing headers (RFC 8754) and compressed segments (RFC 9800) in packets, and what a
// tunnel does to the congestion marks of what it carries (RFC 6040).
#pragma once

#include "dp/abi/srv6.h"
#include "dp/packet/burst.h"
#include "dp/packet/headers.h"

#include <cstdint>
#include <optional>

struct rte_mbuf;

namespace slash32 {

// The packet's segment routing header, and the field that says that it comes next.
struct SegmentRoutingPlace {
    SegmentRoutingHeader* header = nullptr;  // nullptr: there is none
    uint8_t* next_header = nullptr;
};
// REQUIRES: meta is of a parsed IPv6 packet.
SegmentRoutingPlace find_segment_routing(const PacketMeta& meta);

// RFC 8754 sections 2 and 4.3.1.1: the segments and TLVs fit the header, and no more segments are
// left than there are. (A reduced one lacks the first.)
bool is_valid(const SegmentRoutingHeader& header);

// Takes the header out of the packet. Returns the bytes by which it is shorter now.
// REQUIRES: `place` is of this packet, whose headers stand in its first segment.
void remove_segment_routing(rte_mbuf* packet, PacketMeta& meta, const SegmentRoutingPlace& place);

// RFC 9800 section 4.1: moves the next compressed segment of the destination behind the locator
// block. False, and nothing changed, where there is none left.
bool shift_csid(Ip6& destination, const LocalSid& sid);

// RFC 6040 figure 4: the inner packet's mark when it leaves the tunnel; nothing: it is dropped.
// Both are the two bits of RFC 3168.
std::optional<uint8_t> ecn_out_of_tunnel(uint8_t outer, uint8_t inner);

// Type of service or traffic class. REQUIRES: `l3` is of an IP packet of that kind.
inline uint8_t traffic_class(PacketKind kind, const uint8_t* l3) {
    if (kind == PacketKind::kIpv4) return reinterpret_cast<const Ipv4Header*>(l3)->tos;
    return static_cast<uint8_t>(
        reinterpret_cast<const Ipv6Header*>(l3)->version_class_flow.host() >> 20);
}
// Sets its two lowest bits, and an IPv4 header's checksum right.
void set_ecn(PacketKind kind, uint8_t* l3, uint8_t ecn);

inline constexpr uint8_t kEcnMask = 3;

}  // namespace slash32
