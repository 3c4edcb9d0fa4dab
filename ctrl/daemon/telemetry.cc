// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/telemetry.h"

#include "dp/abi/srv6.h"
#include "dp/base/limits.h"
#include "dp/worker/pipeline.h"

#include <rte_cycles.h>
#include <rte_mempool.h>

#include <chrono>
#include <fstream>
#include <string>
#include <utility>

namespace slash32 {
namespace {

// "VmRSS:     1234 kB" and "HugetlbPages: ..." of this process, in bytes.
uint64_t status_bytes(const std::string& key) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1)) * 1024;
    }
    return 0;
}

// Of drops, those that are counted where the packet was going.
constexpr DropReason kAtDestination[] = {DropReason::kTxFull, DropReason::kPortDown};

std::vector<StageStats> stages_of(const WorkerCounterBlock& block) {
    std::vector<StageStats> all;
    for (size_t i = 0; i < kMeasuredStages.size(); ++i) {
        const StageCounters& counters = block.stages[i];
        all.push_back(StageStats{.name = kMeasuredStages[i],
                                 .cycles = counters.cycles.get(),
                                 .packets = counters.packets.get(),
                                 .bursts = counters.bursts.get()});
    }
    return all;
}

}  // namespace

DaemonTelemetry::DaemonTelemetry(asio::io_context& io, DataPlane& dataplane,
                                 const ForwardingPlane& plane)
    : dataplane_(dataplane), plane_(plane), timer_(io), samples_(dataplane.worker_count()) {
    sample();
}

void DaemonTelemetry::sample() {
    for (size_t i = 0; i < samples_.size(); ++i) {
        Sample& last = samples_[i];
        const uint64_t now = rte_rdtsc();
        const uint64_t busy = dataplane_.counters(i).worker.busy_cycles.get();
        if (last.time != 0)
            last.percent = 100.0 * static_cast<double>(busy - last.busy) /
                           static_cast<double>(now - last.time);
        last.busy = busy;
        last.time = now;
    }
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this](const asio::error_code& error) {
        if (!error) sample();
    });
}

std::vector<WorkerStats> DaemonTelemetry::workers() {
    std::vector<WorkerStats> all;
    for (size_t i = 0; i < dataplane_.worker_count(); ++i) {
        const WorkerCounterBlock& block = dataplane_.counters(i);
        WorkerStats stats;
        stats.id = static_cast<uint32_t>(i);
        stats.core = dataplane_.worker_core(i);
        stats.asleep = dataplane_.publisher().state(i).asleep;
        stats.rx_packets = block.worker.packets.get();
        for (const PortCounters& port : block.ports) {
            stats.tx_packets += port.tx_packets.get();
            stats.punted_packets += port.punted.get();
            stats.consumed_packets += port.consumed.get();
            for (const Counter& drop : port.drops)
                stats.dropped_packets += drop.get();
        }
        stats.busy_cycles = block.worker.busy_cycles.get();
        stats.idle_cycles = block.worker.idle_cycles.get();
        stats.busy_percent = samples_[i].percent;
        if (stats.rx_packets > 0)
            stats.cycles_per_packet =
                static_cast<double>(stats.busy_cycles) / static_cast<double>(stats.rx_packets);
        stats.wakeups = block.worker.sleeps.get();
        stats.rx_queues = static_cast<uint32_t>(plane_.queues_of_worker(i).size());
        stats.stages_enabled = stages_enabled_;
        if (stages_known_) stats.stages = stages_of(block);
        all.push_back(std::move(stats));
    }
    return all;
}

void DaemonTelemetry::enable_stages(bool enabled, std::function<void()> done) {
    stages_enabled_ = enabled;
    stages_known_ |= enabled;
    dataplane_.publisher().broadcast(Command::set_stage_cycles(enabled));
    dataplane_.publisher().when_acknowledged(std::move(done));
}

PortStats DaemonTelemetry::port(PortId id) {
    PortStats stats;
    for (size_t i = 0; i < dataplane_.worker_count(); ++i) {
        const PortCounters& counters = dataplane_.counters(i).ports[id.value()];
        stats.rx_packets += counters.rx_packets.get();
        stats.rx_bytes += counters.rx_bytes.get();
        stats.tx_packets += counters.tx_packets.get();
        stats.tx_bytes += counters.tx_bytes.get();
        stats.punted += counters.punted.get();
        stats.consumed += counters.consumed.get();
        for (size_t reason = 0; reason < kDropReasonCount; ++reason) {
            const uint64_t drops = counters.drops[reason].get();
            stats.drops[reason] += drops;
            stats.rx_dropped += drops;
        }
        for (const DropReason reason : kAtDestination) {
            const uint64_t drops = counters.drops[static_cast<size_t>(reason)].get();
            stats.tx_dropped += drops;
        }
    }
    return stats;
}

SegmentStats DaemonTelemetry::segment(NextHopId id) {
    SegmentStats stats;
    const Adjacency* adjacency = plane_.next_hops().find(id);
    if (adjacency == nullptr || adjacency->kind != AdjacencyKind::kSegment) return stats;
    for (size_t i = 0; i < dataplane_.worker_count(); ++i) {
        const SidCounters& counters = dataplane_.counters(i).sids[adjacency->sid->counter];
        stats.packets += counters.packets.get();
        stats.bytes += counters.bytes.get();
    }
    return stats;
}

uint64_t DaemonTelemetry::rule(RuleId id) {
    uint64_t packets = 0;
    for (size_t i = 0; i < dataplane_.worker_count(); ++i)
        packets += dataplane_.counters(i).rules[id.value()].get();
    return packets;
}

std::vector<RingStats> DaemonTelemetry::rings() {
    std::vector<RingStats> all;
    for (size_t i = 0; i < dataplane_.worker_count(); ++i) {
        const RingState state = dataplane_.publisher().state(i);
        all.push_back(RingStats{.worker = static_cast<uint32_t>(i),
                                .entries = CommandRing::kCapacity,
                                .depth = state.depth,
                                .pushed = state.produced,
                                .acknowledged = state.acknowledged,
                                .waits = state.waits,
                                .asleep = state.asleep});
    }
    return all;
}

MemoryStats DaemonTelemetry::memory() {
    MemoryStats stats;
    stats.rss_bytes = status_bytes("VmRSS");
    stats.hugepages_bytes = status_bytes("HugetlbPages");
    for (rte_mempool* pool : {dataplane_.pool(), dataplane_.capture_pool()}) {
        stats.pools.push_back(PoolStats{.name = pool->name,
                                        .size = pool->size,
                                        .available = rte_mempool_avail_count(pool),
                                        .element_bytes = pool->elt_size});
    }
    stats.mbufs = stats.pools[0].size;
    stats.mbufs_free = stats.pools[0].available;
    const FibUsage fib = dataplane_.fib().usage();
    stats.tables = {{"hosts_ipv4", fib.hosts_ipv4, kMaxHostRoutes, fib.host_bytes_ipv4},
                    {"hosts_ipv6", fib.hosts_ipv6, kMaxHostRoutes, fib.host_bytes_ipv6},
                    {"prefixes_ipv4", fib.prefixes_ipv4, kMaxPrefixes, fib.prefix_bytes_ipv4},
                    {"prefixes_ipv6", fib.prefixes_ipv6, kMaxPrefixes, fib.prefix_bytes_ipv6},
                    {"next_hops", plane_.next_hops().size(), kMaxAdjacencies,
                     kMaxAdjacencies * sizeof(Adjacency) * dataplane_.worker_count()},
                    {"flows", dataplane_.flows().used.load(std::memory_order_relaxed),
                     dataplane_.flows().capacity, dataplane_.flow_bytes()}};
    return stats;
}

}  // namespace slash32
