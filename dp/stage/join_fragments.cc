// SPDX-License-Identifier: Apache-2.0
// The join_fragments stage: a later part of a packet has the ports of the first one, so that the
// filters and the flow table see all parts alike. One that comes before its first waits for it;
// worker/pipeline.cc lets it go on from here.
#include "dp/packet/icmp.h"
#include "dp/stage/disposition.h"
#include "dp/stage/stages.h"
#include "dp/table/flow_key.h"
#include "dp/table/fragment_table.h"

namespace slash32 {
namespace {

FragmentHead head_of(const PacketMeta& meta) {
    FragmentHead head{.ports = {}, .protocol = meta.protocol, .icmp_code = icmp_code(meta)};
    if (meta.l4_length != 0) head.ports = flow_ports(meta.protocol, meta.l3 + meta.l3_length);
    return head;
}

void join(WorkerContext& context, Burst& burst, unsigned i) {
    PacketMeta& meta = burst.meta[i];
    FragmentHead& head = context.scratch.heads[i];
    const FragmentPart part = fragment_part(meta);
    const FragmentIn in{.key = fragment_key(meta, part, *burst.in, burst.vrfs[i]),
                        .part = part,
                        .port = *burst.in,
                        .packet = burst.packets[i],
                        .meta = meta};
    if (!meta.has(kLaterFragment)) return context.fragments.first(in, head_of(meta), context.now);
    DropReason why{};
    switch (context.fragments.later(in, head, why, context.now)) {
        case FragmentTable::Later::kPasses:
            meta.protocol = head.protocol;
            break;
        case FragmentTable::Later::kWaits:
            burst.live &= ~(1u << i);
            break;
        case FragmentTable::Later::kRefused:
            drop(context, burst, i, why);
            break;
    }
}

}  // namespace

void join_fragments(WorkerContext& context, Burst& burst) {
    if (context.policy_ports == 0) return;
    const uint32_t fragments = burst.live & burst.fragments;
    if (fragments == 0) [[likely]]
        return;
    if (context.fragments.enabled())
        return for_each_packet(fragments, [&](unsigned i) { join(context, burst, i); });
    for_each_packet(fragments, [&](unsigned i) {
        context.scratch.heads[i] = {.ports = {}, .protocol = burst.meta[i].protocol};
    });
}

}  // namespace slash32
