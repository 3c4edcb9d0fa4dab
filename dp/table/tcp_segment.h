// SPDX-License-Identifier: Apache-2.0
// A TCP segment as connection tracking sees it: its place in the sequence, what it acknowledges,
// and what it is for.
//
// Sequence numbers are compared modulo 2^32 (RFC 9293 section 3.4); after() and before() hold for
// numbers less than 2^31 apart.
#pragma once

#include "dp/packet/burst.h"
#include "dp/packet/headers.h"

#include <cstdint>

namespace slash32 {

constexpr bool after(uint32_t a, uint32_t b) {
    return static_cast<int32_t>(a - b) > 0;
}
constexpr bool before(uint32_t a, uint32_t b) {
    return after(b, a);
}

enum class SegmentKind : uint8_t { kSyn, kSynAck, kFin, kAck, kRst };

struct Segment {
    const TcpHeader* header;
    uint32_t sequence;
    uint32_t end;     // one past the last sequence number; SYN and FIN take one each
    uint32_t ack;     // where has_ack
    uint16_t window;  // as it stands in the packet
    SegmentKind kind;
    bool has_ack;
    bool partial;  // the first part of a fragmented packet: `end` may be short
    bool is_syn() const { return kind == SegmentKind::kSyn || kind == SegmentKind::kSynAck; }
    uint16_t length() const { return static_cast<uint16_t>(end - sequence); }
};

// False: the flags belong together in no segment of RFC 9293.
// REQUIRES: meta is of a TCP packet that is no later fragment.
bool read_segment(const PacketMeta& meta, Segment& segment);

// What a SYN says of its sender for the rest of the connection.
struct SynOptions {
    bool scales = false;          // RFC 7323 section 2.2
    bool sack_permitted = false;  // RFC 2018 section 2
    uint8_t scale = 0;            // at most 14
};
SynOptions read_syn_options(const TcpHeader& header);

// The highest sequence number that the segment says has arrived: of its acknowledgement and the
// right edges of its SACK blocks (RFC 2018 section 3).
uint32_t highest_acknowledged(const TcpHeader& header, uint32_t ack);

}  // namespace slash32
