// SPDX-License-Identifier: Apache-2.0
// Segment routing as workers need it, from what owners say of it. Pure functions.
#pragma once

#include "ctrl/intent/model.h"
#include "dp/abi/srv6.h"

#include <cstdint>
#include <optional>

namespace slash32 {

// Of all tunnels of this node.
struct TunnelSettings {
    Ip6 source;                     // of the outer packets
    uint8_t hop_limit = 64;         // 0: that of the inner packet
    std::optional<uint8_t> dscp;    // absent: that of the inner packet
    std::optional<SegmentKey> key;  // headers are signed with it, so that each path has one
};

// The outer headers for the path (RFC 8986 sections 5.1 and 5.2). A reduced one of a single segment
// is an IPv6 header alone, unless it is to be signed. REQUIRES: 1 to kMaxSegments segments.
Encapsulation build_encapsulation(const SegmentPath& path, const TunnelSettings& settings);

// `next_hop`: what the segment forwards over, kNoNextHop if it does not.
LocalSid build_sid(const SidIntent& sid, NextHopId next_hop, uint16_t counter);

}  // namespace slash32
