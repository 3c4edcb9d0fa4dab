// SPDX-License-Identifier: Apache-2.0
// The numbers that the control socket shows, as plain values, and which of them are taken. The
// daemon implements it over the counters and rings of the workers. Control thread; every call reads
// the present state.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/base/ids.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace slash32 {

// What one stage has cost, in the bursts that were measured.
struct StageStats {
    const char* name = "";
    uint64_t cycles = 0;
    uint64_t packets = 0;  // that were there when it began
    uint64_t bursts = 0;
};

struct WorkerStats {
    uint32_t id = 0;
    uint32_t core = 0;
    bool asleep = false;
    uint64_t rx_packets = 0;
    uint64_t tx_packets = 0;
    uint64_t dropped_packets = 0;
    uint64_t punted_packets = 0;
    uint64_t consumed_packets = 0;
    uint64_t busy_cycles = 0;
    uint64_t idle_cycles = 0;
    double busy_percent = 0;       // over the last second
    double cycles_per_packet = 0;  // busy ones, since the start
    uint64_t wakeups = 0;
    uint32_t rx_queues = 0;
    bool stages_enabled = false;     // bursts are being measured
    std::vector<StageStats> stages;  // in their order; empty until it is enabled for the first time
};

// Of one port, all workers together.
struct PortStats {
    uint64_t rx_packets = 0;
    uint64_t rx_bytes = 0;
    uint64_t tx_packets = 0;
    uint64_t tx_bytes = 0;
    uint64_t rx_dropped = 0;  // came from this port
    uint64_t tx_dropped = 0;  // were on their way to it
    uint64_t punted = 0;
    uint64_t consumed = 0;
    std::array<uint64_t, kDropReasonCount> drops{};  // by DropReason
};

// Of one segment of this node, all workers together.
struct SegmentStats {
    uint64_t packets = 0;
    uint64_t bytes = 0;  // of the IPv6 packets
};

struct RingStats {
    uint32_t worker = 0;
    uint64_t entries = 0;
    uint64_t depth = 0;
    uint64_t pushed = 0;
    uint64_t acknowledged = 0;
    uint64_t waits = 0;
    bool asleep = false;
};

struct PoolStats {
    std::string name;
    uint64_t size = 0;
    uint64_t available = 0;
    uint64_t element_bytes = 0;
};

struct TableStats {
    std::string name;
    uint64_t used = 0;
    uint64_t capacity = 0;
    uint64_t bytes = 0;
};

struct MemoryStats {
    uint64_t rss_bytes = 0;
    uint64_t hugepages_bytes = 0;
    uint64_t mbufs = 0;
    uint64_t mbufs_free = 0;
    std::vector<PoolStats> pools;
    std::vector<TableStats> tables;
};

class Telemetry {
  public:
    Telemetry() = default;
    Telemetry(const Telemetry&) = delete;
    Telemetry& operator=(const Telemetry&) = delete;
    virtual ~Telemetry() = default;

    virtual std::vector<WorkerStats> workers() = 0;
    // Whether workers measure their stages; calls back when all of them know.
    virtual void enable_stages(bool enabled, std::function<void()> done) = 0;
    // REQUIRES: the port exists.
    virtual PortStats port(PortId) = 0;
    // Packets that the rule has decided.
    virtual uint64_t rule(RuleId) = 0;
    // Of a next hop that is a segment; zeros where it is not in the tables.
    virtual SegmentStats segment(NextHopId) = 0;
    virtual std::vector<RingStats> rings() = 0;
    virtual MemoryStats memory() = 0;
};

}  // namespace slash32
