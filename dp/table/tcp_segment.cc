// SPDX-License-Identifier: Apache-2.0
#include "dp/table/tcp_segment.h"

#include <algorithm>
#include <optional>

namespace slash32 {
namespace {

enum Flag : uint8_t { kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10, kUrg = 0x20 };
// The others (PSH, ECE, CWR) go with anything.
constexpr uint8_t kMeaning = kFin | kSyn | kRst | kAck | kUrg;

std::optional<SegmentKind> kind_of(uint8_t flags) {
    switch (flags & kMeaning) {
        case kSyn:
        case kSyn | kUrg:
            return SegmentKind::kSyn;
        case kSyn | kAck:
            return SegmentKind::kSynAck;
        case kRst:
        case kRst | kAck:
            return SegmentKind::kRst;
        // RFC 9293 section 3.10.7.4, fifth: after the handshake a segment without ACK is dropped.
        case kFin | kAck:
        case kFin | kAck | kUrg:
            return SegmentKind::kFin;
        case kAck:
        case kAck | kUrg:
            return SegmentKind::kAck;
        default:
            return {};
    }
}

enum OptionKind : uint8_t {
    kEndOfOptions = 0,
    kNoOperation = 1,
    kWindowScale = 3,
    kSackPermitted = 4,
    kSackBlocks = 5,
};
constexpr uint8_t kMaxScale = 14;  // RFC 7323 section 2.3

struct Option {
    uint8_t kind;
    const uint8_t* value;
    unsigned length;  // of the value
};

// Calls f for each option until it returns false or one does not fit (RFC 9293 section 3.2).
template <typename F>
void for_each_option(const TcpHeader& header, F&& f) {
    const auto* at = reinterpret_cast<const uint8_t*>(&header) + sizeof(TcpHeader);
    const uint8_t* end = reinterpret_cast<const uint8_t*>(&header) + header.length();
    while (at < end && *at != kEndOfOptions) {
        if (*at == kNoOperation) {
            ++at;
            continue;
        }
        if (end - at < 2 || at[1] < 2 || at[1] > end - at) return;
        if (!f(Option{.kind = at[0], .value = at + 2, .length = at[1] - 2u})) return;
        at += at[1];
    }
}

}  // namespace

bool read_segment(const PacketMeta& meta, Segment& segment) {
    const auto& header = *reinterpret_cast<const TcpHeader*>(meta.l3 + meta.l3_length);
    const std::optional<SegmentKind> kind = kind_of(header.flags);
    if (!kind) return false;
    const uint32_t payload = uint32_t{meta.ip_length} - meta.l3_length - meta.l4_length;
    const bool takes_one = (header.flags & (kSyn | kFin)) != 0;
    segment.header = &header;
    segment.sequence = header.sequence.host();
    segment.end = segment.sequence + payload + (takes_one ? 1 : 0);
    segment.ack = header.acknowledgement.host();
    segment.window = header.window.host();
    segment.kind = *kind;
    segment.has_ack = (header.flags & kAck) != 0;
    segment.partial = meta.has(kFragment);
    return true;
}

SynOptions read_syn_options(const TcpHeader& header) {
    SynOptions found;
    for_each_option(header, [&](const Option& option) {
        if (option.kind == kSackPermitted && option.length == 0) found.sack_permitted = true;
        if (option.kind == kWindowScale && option.length == 1) {
            found.scales = true;
            found.scale = std::min(*option.value, kMaxScale);
        }
        return true;
    });
    return found;
}

uint32_t highest_acknowledged(const TcpHeader& header, uint32_t ack) {
    struct Block {
        Wire<Be32> left;
        Wire<Be32> right;
    };
    uint32_t highest = ack;
    for_each_option(header, [&](const Option& option) {
        if (option.kind != kSackBlocks || option.length % sizeof(Block) != 0) return true;
        for (unsigned i = 0; i < option.length; i += sizeof(Block)) {
            const uint32_t right = reinterpret_cast<const Block*>(option.value + i)->right.host();
            if (after(right, highest)) highest = right;
        }
        return false;
    });
    return highest;
}

}  // namespace slash32
