// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/deny.h"

#include "dp/stage/disposition.h"

#include <rte_ring.h>

#include <algorithm>
#include <new>

namespace slash32 {
namespace {

// Ethernet, the longest IP header that is parsed, and ports.
constexpr uint32_t kReportedBytes = 384;

void report(WorkerContext& context, const rte_mbuf* packet, PortId port, DropReason reason) {
    if (!context.denied_tokens.take(context.now)) return;
    rte_mbuf* copy = rte_pktmbuf_copy(packet, context.capture_pool, 0,
                                      std::min(packet->pkt_len, kReportedBytes));
    if (copy == nullptr) return;
    new (rte_mbuf_to_priv(copy)) PuntInfo{.port = port,
                                          .reason = PuntReason::kDenied,
                                          .direction = CaptureDirection::kDropped,
                                          .drop_reason = reason,
                                          .reserved = {},
                                          .original_length = packet->pkt_len,
                                          .tsc = context.now};
    copy->port = port.value();
    if (rte_ring_sp_enqueue(context.punt_ring, copy) != 0) return rte_pktmbuf_free(copy);
    context.doorbell_due = true;
}

}  // namespace

void deny(WorkerContext& context, Burst& burst, unsigned i, const PortConfig& filtering,
          DropReason reason) {
    if (filtering.has(kLogDenied)) report(context, burst.packets[i], filtering.id, reason);
    drop(context, burst, i, reason);
}

}  // namespace slash32
