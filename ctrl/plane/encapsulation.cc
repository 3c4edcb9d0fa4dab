// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/encapsulation.h"

#include "dp/base/assert.h"
#include "dp/packet/headers.h"
#include "dp/packet/segment_hmac.h"

#include <new>

namespace slash32 {

Encapsulation build_encapsulation(const SegmentPath& path, const TunnelSettings& settings) {
    S32_ASSERT(!path.segments.empty() && path.segments.size() <= kMaxSegments);
    Encapsulation out;
    out.hop_limit = settings.hop_limit;
    out.copies_dscp = !settings.dscp;
    // A header has a segment at least (RFC 8754 section 2).
    const bool reduced = path.reduced && (path.segments.size() > 1 || !settings.key);
    const size_t listed = path.segments.size() - (reduced ? 1 : 0);
    auto* ip = new (out.bytes.data()) Ipv6Header{};
    constexpr uint32_t kVersion = uint32_t{6} << 28;
    ip->version_class_flow = Be32{kVersion | uint32_t{settings.dscp.value_or(0)} << 22};
    ip->source = settings.source;
    ip->destination = path.segments.front();
    out.length = sizeof *ip;
    if (listed == 0) return out;
    ip->next_header = kProtoRouting;
    auto* header = new (out.bytes.data() + sizeof *ip) SegmentRoutingHeader{};
    header->length = static_cast<uint8_t>(2 * listed);
    header->routing_type = kSegmentRoutingType;
    header->segments_left = static_cast<uint8_t>(path.segments.size() - 1);
    header->last_entry = static_cast<uint8_t>(listed - 1);
    auto* segment = reinterpret_cast<Ip6*>(header + 1);
    for (size_t i = 0; i < listed; ++i)
        segment[i] = path.segments[path.segments.size() - 1 - i];
    out.next_header_at = sizeof *ip;  // the first byte of the routing header
    if (settings.key) {
        auto* tlv = new (segment + listed) HmacTlv{};
        header->length = static_cast<uint8_t>(header->length + sizeof *tlv / 8);
        sign(*settings.key, settings.source, *header, *tlv, reduced ? kHmacNoDestination : 0);
    }
    out.length = static_cast<uint16_t>(sizeof *ip + header->bytes());
    return out;
}

LocalSid build_sid(const SidIntent& sid, NextHopId next_hop, uint16_t counter) {
    return {.behavior = sid.behavior,
            .flavors = sid.flavors,
            .block_bits = sid.block_bits,
            .csid_bits = static_cast<uint8_t>(sid.sid.length - sid.block_bits),
            .counter = counter,
            .vrf = sid.vrf,
            .next_hop = next_hop};
}

}  // namespace slash32
