// SPDX-License-Identifier: Apache-2.0
// What the trackers of the protocols have in common, and what dp/table/track.cc calls of them.
// REQUIRES of all: as track.h says; the packet's protocol is the tracker's.
#pragma once

#include "dp/table/track.h"

namespace slash32 {

inline constexpr TrackResult kTrackInvalid{.verdict = TrackVerdict::kInvalid, .refresh = false};
inline constexpr TrackResult kTrackRestart{.verdict = TrackVerdict::kRestart, .refresh = false};
inline constexpr TrackResult kTrackEnd{.verdict = TrackVerdict::kEnd, .refresh = false};
// Let through, but it says nothing about the connection.
inline constexpr TrackResult kTrackPass{.verdict = TrackVerdict::kAccept, .refresh = false};

// An accepted packet's result; a change of the tracker's own bits alone is no transition.
inline TrackResult accepted(FlowStatus before, FlowStatus after, bool refresh = true) {
    if (before.state == after.state && before.phase == after.phase) return {.refresh = refresh};
    return {.refresh = refresh, .before = before, .after = after};
}

bool begin_tcp(const PacketMeta& meta, const FlowLimits& limits, FlowEntry& entry);
TrackResult track_tcp(const PacketMeta& meta, unsigned direction, const FlowLimits& limits,
                      FlowEntry& entry);

TrackResult cut_tcp(const PacketMeta& meta, FlowEntry& entry);

bool begin_sctp(const PacketMeta& meta, FlowEntry& entry);
TrackResult track_sctp(const PacketMeta& meta, unsigned direction, FlowEntry& entry);

}  // namespace slash32
