// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/capture.h"

#include "dp/abi/capture.h"
#include "dp/stage/stages.h"

#include <pcap/bpf.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <algorithm>
#include <new>

namespace slash32 {
namespace {

// A filter sees the first segment only: headers stand there (view.h).
bool filter_takes(const Capture& capture, const rte_mbuf* packet) {
    if (capture.filter == nullptr) return true;
    return bpf_filter(capture.filter, rte_pktmbuf_mtod(packet, const u_char*), packet->pkt_len,
                      packet->data_len) != 0;
}

bool copy_to_control(WorkerContext& context, const Capture& capture, const PuntInfo& info,
                     const rte_mbuf* packet) {
    if (!context.capture_tokens.take(context.now)) return false;
    const uint32_t length = std::min(packet->pkt_len, capture.snap_length);
    rte_mbuf* copy = rte_pktmbuf_copy(packet, context.capture_pool, 0, length);
    if (copy == nullptr) return false;
    new (rte_mbuf_to_priv(copy)) PuntInfo(info);
    copy->port = info.port.value();
    if (rte_ring_sp_enqueue(context.capture_ring, copy) != 0) {
        rte_pktmbuf_free(copy);
        return false;
    }
    context.doorbell_due = true;
    return true;
}

}  // namespace

void capture_packet(WorkerContext& context, PortId port, const rte_mbuf* packet,
                    CaptureDirection direction, DropReason reason) {
    Capture* capture = context.captures[port.value()];
    if (capture == nullptr) return;
    if ((capture->directions & static_cast<uint8_t>(direction)) == 0) return;
    if (!filter_takes(*capture, packet)) return;
    const PuntInfo info{.port = port,
                        .reason = PuntReason{},
                        .direction = direction,
                        .drop_reason = reason,
                        .vrf = {},
                        .original_length = packet->pkt_len,
                        .tsc = context.now};
    if (!copy_to_control(context, *capture, info, packet)) {
        capture->missed.fetch_add(1, std::memory_order_relaxed);
    }
}

void capture_received(WorkerContext& context, Burst& burst) {
    if (context.capture_count == 0) [[likely]]
        return;
    for_each_packet(burst.live, [&](unsigned i) {
        capture_packet(context, burst.in->id, burst.packets[i], CaptureDirection::kIn);
    });
}

}  // namespace slash32
