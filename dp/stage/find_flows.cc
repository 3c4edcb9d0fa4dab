// SPDX-License-Identifier: Apache-2.0
// The find_flows stage: one bulk lookup for all packets of the burst. What is on a flow needs no
// policy and no route any more; the stages behind visit the others.
//
// An ICMP error is looked up by the packet that it quotes, and goes the way of that packet's
// answers.
#include "dp/packet/icmp.h"
#include "dp/stage/flow.h"
#include "dp/stage/stages.h"
#include "dp/table/flow_key.h"
#include "dp/table/quoted_key.h"

namespace slash32 {
namespace {

// Returns the mask of ICMP errors; leaves those out of `mask` that no flow can have.
uint32_t gather_keys(WorkerContext& context, Burst& burst, uint32_t& mask) {
    uint32_t errors = 0;
    for_each_packet(mask, [&](unsigned i) {
        const PacketMeta& meta = burst.meta[i];
        FlowKey& key = context.scratch.keys[i];
        make_flow_key(meta, *burst.in, key);
        if (!is_icmp_error(meta)) [[likely]]
            return;
        const auto quoted = quoted_flow_key(burst.packets[i], meta, *burst.in);
        if (!quoted) {
            mask &= ~(1u << i);
            return;
        }
        errors |= 1u << i;
        key = *quoted;
    });
    for_each_packet(mask & burst.fragments, [&](unsigned i) {
        if (!burst.meta[i].has(kLaterFragment)) return;
        const FlowPorts& ports = context.scratch.heads[i].ports;
        context.scratch.keys[i].source_port = ports.source;
        context.scratch.keys[i].destination_port = ports.destination;
    });
    return errors;
}

}  // namespace

void find_flows(WorkerContext& context, Burst& burst) {
    burst.miss = burst.unrouted = burst.judge_egress = burst.judge_ingress = burst.live;
    if (context.policy_ports == 0 || burst.live == 0) return;
    FlowScratch& scratch = context.scratch;
    // Before any table is read (dp/abi/generations.h).
    scratch.epoch = context.generations->epoch.load(std::memory_order_acquire);
    scratch.routes =
        context.generations->routes[burst.in->vrf.value()].load(std::memory_order_acquire);
    uint32_t mask = burst.live;
    const uint32_t errors = gather_keys(context, burst, mask);
    if (context.flows.enabled()) {
        context.flows.lookup_bulk(mask, scratch.keys.data(), scratch.found.data());
        ride_flows(context, burst, mask & ~errors);
        for_each_packet(mask & errors, [&](unsigned i) {
            if (scratch.found[i]) ride_flow_as_error(context, burst, i, scratch.found[i]);
        });
    }
    // Behind this stage a key is the packet's own.
    for_each_packet(errors & burst.miss,
                    [&](unsigned i) { make_flow_key(burst.meta[i], *burst.in, scratch.keys[i]); });
}

}  // namespace slash32
