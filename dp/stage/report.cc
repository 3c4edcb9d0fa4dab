// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/report.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <algorithm>
#include <new>

namespace slash32 {
namespace {

// Ethernet, the longest IP header that is parsed, and ports.
constexpr uint32_t kReportedBytes = 384;

}  // namespace

void report_headers(WorkerContext& context, const rte_mbuf* packet, PuntInfo why) {
    rte_mbuf* copy = rte_pktmbuf_copy(packet, context.capture_pool, 0,
                                      std::min(packet->pkt_len, kReportedBytes));
    if (copy == nullptr) return;
    why.original_length = packet->pkt_len;
    why.tsc = context.now;
    new (rte_mbuf_to_priv(copy)) PuntInfo(why);
    copy->port = why.port.value();
    if (rte_ring_sp_enqueue(context.punt_ring, copy) != 0) return rte_pktmbuf_free(copy);
    context.doorbell_due = true;
}

}  // namespace slash32
