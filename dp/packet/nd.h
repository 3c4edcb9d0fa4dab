// SPDX-License-Identifier: Apache-2.0
// Neighbour discovery messages: validity (RFC 4861 sections 6.1 and 7.1) and their options.
#pragma once

#include "dp/base/net.h"
#include "dp/packet/burst.h"
#include "dp/packet/headers.h"

#include <cstdint>

struct rte_mbuf;

namespace slash32 {

// The options of an ND message.
struct NdOptions {
    bool valid = false;  // every length is positive and fits
    const Mac* source_link_layer = nullptr;
    const Mac* target_link_layer = nullptr;
};

// Reads the options behind the `fixed` first bytes of the ICMPv6 message. A message that is too
// short for those, or does not stand in the first segment, is not valid.
// REQUIRES: meta is of an ICMPv6 packet with its header.
NdOptions read_nd_options(const rte_mbuf* packet, const PacketMeta& meta, uint32_t fixed);

// RFC 4861 sections 6.1.1, 7.1.1, 7.1.2, what all messages have in common: hop limit 255 (so it was
// not routed), code 0, right checksum; RFC 6980: no fragment header.
bool is_valid_nd(const rte_mbuf* packet, const PacketMeta& meta);

inline const Ipv6Header& ipv6_of(const PacketMeta& meta) {
    return *reinterpret_cast<const Ipv6Header*>(meta.l3);
}
// REQUIRES: l4_length is at least that of an ICMP header.
inline const IcmpHeader& icmp_of(const PacketMeta& meta) {
    return *reinterpret_cast<const IcmpHeader*>(meta.l3 + meta.l3_length);
}

// A message of RFC 4861. REQUIRES: of an ICMPv6 packet with its header.
inline bool is_neighbour_discovery(const PacketMeta& meta) {
    const uint8_t type = icmp_of(meta).type;
    return type >= kIcmp6RouterSolicitation && type <= kIcmp6Redirect;
}

}  // namespace slash32
