// SPDX-License-Identifier: Apache-2.0
// The pipeline without devices: cycles a packet of the whole and of each stage, for bursts of 32
// small UDP packets from one VM's port to another's: through open filters, on flows that are there,
// and each the first of its flow, the last two with 100 rules at both ports. Then from a VM into a
// tunnel, and from an uplink to a VM: plain, and out of a tunnel.
//
//     pipeline_bench [--bursts=N] [Google Benchmark's options]
//
// A burst is made and freed outside of the measured time. What is printed is the median over all
// bursts, so that a burst in which something else had the core does not count.
#include "dp/worker/pipeline.h"
#include "perf/micro/bench_router.h"

#include <benchmark/benchmark.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace slash32::bench {
namespace {

constexpr unsigned kPoolSize = 8191;
constexpr unsigned kPoolCache = 256;
// Small, so that a burst lies in a few pages of 4 KB: the router's buffers are in large ones.
constexpr uint16_t kDataRoom = RTE_PKTMBUF_HEADROOM + 128;

struct Traffic {
    const char* name;
    Filter filter;
    Packets packets;
    bool segments = false;  // by a router that does segment routing
};
constexpr Traffic kTraffic[] = {{"open", Filter::kOpen, Packets::kForward},
                                {"established", Filter::kHundred, Packets::kForward},
                                {"new", Filter::kHundred, Packets::kFresh},
                                {"into_tunnel", Filter::kOpen, Packets::kIntoTunnel, true},
                                {"from_wire", Filter::kOpen, Packets::kFromWire},
                                {"from_tunnel", Filter::kOpen, Packets::kFromTunnel, true}};

// What two readings of the clock cost that have nothing between them.
uint64_t clock_cycles() {
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < 1000; ++i) {
        const uint64_t start = rte_rdtsc_precise();
        least = std::min(least, rte_rdtsc_precise() - start);
    }
    return least;
}

[[gnu::noinline]] uint64_t run_measured(WorkerContext& context, Burst& burst) {
    const uint64_t start = rte_rdtsc_precise();
    run_pipeline(context, burst);
    return rte_rdtsc_precise() - start;
}

// The same of a burst of which the stages are accounted for (worker.stages).
uint64_t run_accounted(WorkerContext& context, Burst& burst) {
    const uint64_t start = rte_rdtsc_precise();
    run_measured_pipeline(context, burst, start);
    return rte_rdtsc_precise() - start;
}

// All stages, with the time of the one named.
uint64_t run_stages(WorkerContext& context, Burst& burst, const std::string& measured) {
    uint64_t cycles = 0;
    const auto run = [&](const auto& stage) {
        if (measured != stage.name) return stage.run(context, burst);
        const uint64_t start = rte_rdtsc_precise();
        stage.run(context, burst);
        cycles = rte_rdtsc_precise() - start;
    };
    for (const Stage& stage : kDecisionStages)
        run(stage);
    for (const Stage& stage : kSendingStages)
        run(stage);
    return cycles;
}

void report(benchmark::State& state, std::vector<uint64_t>& cycles) {
    const auto middle = cycles.begin() + static_cast<ptrdiff_t>(cycles.size() / 2);
    std::nth_element(cycles.begin(), middle, cycles.end());
    state.counters["cycles/packet"] =
        static_cast<double>(*middle - std::min(*middle, clock_cycles())) / kBurstSize;
}

// what: a stage, or one of these two.
constexpr const char* kWhole = "pipeline";
constexpr const char* kAccounted = "accounted";

uint64_t run(WorkerContext& context, Burst& burst, const std::string& what) {
    if (what == kWhole) return run_measured(context, burst);
    if (what == kAccounted) return run_accounted(context, burst);
    return run_stages(context, burst, what);
}

void measure(benchmark::State& state, rte_mempool* pool, bool ipv6, const Traffic& traffic,
             const std::string& what) {
    const size_t packets = static_cast<size_t>(state.max_iterations) * kBurstSize;
    const bool fresh = traffic.packets == Packets::kFresh;
    Router router(pool, traffic.filter, fresh ? packets + kFlows : 2 * kFlows);
    Sender sender(pool, ipv6, traffic.packets);
    const PortId from = source_of(traffic.packets);
    if (traffic.segments) router.route_segments();
    // Flows and tables are met once before.
    for (unsigned sent = 0; sent < kFlows; sent += kBurstSize) {
        Burst burst;
        burst.in = router.port(from);
        sender.fill(burst);
        run_pipeline(router.context(), burst);
    }
    std::vector<uint64_t> cycles;
    for (auto _ : state) {
        Burst burst;
        burst.in = router.port(from);
        sender.fill(burst);
        cycles.push_back(run(router.context(), burst, what));
    }
    if (router.forwarded(from) != packets + kFlows)
        state.SkipWithError("not every packet was forwarded");
    report(state, cycles);
}

void register_all(rte_mempool* pool, int64_t bursts) {
    for (const Traffic& traffic : kTraffic) {
        for (const bool ipv6 : {false, true}) {
            const std::string prefix = std::string(ipv6 ? "ipv6/" : "ipv4/") + traffic.name + "/";
            const auto add = [&](const std::string& what) {
                benchmark::RegisterBenchmark((prefix + what).c_str(), [=](benchmark::State& state) {
                    measure(state, pool, ipv6, traffic, what);
                })->Iterations(bursts);
            };
            add(kWhole);
            add(kAccounted);
            for (const Stage& stage : kDecisionStages)
                add(stage.name);
            for (const Stage& stage : kSendingStages)
                add(stage.name);
        }
    }
}

// The number of bursts, taken from the arguments.
int64_t take_bursts(int& argc, char** argv) {
    constexpr std::string_view kOption = "--bursts=";
    int64_t bursts = 20000;
    int kept = 1;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word.starts_with(kOption)) {
            bursts = std::max(1L, std::atol(argv[i] + kOption.size()));
        } else {
            argv[kept++] = argv[i];
        }
    }
    argc = kept;
    return bursts;
}

}  // namespace
}  // namespace slash32::bench

int main(int argc, char** argv) {
    using namespace slash32::bench;  // NOLINT: a main file
    const int64_t bursts = take_bursts(argc, argv);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    std::array<const char*, 9> eal{"pipeline_bench", "--no-huge",  "--no-shconf",
                                   "--no-telemetry", "-m",         "256",
                                   "--no-pci",       "--lcores=0", nullptr};
    if (rte_eal_init(static_cast<int>(eal.size()) - 1, const_cast<char**>(eal.data())) < 0)
        return 1;
    rte_mempool* pool =
        rte_pktmbuf_pool_create("bench", kPoolSize, kPoolCache, 64, kDataRoom, SOCKET_ID_ANY);
    if (pool == nullptr) return 1;
    register_all(pool, bursts);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
