// SPDX-License-Identifier: Apache-2.0
// Counters in shared memory. Each has one writer, the worker that owns the block; control reads.
//
// received + injected = forwarded + dropped(reason) + punted + consumed, for every port and worker:
// `consumed` is a packet that a worker turned into its own answer (ARP, ND, echo) or absorbed, and
// such an answer is `injected`. A packet that an ICMP error tells of is dropped for its reason, and
// the error is injected. Of a packet cut into segments or fragments, those after the first are
// injected. A fragment that waits for the first part of its packet is received and nothing else
// yet. Invariant checked by tests/unit/dp/stage.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/base/limits.h"

#include <array>
#include <atomic>
#include <cstdint>

namespace slash32 {

// One writer: a plain load and store, no locked instruction.
class Counter {
  public:
    void add(uint64_t n) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<uint64_t> value_{0};
};

// Of one port on one worker. Everything but tx_* is counted at the port a packet came from;
// drops for a reason at the destination (tx_full, port_down) too.
struct alignas(kCacheLine) PortCounters {
    Counter rx_packets;
    Counter rx_bytes;
    Counter tx_packets;
    Counter tx_bytes;
    Counter forwarded;  // left through some port
    Counter punted;     // given to control
    Counter consumed;   // answered or absorbed in place
    Counter injected;   // answers, errors and further parts that the router made
    std::array<Counter, kDropReasonCount> drops;
};

// Of one worker. Cycles are of the TSC.
struct alignas(kCacheLine) WorkerCounters {
    Counter loops;
    Counter busy_cycles;   // loops that moved a packet or a command
    Counter idle_cycles;   // empty polls
    Counter sleep_cycles;  // in epoll_wait
    Counter sleeps;
    Counter packets;
    Counter bursts;
    Counter commands;
};

// While a worker accounts for its stages, one burst in so many is measured.
inline constexpr uint32_t kStageSampling = 64;

// Of one stage on one worker: of the measured bursts alone. Cycles are of the TSC.
struct StageCounters {
    Counter cycles;
    Counter packets;  // that were there when it began
    Counter bursts;
};

// Of one local segment on one worker.
struct SidCounters {
    Counter packets;  // that it has processed, those dropped for it included
    Counter bytes;    // of the IPv6 packets
};

struct WorkerCounterBlock {
    WorkerCounters worker;
    std::array<Counter, kMaxRules> rules;          // by RuleId: packets that it decided
    std::array<PortCounters, kMaxPorts> ports;     // by PortId
    std::array<SidCounters, kMaxSids> sids;        // by LocalSid::counter
    std::array<StageCounters, kMaxStages> stages;  // as kMeasuredStages (dp/worker/pipeline.h)
};

}  // namespace slash32
