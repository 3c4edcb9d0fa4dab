// SPDX-License-Identifier: Apache-2.0
// The pipeline: what happens to a burst, as an order of stages.
#pragma once

#include "dp/packet/burst.h"
#include "dp/stage/context.h"
#include "dp/stage/stages.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace slash32 {

struct Stage {
    const char* name;  // part of the control protocol (`explain`, `stats`)
    void (*run)(WorkerContext&, Burst&);
};

// The stages that decide what becomes of each packet. After the last none is live: those that
// leave through a port are in `tx`.
inline constexpr Stage kDecisionStages[] = {
    {"from_host", take_from_host},
    {"parse", parse},
    {"to_host", give_to_host},
    {"port_security", check_port_security},

    // What the router answers itself.
    {"arp", answer_arp},
    {"nd", answer_nd},
    {"echo", answer_echo},
    {"segments", process_segments},
    {"group_destinations", refuse_group_destinations},

    // What it forwards.
    {"join_fragments", join_fragments},
    {"find_flows", find_flows},
    {"filter_egress", filter_egress},
    {"route", route},
    {"filter_ingress", filter_ingress},
    {"make_flows", make_flows},
    {"rewrite", rewrite},
};

// The first of the stages that forward: where parts of packets that have waited go on.
inline constexpr size_t kFirstForwardingStage = 9;
static_assert(kDecisionStages[kFirstForwardingStage].run == join_fragments);

// The stages behind them, which work on `tx`.
inline constexpr Stage kSendingStages[] = {
    {"offload", resolve_offloads},
    {"encapsulate", encapsulate},
    {"transmit", transmit},
};

// What cycles are counted of, by index in WorkerCounterBlock::stages: the driver's receive call
// with a capture of what it gave, and the stages of both tables.
inline constexpr auto kMeasuredStages = [] {
    std::array<const char*, 1 + std::size(kDecisionStages) + std::size(kSendingStages)> names{};
    size_t next = 0;
    names[next++] = "receive";
    for (const Stage& stage : kDecisionStages)
        names[next++] = stage.name;
    for (const Stage& stage : kSendingStages)
        names[next++] = stage.name;
    return names;
}();
static_assert(kMeasuredStages.size() <= kMaxStages);

// Runs one burst to completion: decides, then makes each packet fit its receiver, and sends.
// Whatever that lets go on of what has waited is run as well.
// REQUIRES: burst.in is set, burst.live has the bits of the packets, burst.tx is 0.
void run_pipeline(WorkerContext&, Burst&);

// The same, and counts for the worker what each stage cost and how many packets it found. What goes
// on of what has waited is not part of it. `start`: TSC before the burst was received.
// REQUIRES: as above.
void run_measured_pipeline(WorkerContext&, Burst&, uint64_t start);

// Sends what control has made out of a port; dropped where the port is gone.
void transmit_made(WorkerContext&, rte_mbuf* packet, PortId port);

// Runs or drops the parts of packets that wait no longer.
void settle_fragments(WorkerContext&);

}  // namespace slash32
