// SPDX-License-Identifier: Apache-2.0
// Segment routing over IPv6 as workers see it: the headers that a tunnel puts in front of a packet,
// what the node does at its own segments, and where its SR domain ends. Built by control; immutable
// while an adjacency refers to it.
#pragma once

#include "dp/abi/segment_key.h"
#include "dp/base/ids.h"
#include "dp/base/limits.h"
#include "dp/base/net.h"
#include "dp/base/prefix_match.h"

#include <array>
#include <cstdint>

namespace slash32 {

// H.Encaps and H.Encaps.Red (RFC 8986 sections 5.1 and 5.2).
struct Encapsulation {
    static constexpr size_t kMaxBytes = 40 + 8 + kMaxSegments * 16 + 40;

    // An IPv6 header and, behind it, a segment routing header where there is one, with an HMAC
    // where the node signs: that is of nothing that differs by packet. Of what does (payload
    // length, traffic class, flow label, the inner protocol) all bits are zero.
    std::array<uint8_t, kMaxBytes> bytes{};
    uint16_t length = 0;         // of those in use: 40, or with a segment routing header more
    uint8_t next_header_at = 6;  // where the inner packet's protocol is said
    uint8_t hop_limit = 0;       // 0: that of the inner packet
    bool copies_dscp = true;     // else the one in `bytes` stands
};

// What is done with a packet to a segment of this node (RFC 8986 section 4).
enum class SidBehavior : uint8_t {
    kUnknown,  // in the node's locator, but no segment
    kEnd,
    kEndX,
    kEndDt4,
    kEndDt6,
    kEndDt46,
    kEndDx4,
    kEndDx6,
};

// RFC 8986 section 4.16; RFC 9800 section 4 for the last.
enum SidFlavor : uint8_t { kSidPsp = 1, kSidUsp = 2, kSidUsd = 4, kSidNextCsid = 8 };

struct LocalSid {
    SidBehavior behavior = SidBehavior::kUnknown;
    uint8_t flavors = 0;     // SidFlavor bits
    uint8_t block_bits = 0;  // kSidNextCsid: length of the locator block
    uint8_t csid_bits = 0;   // kSidNextCsid: of what follows it and is this node's
    uint16_t counter = 0;    // index in WorkerCounterBlock::sids
    VrfId vrf;               // kEndDt*: where the inner destination is looked up
    NextHopId next_hop;      // kEndX, kEndDx*: where to
};

// Where the SR domain ends (RFC 8754 section 5.1). The same for the life of the daemon.
struct SrDomain {
    static constexpr size_t kMaxPrefixes = 8;
    struct Prefixes {
        std::array<PrefixMatch<Ip6>, kMaxPrefixes> list;
        uint8_t count = 0;
        bool covers(const Ip6& address) const {
            for (unsigned i = 0; i < count; ++i) {
                if (list[i].covers(address)) return true;
            }
            return false;
        }
    };
    Prefixes locators;  // where segments are: closed to VMs
    Prefixes sources;   // of uplinks' packets that may be for a segment
    Ip6 tunnel_source;  // of the node's own tunnels: errors about what is in them come there
    SegmentKeys keys;   // of the headers that its segments are given
};

}  // namespace slash32
