// SPDX-License-Identifier: Apache-2.0
// SCTP: the association's states (RFC 9260 section 4) by the chunks that pass, and its verification
// tags: a packet that does not carry the tag which its receiver chose is not of the association.
//
// Only the first chunk is looked at: those that change the state stand first (RFC 9260 section 6.10
// does not let INIT, INIT ACK and SHUTDOWN COMPLETE be bundled at all). The tag that an end sends
// with is kept in its TcpPeer::end, 0 where it is not known yet.
#include "dp/packet/headers.h"
#include "dp/table/track_protocol.h"

#include <cstring>
#include <optional>

namespace slash32 {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

enum Chunk : uint8_t {
    kInit = 1,
    kInitAck = 2,
    kHeartbeat = 4,
    kHeartbeatAck = 5,
    kAbort = 6,
    kShutdown = 7,
    kShutdownAck = 8,
    kCookieEcho = 10,
    kCookieAck = 11,
    kShutdownComplete = 14,
};

struct Packet {
    uint32_t tag = 0;         // of the common header
    uint32_t chosen_tag = 0;  // of INIT and INIT ACK: what the other end will send
    uint8_t chunk = 0;
    bool reflects_tag = false;  // the T bit of ABORT and SHUTDOWN COMPLETE: the sender's own tag
};

// The parser has proven the common header only; what follows is read as far as it is there.
std::optional<Packet> read(const PacketMeta& meta) {
    const uint8_t* l4 = meta.l3 + meta.l3_length;
    Packet packet;
    std::memcpy(&packet.tag, l4 + 4, sizeof packet.tag);
    const uint32_t length = uint32_t{meta.ip_length} - meta.l3_length;
    if (meta.l4_length < kSctpHeaderLength + 4 || length < kSctpHeaderLength + 4) return {};
    packet.chunk = l4[kSctpHeaderLength];
    packet.reflects_tag = (l4[kSctpHeaderLength + 1] & 1) != 0;
    if (packet.chunk == kInit || packet.chunk == kInitAck) {
        if (meta.l4_length < kSctpHeaderLength + 8) return {};
        std::memcpy(&packet.chosen_tag, l4 + kSctpHeaderLength + 4, sizeof packet.chosen_tag);
        if (packet.chosen_tag == 0) return {};  // RFC 9260 section 3.3.2
    }
    return packet;
}

bool is_heartbeat(const Packet& packet) {
    return packet.chunk == kHeartbeat || packet.chunk == kHeartbeatAck;
}

// The tag that packets of a direction carry.
std::atomic<uint32_t>& tag_of(FlowEntry& entry, unsigned direction) {
    return entry.peer(direction).end;
}

bool tag_fits(const Packet& packet, unsigned direction, FlowEntry& entry) {
    if (packet.chunk == kInit) return packet.tag == 0;  // RFC 9260 section 8.5.1 (A)
    const uint32_t expected = tag_of(entry, direction).load(kRelaxed);
    if (expected == 0) return false;  // the INIT ACK has not told it yet
    if (packet.tag == expected) return true;
    const bool may_reflect = packet.chunk == kAbort || packet.chunk == kShutdownComplete;
    return may_reflect && packet.reflects_tag &&
           packet.tag == tag_of(entry, 1 - direction).load(kRelaxed);
}

FlowStatus moved_on(FlowStatus status, uint8_t chunk, unsigned direction) {
    using enum FlowState;
    switch (chunk) {
        case kCookieEcho:
            if (status.state == kSctpCookieWait && direction == 0) status.state = kSctpCookieEchoed;
            break;
        case kCookieAck:
            if (status.state == kSctpCookieEchoed)
                status = {kSctpEstablished, FlowPhase::kAssured, 0};
            break;
        case kAbort:
        case kShutdownComplete:
            status = {kSctpClosed, FlowPhase::kClosing, 0};
            break;
        case kShutdown:
            if (status.state == kSctpEstablished)
                status.state = direction == 0 ? kSctpShutdownSent : kSctpShutdownReceived;
            break;
        case kShutdownAck:
            if (status.state == kSctpShutdownSent || status.state == kSctpShutdownReceived)
                status = {kSctpShutdownAckSent, FlowPhase::kClosing, 0};
            break;
        default:
            break;
    }
    return status;
}

}  // namespace

bool begin_sctp(const PacketMeta& meta, FlowEntry& entry) {
    const auto packet = read(meta);
    tag_of(entry, 0).store(0, kRelaxed);
    tag_of(entry, 1).store(0, kRelaxed);
    if (!packet) return false;
    switch (packet->chunk) {
        case kInit:
            if (packet->tag != 0) return false;
            tag_of(entry, 1).store(packet->chosen_tag, kRelaxed);
            entry.first.status.store({FlowState::kSctpCookieWait, FlowPhase::kEmbryonic, 0},
                                     kRelaxed);
            return true;
        case kHeartbeat:
            // In the middle of an association, or over another of its paths: each end tells its tag
            // (RFC 9260 section 8.3).
            entry.first.status.store({FlowState::kSctpEstablished, FlowPhase::kEmbryonic, 0},
                                     kRelaxed);
            tag_of(entry, 0).store(packet->tag, kRelaxed);
            return packet->tag != 0;
        default:
            return false;
    }
}

TrackResult track_sctp(const PacketMeta& meta, unsigned direction, FlowEntry& entry) {
    const auto packet = read(meta);
    if (!packet) return kTrackInvalid;
    FlowStatus status = entry.first.status.load(kRelaxed);
    if (status.state == FlowState::kSctpClosed && packet->chunk == kInit) return kTrackRestart;
    // A heartbeat is answered by one.
    const bool picked_up =
        status.state == FlowState::kSctpEstablished && status.phase == FlowPhase::kEmbryonic;
    if (picked_up && direction == 1 && !is_heartbeat(*packet)) return kTrackInvalid;
    // RFC 9260 section 5.2.3.
    if (packet->chunk == kInitAck && status.state != FlowState::kSctpCookieWait)
        return kTrackInvalid;
    // Of an association that was picked up by its heartbeat each end tells its own tag.
    std::atomic<uint32_t>& tag = tag_of(entry, direction);
    if (status.state == FlowState::kSctpEstablished && is_heartbeat(*packet) &&
        tag.load(kRelaxed) == 0)
        tag.store(packet->tag, kRelaxed);
    if (!tag_fits(*packet, direction, entry)) return kTrackInvalid;
    if (packet->chunk == kInit) {
        // RFC 9260 section 5.2.1: both ends open at once, or one begins again; the tags are settled
        // by the INIT ACK.
        if (status.state == FlowState::kSctpCookieWait)
            tag_of(entry, 1 - direction).store(packet->chosen_tag, kRelaxed);
        return kTrackPass;
    }
    if (packet->chunk == kInitAck) tag_of(entry, 1 - direction).store(packet->chosen_tag, kRelaxed);
    for (;;) {
        if (is_over(status.phase)) return kTrackPass;
        FlowStatus after = moved_on(status, packet->chunk, direction);
        if (direction == 1 && after.state == FlowState::kSctpEstablished)
            after.phase = FlowPhase::kAssured;
        if (after == status) return {};
        if (entry.first.status.compare_exchange_weak(status, after, kRelaxed))
            return accepted(status, after);
    }
}

}  // namespace slash32
