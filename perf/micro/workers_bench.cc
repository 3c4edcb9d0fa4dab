// SPDX-License-Identifier: Apache-2.0
// Does a second worker slow the first one down? Flows that are there, 100 rules at both ports; one
// worker has both directions of every flow, or each of two workers has one, on a core of its own.
//
// Each worker makes its own bursts outside of the measured time, as pipeline_bench does. What is
// printed is the median of its bursts, of the slower worker where there are two.
#include "dp/worker/pipeline.h"
#include "perf/micro/bench_router.h"

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <latch>
#include <thread>
#include <vector>

namespace slash32::bench {
namespace {

constexpr unsigned kPoolSize = 16383;
constexpr unsigned kPoolCache = 256;
constexpr unsigned kBursts = 40000;
constexpr unsigned kRounds = 5;

struct Direction {
    PortId from;
    Packets packets;
};
constexpr Direction kDirections[] = {{kFrom, Packets::kForward}, {kTo, Packets::kAnswers}};

// One burst, and its cycles.
uint64_t run_burst(Router& router, unsigned worker, Sender& sender, PortId from) {
    Burst burst;
    burst.in = router.port(from);
    sender.fill(burst);
    const uint64_t start = rte_rdtsc_precise();
    run_pipeline(router.context(worker), burst);
    return rte_rdtsc_precise() - start;
}

double median_per_packet(std::vector<uint64_t>& cycles) {
    const auto middle = cycles.begin() + static_cast<ptrdiff_t>(cycles.size() / 2);
    std::nth_element(cycles.begin(), middle, cycles.end());
    return static_cast<double>(*middle) / kBurstSize;
}

void meet_all_flows(Router& router, rte_mempool* pool) {
    for (const Direction& direction : kDirections) {
        Sender sender(pool, false, direction.packets);
        for (unsigned sent = 0; sent < kFlows; sent += kBurstSize)
            run_burst(router, 0, sender, direction.from);
    }
}

double run_one(rte_mempool* pool) {
    Router router(pool, Filter::kHundred, 2 * kFlows);
    meet_all_flows(router, pool);
    Sender flows(pool, false, Packets::kForward);
    Sender answers(pool, false, Packets::kAnswers);
    std::vector<uint64_t> cycles;
    for (unsigned i = 0; i < kBursts / 2; ++i) {
        cycles.push_back(run_burst(router, 0, flows, kFrom));
        cycles.push_back(run_burst(router, 0, answers, kTo));
    }
    return median_per_packet(cycles);
}

void stay_on(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

double run_two(rte_mempool* pool) {
    Router router(pool, Filter::kHundred, 2 * kFlows, 2);
    meet_all_flows(router, pool);
    std::array<double, 2> medians{};
    std::latch ready(2);
    const auto work = [&](unsigned worker) {
        stay_on(worker);
        if (rte_thread_register() != 0) std::abort();  // for the pool's cache of this thread
        const Direction& direction = kDirections[worker];
        Sender sender(pool, false, direction.packets);
        std::vector<uint64_t> cycles;
        ready.arrive_and_wait();
        for (unsigned i = 0; i < kBursts; ++i)
            cycles.push_back(run_burst(router, worker, sender, direction.from));
        medians[worker] = median_per_packet(cycles);
        rte_thread_unregister();
    };
    std::thread second(work, 1);
    std::thread first(work, 0);
    first.join();
    second.join();
    return std::max(medians[0], medians[1]);
}

void run_in_turns(benchmark::State& state, rte_mempool* pool) {
    std::vector<double> one;
    std::vector<double> two;
    std::vector<double> ratios;
    for (auto _ : state) {
        one.push_back(run_one(pool));
        two.push_back(run_two(pool));
        ratios.push_back(two.back() / one.back());
    }
    const auto median = [](std::vector<double>& values) {
        std::ranges::sort(values);
        return values[values.size() / 2];
    };
    state.counters["one cycles/packet"] = median(one);
    state.counters["two cycles/packet"] = median(two);
    state.counters["two over one"] = median(ratios);
}

}  // namespace
}  // namespace slash32::bench

int main(int argc, char** argv) {
    using namespace slash32::bench;  // NOLINT: a main file
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    if (std::thread::hardware_concurrency() < 2) {
        std::fputs("workers_bench: needs two cores\n", stderr);
        return 1;
    }
    std::array<const char*, 9> eal{"workers_bench",  "--no-huge",  "--no-shconf",
                                   "--no-telemetry", "-m",         "256",
                                   "--no-pci",       "--lcores=0", nullptr};
    if (rte_eal_init(static_cast<int>(eal.size()) - 1, const_cast<char**>(eal.data())) < 0)
        return 1;
    constexpr uint16_t kRoom = RTE_PKTMBUF_HEADROOM + 128;
    rte_mempool* pool =
        rte_pktmbuf_pool_create("bench", kPoolSize, kPoolCache, 64, kRoom, SOCKET_ID_ANY);
    if (pool == nullptr) return 1;
    benchmark::RegisterBenchmark("workers", [=](benchmark::State& state) {
        run_in_turns(state, pool);
    })->Iterations(kRounds);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
