// SPDX-License-Identifier: Apache-2.0
// Connection tracking by protocol: does a packet fit its connection, and what does the connection
// become by it. Pure functions over the tracked part of a flow's entry.
//
// Thread safety: packets of one direction usually, not always, come to one worker; the two
// directions to different ones. State is relaxed atomics; window edges advance by compare-and-swap;
// the status changes by compare-and-swap, so that one worker alone sees each transition.
#pragma once

#include "dp/abi/flow.h"
#include "dp/packet/burst.h"

#include <cstdint>

namespace slash32 {

enum class TrackVerdict : uint8_t {
    kAccept,
    kInvalid,  // fits no state of the connection: drop it, nothing has changed
    kRestart,  // begins a new connection on the tuple of one that has ended: make a new flow
    kEnd,      // let it through, and end the flow: nothing was there to be closed
};

struct TrackResult {
    TrackVerdict verdict = TrackVerdict::kAccept;
    bool refresh = true;  // the packet keeps the connection alive
    // Different when this packet, on this worker, has made the transition.
    FlowStatus before;
    FlowStatus after;
};

// The first packet of a flow: sets its status, its peers, and what else is tracked. False: such a
// packet begins no connection (then the entry is not to be used). The entry is not shared yet.
// REQUIRES: meta is of a parsed IP packet; a fragment's first part at most.
bool begin_tracking(const PacketMeta& meta, const FlowLimits& limits, FlowEntry& entry);

// A later packet, of `direction` 0 (the first packet's) or 1. `now` is the flow clock in seconds.
TrackResult track(const PacketMeta& meta, unsigned direction, uint32_t now,
                  const FlowLimits& limits, FlowEntry& entry);

// The filter of one end lets the connection through no more; the packet is one of it. kAccept: it
// stays known, so that the other end's next packet does not begin it anew from its middle, and so
// that it goes on where it was if the rule comes back; whatever needs room may take it. kRestart:
// there is nothing to keep, or the packet begins a connection of its own.
TrackResult cut(const PacketMeta& meta, FlowEntry& entry);

// As Linux names them in net.netfilter: "tcp_timeout_established", ...; and its default in seconds.
struct FlowTimeout {
    const char* name;
    uint32_t seconds;
};
const FlowTimeout& flow_timeout(FlowState state);

}  // namespace slash32
