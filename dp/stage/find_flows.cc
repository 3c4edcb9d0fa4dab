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

// The keys of packets of one family as they are, and their hashes, right but for ICMP.
template <typename Header>
void gather_family(FlowScratch& scratch, const FlowHasher hasher, const Burst& burst,
                   uint32_t mask) {
    const uint32_t origin = flow_origin(*burst.in, VrfId{0});
    for_nearly_each_packet(mask, [&](unsigned i) {
        const uint32_t where = origin | uint32_t{burst.vrfs[i].value()} << 8;
        make_flow_key<Header>(burst.meta[i], where, scratch.keys[i]);
        scratch.hashes[i] = hasher.prepare_ported(scratch.keys[i]);
    });
}

// Returns the mask of ICMP errors; leaves those out of `mask` that no flow can have.
uint32_t gather_keys(WorkerContext& context, Burst& burst, uint32_t& mask) {
    const FlowHasher hasher = context.flows.hasher();
    gather_family<Ipv4Header>(context.scratch, hasher, burst, mask & burst.ipv4);
    gather_family<Ipv6Header>(context.scratch, hasher, burst, mask & burst.ipv6);
    FlowKey* keys = context.scratch.keys.data();
    uint64_t* hashes = context.scratch.hashes.data();
    uint32_t errors = 0;
    for_each_packet(mask & burst.icmp, [&](unsigned i) {
        if (!is_icmp_error(burst.meta[i])) {
            hashes[i] = hasher.prepare(keys[i]);
            return;
        }
        const auto quoted =
            quoted_flow_key(burst.packets[i], burst.meta[i], *burst.in, burst.vrfs[i]);
        if (!quoted) {
            mask &= ~(1u << i);
            return;
        }
        errors |= 1u << i;
        keys[i] = *quoted;
        hashes[i] = hasher.prepare(keys[i]);
    });
    for_each_packet(mask & burst.fragments, [&](unsigned i) {
        if (!burst.meta[i].has(kLaterFragment)) return;
        const FlowPorts& ports = context.scratch.heads[i].ports;
        keys[i].source_port = ports.source;
        keys[i].destination_port = ports.destination;
        hashes[i] = hasher.prepare(keys[i]);
    });
    return errors;
}

}  // namespace

void find_flows(WorkerContext& context, Burst& burst) {
    burst.miss = burst.judge_egress = burst.judge_ingress = burst.live;
    burst.unrouted = burst.live & ~burst.steered;
    if (context.policy_ports == 0 || burst.live == 0) return;
    FlowScratch& scratch = context.scratch;
    // Before any table is read (dp/abi/generations.h).
    scratch.epoch = context.generations->epoch.load(std::memory_order_acquire);
    uint32_t mask = burst.live;
    const uint32_t errors = gather_keys(context, burst, mask);
    if (context.flows.enabled()) {
        context.flows.guess_bulk(mask, scratch.hashes.data(), scratch.guesses.data());
        ride_flows(context, burst, mask & ~errors);
        for_each_packet(mask & errors, [&](unsigned i) { ride_flow_as_error(context, burst, i); });
    }
    // Behind this stage a key is the packet's own.
    for_each_packet(errors & burst.miss, [&](unsigned i) {
        make_flow_key(burst.meta[i], flow_origin(*burst.in, burst.vrfs[i]), scratch.keys[i]);
    });
}

}  // namespace slash32
