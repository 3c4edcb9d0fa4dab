// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/ipv6_extensions.h"

#include "dp/packet/burst.h"
#include "dp/packet/headers.h"

namespace slash32 {
namespace {

using Refusal = std::optional<DropReason>;

// RFC 8200 section 4.2: type, length, value; Pad1 alone has no length.
Refusal walk_options(const uint8_t* options, uint32_t length, bool hop_by_hop, uint16_t& flags) {
    constexpr uint8_t kPad1 = 0;
    constexpr uint8_t kRouterAlertOption = 5;  // RFC 2711
    constexpr uint8_t kJumboOption = 0xc2;     // RFC 2675
    for (uint32_t i = 0; i < length;) {
        if (options[i] == kPad1) {
            ++i;
            continue;
        }
        if (i + 2 > length || i + 2 + options[i + 1] > length) {
            return DropReason::kBadExtensionHeader;
        }
        if (hop_by_hop) {
            // RFC 2675 section 3: an error beside a payload length; without one there is no packet
            // here that could be this large.
            if (options[i] == kJumboOption) return DropReason::kBadExtensionHeader;
            if (options[i] == kRouterAlertOption) flags |= kRouterAlert;
        }
        i += 2u + options[i + 1];
    }
    return {};
}

Refusal routing_header(const Ipv6Extension& header, uint16_t& flags) {
    constexpr uint8_t kSourceRouteType = 0;
    flags |= kRoutingHeader;
    if (header.routing_type == kSourceRouteType) return DropReason::kSourceRoute;  // RFC 5095
    if (header.routing_type == kSegmentRoutingType) flags |= kSegmentRoutingHeader;
    return {};
}

void fragment_header(const Ipv6Fragment& header, uint32_t end, Ipv6Chain& chain) {
    const uint16_t offset = header.offset.host();
    chain.fragment_part = end;
    chain.fragment_offset = offset & kIpv6OffsetMask;
    chain.more_fragments = (offset & kIpv6MoreFragments) != 0;
    // RFC 6946: an atomic fragment is a whole packet.
    if (chain.fragment_offset != 0) {
        chain.flags |= kFragment | kLaterFragment;
    } else if (chain.more_fragments) {
        chain.flags |= kFragment;
    }
}

}  // namespace

Refusal walk_ipv6_extensions(const HeaderView& view, uint32_t l3, uint32_t total,
                             Ipv6Chain& chain) {
    const auto* ip = view.at<Ipv6Header>(l3);
    chain.protocol = ip->next_header;
    chain.length = sizeof(Ipv6Header);
    for (unsigned count = 0; is_ipv6_extension(chain.protocol); ++count) {
        const uint32_t at = chain.length;
        if (count == kMaxIpv6ExtensionHeaders) return DropReason::kTooManyExtensions;
        if (at + 8 > total) return DropReason::kBadExtensionHeader;
        const auto* header = view.at<Ipv6Extension>(l3 + at);
        if (header == nullptr) return DropReason::kSplitHeader;
        const uint8_t type = chain.protocol;
        uint32_t size = 8;
        if (type == kProtoAh) {
            size = (header->length + 2u) * 4;  // RFC 4302 section 2.2
            // RFC 4302 section 2: 12 bytes before the value; RFC 8200 section 4: multiples of 8.
            if (size < 16 || size % 8 != 0) return DropReason::kBadExtensionHeader;
        } else if (type != kProtoFragment) {
            size = (header->length + 1u) * 8;
        }
        if (at + size > total) return DropReason::kBadExtensionHeader;
        if (at + size > sizeof(Ipv6Header) + kMaxIpv6ExtensionBytes) {
            return DropReason::kTooManyExtensions;
        }
        if (!view.holds(l3 + at, size)) return DropReason::kSplitHeader;
        chain.protocol = header->next_header;
        chain.length = at + size;

        if (type == kProtoHopByHop || type == kProtoDestinationOptions) {
            // RFC 8200 section 4.1: hop-by-hop options stand right behind the IPv6 header.
            if (type == kProtoHopByHop && count != 0) return DropReason::kBadExtensionHeader;
            const auto* options = view.at<uint8_t>(l3 + at + 2);
            if (Refusal refusal =
                    walk_options(options, size - 2, type == kProtoHopByHop, chain.flags)) {
                return refusal;
            }
        } else if (type == kProtoRouting) {
            if (Refusal refusal = routing_header(*header, chain.flags)) return refusal;
        } else if (type == kProtoFragment) {
            if (chain.fragment_part != 0) return DropReason::kBadExtensionHeader;
            fragment_header(*view.at<Ipv6Fragment>(l3 + at), chain.length, chain);
            if ((chain.flags & kLaterFragment) != 0) break;
        }
    }
    return {};
}

}  // namespace slash32
