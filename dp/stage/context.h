// SPDX-License-Identifier: Apache-2.0
// What the stages of one worker work with. Private to the worker but for what is named shared.
//
// Thread safety: used by its worker alone. Shared memory behind it: `fib` (control writes,
// lock-free reads), `counters` (this worker writes, control reads), the two rings (this worker
// produces).
#pragma once

#include "dp/abi/adjacency.h"
#include "dp/abi/capture.h"
#include "dp/abi/counters.h"
#include "dp/abi/generations.h"
#include "dp/abi/host_class.h"
#include "dp/abi/next_hop_group.h"
#include "dp/abi/port.h"
#include "dp/abi/srv6.h"
#include "dp/base/ids.h"
#include "dp/base/limits.h"
#include "dp/packet/burst.h"
#include "dp/packet/token_bucket.h"
#include "dp/table/fib.h"
#include "dp/table/flow_table.h"
#include "dp/table/fragment_table.h"
#include "dp/table/policy.h"

#include <array>
#include <cstdint>

struct rte_mempool;
struct rte_ring;

namespace slash32 {

// What one stage of the filter leaves for the next, by packet of the burst.
struct FlowScratch {
    std::array<FlowKey, kBurstSize> keys;
    std::array<uint64_t, kBurstSize> hashes;        // of the keys
    std::array<FlowRef, kBurstSize> guesses;        // by hash, of those looked up
    std::array<FragmentHead, kBurstSize> heads;     // of later parts of fragmented packets
    std::array<PolicyVerdict, kBurstSize> egress;   // of the source port's policy
    std::array<PolicyVerdict, kBurstSize> ingress;  // of the destination port's
    // Of packets without a flow: generation of their VRF's routes, loaded before those were read.
    std::array<uint32_t, kBurstSize> routes;
    uint32_t epoch = 0;  // loaded before any table was read
};

// A destination of which control has been told.
struct ReportedMiss {
    uint32_t hash = 0;
    uint32_t seconds = 0;  // when, on the flow clock
};

struct WorkerContext {
    WorkerId id;
    uint64_t now = 0;  // TSC at the start of the burst: the clock is read once a burst
    uint64_t tsc_hz = 0;
    uint32_t seconds = 0;  // the flow clock: monotonic, never 0

    const PortConfig** ports = nullptr;     // by PortId, nullptr: no such port; edited by commands
    Adjacency* adjacencies = nullptr;       // by NextHopId, [0] is kNone; edited by commands
    const NextHopGroup** groups = nullptr;  // by group_index(), nullptr: no such group; the same
    Capture** captures = nullptr;           // by PortId; nullptr: none; edited by commands
    uint32_t capture_count = 0;             // of all ports: 0 lets every check be skipped
    FibView fib;
    AddressSetView sets;
    const Generations* generations = nullptr;
    const SrDomain* domain = nullptr;  // nullptr: there is no segment routing
    HopUse* hop_use = nullptr;         // nullptr: the use of next hops is not noted
    uint32_t policy_ports = 0;         // ports with a policy: without any there is nothing to track
    WorkerCounterBlock* counters = nullptr;

    rte_mempool* pool = nullptr;          // for segments and answers
    rte_mempool* capture_pool = nullptr;  // for copies: small, so that captures cannot starve it
    rte_ring* punt_ring = nullptr;        // mbufs to control, PuntInfo in their private area
    rte_ring* capture_ring = nullptr;
    int control_doorbell = -1;  // eventfd of the control thread
    bool doorbell_due = false;  // something was punted; rung once at the end of a loop

    TokenBucket icmp_tokens;     // ICMP errors, of this worker
    TokenBucket punt_tokens;     // announcements of addresses, of this worker
    TokenBucket resolve_tokens;  // packets to neighbours that are not known yet, of this worker
    TokenBucket capture_tokens;  // copies
    TokenBucket denied_tokens;   // reports of refused packets, of this worker
    TokenBucket miss_tokens;     // reports of destinations without a route of their own
    std::array<TokenBucket, kHostClasses.size()> host_tokens;  // by HostClass

    // Large, so behind what every packet needs.
    std::array<ReportedMiss, 256> reported_misses;  // lately, by the low bits of their hashes
    FlowScratch scratch;
    // Of packets that enter a tunnel: the adjacency they leave by, and the inner ones' path_hash().
    std::array<NextHopId, kBurstSize> underlays;
    std::array<uint32_t, kBurstSize> path_hashes;
    FlowTable flows;  // none: every packet is a first one (`explain`)
    FragmentTable fragments;

    // Of any id a route may give; what is none of an adjacency leads nowhere, as id 0 does.
    const Adjacency& adjacency(NextHopId hop) const {
        return adjacencies[hop.value() < kMaxAdjacencies ? hop.value() : 0];
    }
    // The adjacency that a packet of the hash takes where a route leads to a group; else the id.
    NextHopId member(NextHopId hop, uint32_t hash) const {
        if (!is_group(hop)) return hop;
        const uint32_t index = group_index(hop);
        const NextHopGroup* group = index < kMaxNextHopGroups ? groups[index] : nullptr;
        return group == nullptr ? kNoNextHop : group->select(hash);
    }
    PortCounters& port_counters(PortId port) { return counters->ports[port.value()]; }
};

}  // namespace slash32
