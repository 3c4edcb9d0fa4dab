// SPDX-License-Identifier: Apache-2.0
// What an ICMP or ICMPv6 message is.
#pragma once

#include "dp/packet/burst.h"
#include "dp/packet/headers.h"
#include "dp/packet/nd.h"

#include <cstdint>

namespace slash32 {

// What the router says of a packet that it does not forward.
enum class IcmpError : uint8_t {
    kNoRoute,
    kHostUnreachable,
    kPortUnreachable,
    kTooBig,  // with the MTU
    kHopLimit,
    // Of IPv6 alone, with the offset in the packet:
    kBadField,
    kBadUpperLayer,  // the first header that is not the segment's (RFC 8986 section 4.1.1)
};

// A message about another packet, which it quotes. A redirect counts as one: it is answered by no
// error either.
inline bool is_icmp_error(const PacketMeta& meta) {
    if (meta.l4_length == 0) return false;
    if (meta.kind == PacketKind::kIpv6) {
        if (meta.protocol != kProtoIcmp6) return false;
        const uint8_t type = icmp_of(meta).type;
        // RFC 4443 section 2.1: errors have the high bit clear; section 2.4 (e.2): redirects.
        return type < 128 || type == kIcmp6Redirect;
    }
    if (meta.protocol != kProtoIcmp) return false;
    switch (icmp_of(meta).type) {  // RFC 1812 section 4.3.2.1
        case kIcmpUnreachable:
        case kIcmpSourceQuench:
        case kIcmpRedirect:
        case kIcmpTimeExceeded:
        case kIcmpParameterProblem:
            return true;
        default:
            return false;
    }
}

// 0 of what is no ICMP or ICMPv6 message, or has no transport header.
inline uint8_t icmp_code(const PacketMeta& meta) {
    if (meta.l4_length == 0) return 0;
    if (meta.protocol != kProtoIcmp && meta.protocol != kProtoIcmp6) return 0;
    return icmp_of(meta).code;
}

}  // namespace slash32
