// SPDX-License-Identifier: Apache-2.0
// TCP: the states of RFC 9293 as somebody between the two ends sees them, and the windows.
//
// Each end's record (TcpPeer) is written by its own segments alone: how far it has sent (`end`),
// and how far it lets the other end send (`limit`, its highest acknowledgement plus window). A
// segment fits when it lies in what the other end allows and acknowledges what the other end has
// sent.
#include "dp/packet/headers.h"
#include "dp/table/tcp_segment.h"
#include "dp/table/track_protocol.h"

#include <algorithm>

namespace slash32 {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

enum PeerFlag : uint8_t {
    kStarted = 1u << 0,        // has sent something
    kHasLimit = 1u << 1,       // has acknowledged something: `limit` and `last_ack` hold
    kScales = 1u << 2,         // offered window scaling in its SYN
    kLiberal = 1u << 3,        // picked up in the middle: its windows are not known
    kSynPending = 1u << 4,     // its SYN on a live connection was passed; last_sequence is its end
    kPendingScales = 1u << 5,  // and offered window scaling
};

// FlowStatus::seen, by direction.
enum Seen : uint16_t { kFinSent = 1u << 0, kFinAcknowledged = 1u << 2 };
// FlowStatus::seen, of either direction. A SYN on a connection that is closing is of a new one when
// both ends may take the old one for closed: a FIN has come a second time, from whichever end, and
// has been acknowledged; or an RST has come somewhere in the window; or the opener has reset it.
constexpr uint16_t kSecondFin = 1u << 8;
constexpr uint16_t kReopens = 1u << 9;
constexpr uint16_t kAnyFin = 3u * kFinSent;
constexpr uint16_t seen_bit(Seen bit, unsigned direction) {
    return static_cast<uint16_t>(bit << direction);
}

// The least that an acknowledgement may lag behind: what an end without window scaling may have
// under way, as acknowledgements of several ways may overtake each other.
constexpr uint32_t kAckLagMin = 66000;
// RFC 1122 section 4.2.3.5 (R1): from the third repetition on something is wrong.
constexpr uint8_t kRetransmitsMax = 3;

// Sequence numbers only go forward, whichever of two workers is first.
void advance(std::atomic<uint32_t>& edge, uint32_t to) {
    uint32_t now = edge.load(kRelaxed);
    while (after(to, now) && !edge.compare_exchange_weak(now, to, kRelaxed)) {
    }
}
void raise(std::atomic<uint32_t>& value, uint32_t to) {
    uint32_t now = value.load(kRelaxed);
    while (to > now && !value.compare_exchange_weak(now, to, kRelaxed)) {
    }
}

bool has(const TcpPeer& peer, uint8_t flags) {
    return (peer.flags.load(kRelaxed) & flags) != 0;
}

void reset(TcpPeer& peer) {
    peer.end.store(0, kRelaxed);
    peer.limit.store(0, kRelaxed);
    peer.window_max.store(0, kRelaxed);
    peer.last_ack.store(0, kRelaxed);
    peer.last_sequence.store(0, kRelaxed);
    peer.last_window.store(0, kRelaxed);
    peer.scale.store(0, kRelaxed);
    peer.flags.store(0, kRelaxed);
    peer.retransmits.store(0, kRelaxed);
}

void note_acknowledgement(TcpPeer& own, const Segment& segment, uint32_t window) {
    if (!segment.has_ack) return;
    const uint32_t highest = highest_acknowledged(*segment.header, segment.ack);
    // A closed window still lets one byte through, the probe (RFC 9293 section 3.8.6.1).
    const uint32_t limit = segment.ack + std::max(window, 1u);
    if (has(own, kHasLimit)) {
        advance(own.limit, limit);
        advance(own.last_ack, segment.ack);
    } else {
        own.limit.store(limit, kRelaxed);
        own.last_ack.store(segment.ack, kRelaxed);
        own.flags.fetch_or(kHasLimit, kRelaxed);
    }
    raise(own.window_max, window + (highest - segment.ack));
}

// The first segment of an end, with or without its SYN.
void start(TcpPeer& own, const Segment& segment, bool liberal) {
    reset(own);
    uint8_t flags = kStarted;
    if (liberal) flags |= kLiberal;
    if (segment.is_syn()) {
        const SynOptions options = read_syn_options(*segment.header);
        if (options.scales) flags |= kScales;
        own.scale.store(options.scale, kRelaxed);
    }
    own.end.store(segment.end, kRelaxed);
    own.last_sequence.store(segment.sequence, kRelaxed);
    own.window_max.store(std::max<uint32_t>(segment.window, 1), kRelaxed);
    own.flags.store(flags, kRelaxed);
    note_acknowledgement(own, segment, segment.window);
}

// RFC 7323 section 2.2: both or none.
void settle_scaling(TcpPeer& a, TcpPeer& b) {
    if (has(a, kScales) && has(b, kScales)) return;
    a.scale.store(0, kRelaxed);
    b.scale.store(0, kRelaxed);
}

// Does it lie in what the other end allows? An end that has acknowledged nothing allows nothing
// beyond the SYN.
bool sequence_fits(const Segment& segment, const TcpPeer& own, const TcpPeer& other) {
    const uint32_t limit =
        has(other, kHasLimit) ? other.limit.load(kRelaxed) : own.end.load(kRelaxed);
    if (after(segment.sequence, limit)) return false;
    const uint32_t room = other.window_max.load(kRelaxed);
    return !has(other, kStarted) || !before(segment.end, own.end.load(kRelaxed) - room);
}

bool acknowledgement_fits(const Segment& segment, const TcpPeer& own, const TcpPeer& other) {
    if (!segment.has_ack || !has(other, kStarted)) return true;
    const uint32_t sent = other.end.load(kRelaxed);
    if (after(highest_acknowledged(*segment.header, segment.ack), sent)) return false;
    const uint32_t lag = std::max(own.window_max.load(kRelaxed), kAckLagMin);
    return !before(segment.ack, sent - lag);
}

bool fits(const Segment& segment, const TcpPeer& own, const TcpPeer& other) {
    return sequence_fits(segment, own, other) && acknowledgement_fits(segment, own, other);
}

// Records a segment that fits; true when it only repeats what was sent before.
bool record(const Segment& segment, TcpPeer& own) {
    const uint32_t before_end = own.end.load(kRelaxed);
    const bool repeats = segment.length() != 0 && !after(segment.end, before_end) &&
                         segment.sequence == own.last_sequence.load(kRelaxed);
    advance(own.end, segment.end);
    const uint32_t scaled = uint32_t{segment.window}
                            << (segment.is_syn() ? 0 : own.scale.load(kRelaxed));
    note_acknowledgement(own, segment, scaled);
    raise(own.window_max, scaled);
    own.last_window.store(segment.window, kRelaxed);
    if (segment.length() != 0) own.last_sequence.store(segment.sequence, kRelaxed);
    return repeats;
}

FlowPhase phase_of(FlowState state, FlowPhase now) {
    switch (state) {
        case FlowState::kTcpLastAck:
        case FlowState::kTcpTimeWait:
        case FlowState::kTcpClose:
            return FlowPhase::kClosing;
        case FlowState::kTcpSynSent:
        case FlowState::kTcpSynSent2:
        case FlowState::kTcpSynReceived:
        case FlowState::kTcpUnacknowledged:
            return FlowPhase::kEmbryonic;
        default:
            return now == FlowPhase::kEmbryonic ? FlowPhase::kAssured : now;
    }
}

// Moves the status on; `next` says from what it is to what it becomes.
template <typename Next>
TrackResult move(FlowEntry& entry, FlowStatus status, Next&& next, bool refresh = true) {
    for (;;) {
        if (is_over(status.phase)) return kTrackPass;
        FlowStatus after = next(status);
        after.phase = phase_of(after.state, status.phase);
        if (after == status) return {.refresh = refresh};
        if (entry.first.status.compare_exchange_weak(status, after, kRelaxed))
            return accepted(status, after, refresh);
    }
}

TrackResult to_state(FlowEntry& entry, FlowStatus status, FlowState state) {
    return move(entry, status, [state](FlowStatus now) {
        now.state = state;
        if (state == FlowState::kTcpSynReceived) now.seen = 0;
        return now;
    });
}

bool is_closing(FlowState state) {
    return state == FlowState::kTcpFinWait || state == FlowState::kTcpCloseWait ||
           state == FlowState::kTcpLastAck;
}
bool is_closed(FlowState state) {
    return state == FlowState::kTcpTimeWait || state == FlowState::kTcpClose;
}
bool is_opening(FlowState state) {
    return state == FlowState::kTcpSynSent || state == FlowState::kTcpSynSent2;
}

// Is a SYN of a new connection? (RFC 9293 section 3.6.1: one that has closed may be opened again.)
// Where the other end has reset the old one, its answer to the SYN tells.
bool may_reopen(FlowStatus status, unsigned direction) {
    const bool over = (status.seen & kReopens) != 0;
    if (status.state == FlowState::kTcpClose)
        return direction == 0 && (over || (status.seen & kAnyFin) != 0);
    if (status.state == FlowState::kTcpTimeWait) return true;
    return over && (direction == 0 || (status.seen & kSecondFin) != 0);
}

TrackResult track_syn(const Segment& segment, unsigned direction, FlowStatus status,
                      FlowEntry& entry) {
    TcpPeer& own = entry.peer(direction);
    if (may_reopen(status, direction)) return kTrackRestart;
    if (status.state == FlowState::kTcpSynSent) {
        // An older one, which the windows do not follow (RFC 9293 section 3.4.1).
        if (direction == 0 && before(segment.end, own.end.load(kRelaxed))) return kTrackPass;
        start(own, segment, false);
        if (direction == 0) return {};
        // RFC 9293 section 3.5, figure 7: both ends open at once.
        settle_scaling(entry.peer(0), entry.peer(1));
        return to_state(entry, status, FlowState::kTcpSynSent2);
    }
    if (status.state == FlowState::kTcpSynSent2)
        return segment.end == own.end.load(kRelaxed) ? kTrackPass : kTrackInvalid;
    // The end that has been called calls nobody on the same connection.
    if (direction == 1) return kTrackInvalid;
    // On a live connection: its end answers with a challenge (RFC 5961 section 4.2), or, where it
    // knows of no connection any more, with an RST or a SYN of its own.
    const SynOptions options = read_syn_options(*segment.header);
    own.last_sequence.store(segment.end, kRelaxed);
    own.pending_window.store(segment.window, kRelaxed);
    own.pending_scale.store(options.scale, kRelaxed);
    own.flags.fetch_and(static_cast<uint8_t>(~kPendingScales), kRelaxed);
    own.flags.fetch_or(options.scales ? kSynPending | kPendingScales : kSynPending, kRelaxed);
    return kTrackPass;
}

// Whatever else fits the connection shows that it lives on.
void forget_pending_syn(TcpPeer& peer) {
    if (has(peer, kSynPending)) peer.flags.fetch_and(static_cast<uint8_t>(~kSynPending), kRelaxed);
}

// The connection was gone at one end, and a new one takes its place.
void take_pending_syn(TcpPeer& opener) {
    const uint32_t sent = opener.last_sequence.load(kRelaxed);
    const uint16_t window = opener.pending_window.load(kRelaxed);
    const uint8_t scale = opener.pending_scale.load(kRelaxed);
    const bool scales = has(opener, kPendingScales);
    reset(opener);
    opener.end.store(sent, kRelaxed);
    opener.last_sequence.store(sent - 1, kRelaxed);
    opener.window_max.store(std::max<uint32_t>(window, 1), kRelaxed);
    opener.scale.store(scale, kRelaxed);
    opener.flags.store(scales ? kStarted | kScales : kStarted, kRelaxed);
}

// Does it answer a SYN that was passed on a live connection?
bool answers_pending_syn(const Segment& segment, const TcpPeer& other) {
    return segment.has_ack && has(other, kSynPending) &&
           segment.ack == other.last_sequence.load(kRelaxed);
}

TrackResult track_syn_ack(const Segment& segment, unsigned direction, FlowStatus status,
                          FlowEntry& entry) {
    TcpPeer& own = entry.peer(direction);
    TcpPeer& other = entry.peer(1 - direction);
    if (is_opening(status.state)) {
        if (status.state == FlowState::kTcpSynSent && direction == 0) return kTrackInvalid;
        // It answers the SYN, not an older one (RFC 9293 section 3.10.7.3).
        if (segment.ack != other.end.load(kRelaxed)) return kTrackInvalid;
        if (has(own, kStarted) && segment.end != own.end.load(kRelaxed)) return kTrackInvalid;
        start(own, segment, has(other, kLiberal));
        settle_scaling(own, other);
        return to_state(entry, status, FlowState::kTcpSynReceived);
    }
    if (direction == 0) {
        // Only an end that opened at the same time as the other sends this, and sends it again.
        const bool again = status.state == FlowState::kTcpSynReceived &&
                           segment.end == own.end.load(kRelaxed) && fits(segment, own, other);
        return again ? kTrackPass : kTrackInvalid;
    }
    if (answers_pending_syn(segment, other)) {
        take_pending_syn(other);
        start(own, segment, false);
        settle_scaling(own, other);
        return to_state(entry, status, FlowState::kTcpSynReceived);
    }
    if (status.state == FlowState::kTcpSynReceived) return {};
    // The acknowledgement of the handshake was lost, and this is sent again.
    if (!fits(segment, own, other)) return kTrackInvalid;
    forget_pending_syn(other);
    return kTrackPass;
}

TrackResult close(FlowEntry& entry, FlowStatus status, unsigned direction) {
    return move(entry, status, [direction](FlowStatus now) {
        now.state = FlowState::kTcpClose;
        if (direction == 0) now.seen |= kReopens;
        return now;
    });
}

TrackResult pass_inexact_reset(FlowEntry& entry, FlowStatus status) {
    if (status.state == FlowState::kTcpUnacknowledged) return kTrackEnd;
    if (!is_closing(status.state) && status.state != FlowState::kTcpSynReceived) return kTrackPass;
    return move(
        entry, status,
        [](FlowStatus now) {
            now.seen |= kReopens;
            return now;
        },
        false);
}

// RFC 5961 section 3.2: only the sequence number that the other end waits for resets it. Another
// one in the window is answered with a challenge, so it is passed on and closes nothing.
enum class Reset : uint8_t { kExact, kInside, kOutside };

Reset judge_reset(const Segment& segment, const TcpPeer& own, const TcpPeer& other) {
    const bool liberal = has(own, kLiberal) || has(other, kLiberal);
    if (!liberal && segment.ack != 0 && !acknowledgement_fits(segment, own, other))
        return Reset::kOutside;
    // What it waits for once all has arrived that was sent before.
    const bool behind_all = segment.sequence == own.end.load(kRelaxed);
    if (!has(other, kHasLimit))
        return behind_all || liberal || !has(own, kStarted) ? Reset::kExact : Reset::kOutside;
    const uint32_t expected = other.last_ack.load(kRelaxed);
    if (before(segment.sequence, expected)) return Reset::kOutside;
    if (after(segment.sequence, other.limit.load(kRelaxed))) return Reset::kOutside;
    return segment.sequence == expected || behind_all ? Reset::kExact : Reset::kInside;
}

TrackResult track_rst(const Segment& segment, unsigned direction, FlowStatus status,
                      FlowEntry& entry) {
    TcpPeer& own = entry.peer(direction);
    TcpPeer& other = entry.peer(1 - direction);
    if (is_opening(status.state)) {
        // The opener's own, also where it answers a challenge; the other end's refuses the SYN.
        if (direction == 0) return segment.ack == 0 ? kTrackEnd : kTrackInvalid;
        const bool refuses = segment.has_ack && segment.ack == other.end.load(kRelaxed);
        if (!refuses || (has(own, kStarted) && segment.sequence != own.end.load(kRelaxed)))
            return kTrackInvalid;
        return kTrackEnd;
    }
    const bool answered = status.state != FlowState::kTcpUnacknowledged;
    const bool refuses_syn = answers_pending_syn(segment, other);
    const Reset reset = refuses_syn ? Reset::kExact : judge_reset(segment, own, other);
    if (reset == Reset::kOutside) return kTrackInvalid;
    forget_pending_syn(own);
    forget_pending_syn(other);
    if (reset == Reset::kInside) return pass_inexact_reset(entry, status);
    return answered ? close(entry, status, direction) : kTrackEnd;
}

FlowState state_after_fins(uint16_t seen) {
    const bool both = (seen & seen_bit(kFinSent, 0)) != 0 && (seen & seen_bit(kFinSent, 1)) != 0;
    const unsigned acknowledged = (seen / kFinAcknowledged) & 3;
    if (both) return acknowledged == 3 ? FlowState::kTcpTimeWait : FlowState::kTcpLastAck;
    return acknowledged != 0 ? FlowState::kTcpCloseWait : FlowState::kTcpFinWait;
}

// Data, acknowledgements and FINs that fit.
FlowStatus moved_on(FlowStatus status, const Segment& segment, unsigned direction, bool acks_all,
                    bool stuck) {
    if (status.state == FlowState::kTcpClose || status.state == FlowState::kTcpSynReceived)
        status.seen &= ~kReopens & UINT16_MAX;
    if (is_closed(status.state)) return status;
    if (segment.kind != SegmentKind::kFin) {
        if ((status.seen & kSecondFin) != 0) status.seen |= kReopens;
    } else {
        if ((status.seen & kAnyFin) != 0) status.seen |= kSecondFin;
        status.seen |= seen_bit(kFinSent, direction);
    }
    const unsigned other = 1 - direction;
    if (acks_all && (status.seen & seen_bit(kFinSent, other)) != 0)
        status.seen |= seen_bit(kFinAcknowledged, other);
    if (status.state == FlowState::kTcpSynReceived && direction == 1 &&
        segment.kind != SegmentKind::kFin)
        return status;  // the handshake ends with the opener's acknowledgement
    if (status.state == FlowState::kTcpUnacknowledged && direction == 0) return status;
    if ((status.seen & kAnyFin) != 0)
        status.state = state_after_fins(status.seen);
    else
        status.state = stuck ? FlowState::kTcpMaxRetransmit : FlowState::kTcpEstablished;
    return status;
}

}  // namespace

bool begin_tcp(const PacketMeta& meta, const FlowLimits& limits, FlowEntry& entry) {
    Segment segment;
    if (!read_segment(meta, segment)) return false;
    FlowStatus status{FlowState::kTcpSynSent, FlowPhase::kEmbryonic, 0};
    if (segment.kind == SegmentKind::kAck) {
        if (!limits.tcp_loose.load(kRelaxed)) return false;
        status.state = FlowState::kTcpUnacknowledged;
    } else if (segment.kind != SegmentKind::kSyn) {
        return false;
    }
    reset(entry.peer(1));
    start(entry.peer(0), segment, segment.kind == SegmentKind::kAck);
    entry.first.status.store(status, kRelaxed);
    return true;
}

TrackResult track_tcp(const PacketMeta& meta, unsigned direction, const FlowLimits& limits,
                      FlowEntry& entry) {
    Segment segment;
    if (!read_segment(meta, segment)) return kTrackInvalid;
    const FlowStatus status = entry.first.status.load(kRelaxed);
    if (is_over(status.phase)) return kTrackPass;
    TcpPeer& own = entry.peer(direction);
    TcpPeer& other = entry.peer(1 - direction);
    switch (segment.kind) {
        case SegmentKind::kSyn:
            return track_syn(segment, direction, status, entry);
        case SegmentKind::kSynAck:
            return track_syn_ack(segment, direction, status, entry);
        case SegmentKind::kRst:
            return track_rst(segment, direction, status, entry);
        case SegmentKind::kFin:
        case SegmentKind::kAck:
            break;
    }
    if (is_opening(status.state)) {
        // The end knows another connection of this tuple and challenges the SYN (RFC 5961 section
        // 4.2, RFC 9293 section 3.10.7.4); nothing else answers one.
        const bool challenge =
            direction == 1 && segment.kind == SegmentKind::kAck && segment.length() == 0;
        return challenge ? kTrackPass : kTrackInvalid;
    }
    const bool liberal =
        has(own, kLiberal) || has(other, kLiberal) || limits.tcp_liberal.load(kRelaxed);
    const bool first = !has(own, kStarted);
    if (first) {
        start(own, segment, true);
    } else if (!fits(segment, own, other) && !liberal) {
        return kTrackInvalid;
    }
    forget_pending_syn(own);
    forget_pending_syn(other);
    const bool repeats = !first && record(segment, own);
    uint8_t repeated = 0;
    if (repeats)
        repeated = static_cast<uint8_t>(own.retransmits.fetch_add(1, kRelaxed) + 1);
    else if (segment.length() != 0)
        own.retransmits.store(0, kRelaxed);
    const bool acks_all = segment.has_ack && !before(segment.ack, other.end.load(kRelaxed));
    const bool stuck =
        repeated >= kRetransmitsMax ||
        (status.state == FlowState::kTcpMaxRetransmit && segment.length() == 0 && !acks_all);
    return move(entry, status,
                [&](FlowStatus now) { return moved_on(now, segment, direction, acks_all, stuck); });
}

TrackResult cut_tcp(const PacketMeta& meta, FlowEntry& entry) {
    Segment segment;
    if (meta.l4_length != 0 && read_segment(meta, segment) && segment.kind == SegmentKind::kSyn)
        return kTrackRestart;
    FlowStatus status = entry.first.status.load(kRelaxed);
    for (;;) {
        if (is_opening(status.state) || status.phase >= FlowPhase::kClosing) return kTrackRestart;
        FlowStatus after = status;
        after.phase = FlowPhase::kEmbryonic;
        if (after == status) return {};
        if (entry.first.status.compare_exchange_weak(status, after, kRelaxed))
            return accepted(status, after);
    }
}

}  // namespace slash32
