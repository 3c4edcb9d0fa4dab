// SPDX-License-Identifier: Apache-2.0
// The make_flows stage: what both filters have let through, one of them by a stateful rule, becomes
// a flow, so that the next packets and the answers pass by it alone.
#include "dp/packet/icmp.h"
#include "dp/stage/disposition.h"
#include "dp/stage/flow.h"
#include "dp/stage/stages.h"
#include "dp/table/flow_key.h"
#include "dp/table/track.h"

#include <bit>
#include <optional>

namespace slash32 {
namespace {

const PortConfig& destination_port(const WorkerContext& context, const Burst& burst, unsigned i) {
    return *context.ports[burst.meta[i].out_port.value()];
}

// The packets of `mask` that are to have a flow; drops those that may not be without one.
uint32_t select(WorkerContext& context, Burst& burst, uint32_t mask) {
    const FlowScratch& scratch = context.scratch;
    uint32_t chosen = 0;
    for_each_packet(mask, [&](unsigned i) {
        if (!scratch.egress[i].stateful && !scratch.ingress[i].stateful) return;
        // Its first part has a flow, or has not been let through.
        if (burst.meta[i].has(kLaterFragment)) return;
        if (is_icmp_error(burst.meta[i]))
            return drop(context, burst, i, DropReason::kUnrelatedError);
        chosen |= 1u << i;
    });
    return chosen;
}

void fill(const WorkerContext& context, const Burst& burst, unsigned i, const PortConfig& out,
          FlowEntry& entry) {
    const FlowScratch& scratch = context.scratch;
    const auto relaxed = std::memory_order_relaxed;
    FlowDirection& forward = entry.opening;
    FlowDirection& back = entry.answers;
    const FlowKey& key = scratch.keys[i];
    forward.key = key;
    back.key = reverse_key(key, ingress_class(out));
    forward.epoch.store(scratch.epoch, relaxed);
    forward.next_hop.store(burst.meta[i].next_hop.value(), relaxed);
    forward.routes.store(scratch.routes[i], relaxed);
    // The answers' way is looked up with the first of them.
    back.epoch.store(0, relaxed);
    back.next_hop.store(0, relaxed);
    for (FlowDirection* direction : {&forward, &back})
        direction->last_seen.store(context.seconds, relaxed);
    auto& [egress, ingress] = entry.first.verdicts;
    keep_verdict(*burst.in, scratch.egress[i], egress);
    keep_verdict(out, scratch.ingress[i], ingress);
    forward.marks.store(0, relaxed);
    back.marks.store(answer_marks(lets_answers_through(*burst.in, scratch.egress[i]),
                                  lets_answers_through(out, scratch.ingress[i])),
                     relaxed);
    entry.second.out = ingress_class(out);
}

PortId charged_port(const Burst& burst, const PortConfig& out) {
    return burst.in->kind == PortKind::kUplink ? out.id : burst.in->id;
}

// Why there is no flow; nothing where there is one now, or the packet has found another's.
std::optional<DropReason> make(WorkerContext& context, Burst& burst, unsigned i,
                               const PortConfig& out) {
    FlowTable& flows = context.flows;
    DropReason why{};
    FlowEntry* entry = flows.allocate(charged_port(burst, out), why);
    if (entry == nullptr) return why;
    fill(context, burst, i, out, *entry);
    if (!begin_tracking(burst.meta[i], flows.limits(), *entry)) {
        flows.give_back(*entry);
        return DropReason::kInvalidState;
    }
    FlowRef other;
    FlowTable::Linked linked = flows.link(*entry, context.seconds, other);
    // Another VM's flow that nobody has answered gives way; an answered one stays.
    if (linked == FlowTable::Linked::kClash && flows.evict(other.entry()))
        linked = flows.link(*entry, context.seconds, other);
    switch (linked) {
        case FlowTable::Linked::kYes:
            burst.miss &= ~(1u << i);
            return {};
        case FlowTable::Linked::kExists:
            // Made by the packet before, or by another worker meanwhile.
            flows.give_back(*entry);
            context.scratch.guesses[i] = other;
            ride_flows(context, burst, 1u << i);
            return {};
        case FlowTable::Linked::kClash:
            flows.give_back(*entry);
            return DropReason::kFlowClash;
        case FlowTable::Linked::kFull:
            break;
    }
    flows.give_back(*entry);
    return DropReason::kFlowTableFull;
}

}  // namespace

void make_flows(WorkerContext& context, Burst& burst) {
    if (context.policy_ports == 0 || !context.flows.enabled()) return;
    const uint32_t chosen = select(context, burst, burst.live & burst.miss);
    if (chosen == 0) return;
    const auto charged = [&](unsigned i) {
        return charged_port(burst, destination_port(context, burst, i));
    };
    // Most are charged to one port.
    const PortId first = charged(static_cast<unsigned>(std::countr_zero(chosen)));
    uint32_t alike = 0;
    for_each_packet(chosen, [&](unsigned i) { alike += charged(i) == first; });
    context.flows.reserve(first, alike);
    for_each_packet(chosen, [&](unsigned i) {
        const PortConfig& out = destination_port(context, burst, i);
        if (const auto refusal = make(context, burst, i, out)) drop(context, burst, i, *refusal);
    });
    context.flows.release();
}

}  // namespace slash32
