// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/tunnel.h"

#include "dp/packet/headers.h"
#include "dp/stage/report.h"

#include <cstddef>
#include <cstring>

namespace slash32 {
namespace {

uint64_t destination_hash(VrfId vrf, const PacketMeta& meta) {
    uint64_t words[2] = {};
    if (meta.kind == PacketKind::kIpv4) {
        std::memcpy(words, meta.l3 + offsetof(Ipv4Header, destination), sizeof(Ip4));
    } else {
        std::memcpy(words, meta.l3 + offsetof(Ipv6Header, destination), sizeof(Ip6));
    }
    return mix_path(mix_path(vrf.value(), words[0]), words[1]);
}

// The packets of one destination leave room for those of the others.
bool was_reported(WorkerContext& context, VrfId vrf, const PacketMeta& meta) {
    const uint64_t hash = destination_hash(vrf, meta);
    auto& slot = context.reported_misses[hash % context.reported_misses.size()];
    const ReportedMiss now{static_cast<uint32_t>(hash >> 32), context.seconds};
    if (slot.hash == now.hash && slot.seconds == now.seconds) return true;
    slot = now;
    return false;
}

}  // namespace

void note_tunnel(WorkerContext& context, const Burst& burst, unsigned i, NextHopId tunnel) {
    const uint8_t flags = context.adjacency(tunnel).flags;
    if ((flags & kNotesUse) != 0 && context.hop_use != nullptr) {
        // Written once a second, so that workers do not fight over the line.
        std::atomic<uint32_t>& used = (*context.hop_use)[tunnel.value()];
        if (used.load(std::memory_order_relaxed) != context.seconds)
            used.store(context.seconds, std::memory_order_relaxed);
    }
    if ((flags & kReportsMisses) == 0) return;
    const VrfId vrf = burst.vrfs[i];
    if (was_reported(context, vrf, burst.meta[i]) || !context.miss_tokens.take(context.now)) return;
    report_headers(context, burst.packets[i],
                   {.port = burst.in->id, .reason = PuntReason::kMissed, .vrf = vrf});
}

}  // namespace slash32
