// SPDX-License-Identifier: Apache-2.0
// Which part of its packet a fragment is (RFC 791 section 3.1, RFC 8200 section 4.5).
#pragma once

#include "dp/packet/burst.h"
#include "dp/packet/headers.h"

#include <cstdint>

namespace slash32 {

// `begin` and `end` count the bytes of what has been cut into parts.
struct FragmentPart {
    uint32_t id = 0;  // of the packet, network byte order
    uint16_t begin = 0;
    uint16_t end = 0;
    bool last = false;
};

// REQUIRES: meta is of a parsed packet and has kFragment.
inline FragmentPart fragment_part(const PacketMeta& meta) {
    FragmentPart part;
    if (meta.kind == PacketKind::kIpv4) {
        const auto& ip = *reinterpret_cast<const Ipv4Header*>(meta.l3);
        const uint16_t field = ip.fragment.host();
        part.id = ip.id.get().raw();
        part.begin = static_cast<uint16_t>((field & kIpv4OffsetMask) * 8);
        part.end = static_cast<uint16_t>(part.begin + meta.ip_length - meta.l3_length);
        part.last = (field & kIpv4MoreFragments) == 0;
        return part;
    }
    const uint32_t at = meta.fragment_header * 8u;
    const auto& header = *reinterpret_cast<const Ipv6Fragment*>(meta.l3 + at);
    const uint16_t field = header.offset.host();
    part.id = header.id.get().raw();
    part.begin = field & kIpv6OffsetMask;
    part.end = static_cast<uint16_t>(part.begin + meta.ip_length - (at + sizeof header));
    part.last = (field & kIpv6MoreFragments) == 0;
    return part;
}

}  // namespace slash32
