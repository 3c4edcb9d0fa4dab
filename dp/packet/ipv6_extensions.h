// SPDX-License-Identifier: Apache-2.0
// The walk along an IPv6 extension header chain (RFC 8200 section 4).
//
// Limits: kMaxIpv6ExtensionHeaders headers of kMaxIpv6ExtensionBytes together. The walk ends at the
// first header that is no extension header, at ESP, and behind the fragment header of a later
// fragment.
#pragma once

#include "dp/packet/headers.h"
#include "dp/packet/view.h"

#include <cstdint>
#include <optional>

namespace slash32 {

struct Ipv6Chain {
    uint32_t length = 0;           // of the IPv6 header and all extension headers, bytes
    uint32_t fragment_part = 0;    // where the fragmentable part starts, from the IPv6 header on
    uint32_t fragment_offset = 0;  // bytes
    uint16_t flags = 0;            // PacketFlag bits that the chain gives
    uint8_t protocol = 0;          // what follows
    bool more_fragments = false;
};

// May a header of this number be followed by another?
constexpr bool is_ipv6_extension(uint8_t protocol) {
    switch (protocol) {
        case kProtoHopByHop:
        case kProtoRouting:
        case kProtoFragment:
        case kProtoAh:
        case kProtoDestinationOptions:
            return true;
        default:
            return false;
    }
}

// `l3` is the offset of the IPv6 header, `total` the length of the packet from there on.
// REQUIRES: the view holds the IPv6 header; total <= what the view has from l3 on.
std::optional<DropReason> walk_ipv6_extensions(const HeaderView&, uint32_t l3, uint32_t total,
                                               Ipv6Chain&);

}  // namespace slash32
