// SPDX-License-Identifier: Apache-2.0
// Copies of packets for a running capture (dp/abi/capture.h).
//
// A copy never delays or alters a packet: without a token, a buffer or room in the ring it is
// counted as missed. While no port is captured all of this costs one test of capture_count.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/abi/punt.h"
#include "dp/packet/burst.h"
#include "dp/stage/context.h"

namespace slash32 {

// Copies one packet if `port` is captured in this direction and the filter takes it.
void capture_packet(WorkerContext&, PortId port, const rte_mbuf* packet, CaptureDirection,
                    DropReason reason = DropReason{});

inline void capture_sent(WorkerContext& context, PortId port, rte_mbuf* const* packets,
                         uint16_t count) {
    if (context.capture_count == 0) [[likely]]
        return;
    for (uint16_t i = 0; i < count; ++i)
        capture_packet(context, port, packets[i], CaptureDirection::kOut);
}
inline void capture_dropped(WorkerContext& context, PortId port, const rte_mbuf* packet,
                            DropReason reason) {
    if (context.capture_count == 0) [[likely]]
        return;
    capture_packet(context, port, packet, CaptureDirection::kDropped, reason);
}

}  // namespace slash32
