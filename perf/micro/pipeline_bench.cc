// SPDX-License-Identifier: Apache-2.0
// The pipeline without devices: cycles a packet of the whole and of each stage, for bursts of 32
// small UDP packets of 1,024 flows from one VM's port to another's (docs/decisions/0012).
//
// A burst is made as a vhost device makes it (buffers from the pool, bytes just copied into them)
// and freed as one frees it, both outside of the measured time. What is printed is the median over
// all bursts, so that a burst in which something else had the core does not count.
#include "ctrl/fib/fib.h"
#include "dp/worker/pipeline.h"
#include "tests/support/packet.h"

#include <benchmark/benchmark.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace slash32 {
namespace {

using test::Bytes;

constexpr unsigned kFlows = 1024;
constexpr unsigned kPoolSize = 8191;
constexpr unsigned kPoolCache = 256;
// Small, so that a burst lies in a few pages of 4 KB: the router's buffers are in large ones.
constexpr uint16_t kDataRoom = RTE_PKTMBUF_HEADROOM + 128;
constexpr PortId kFrom{1};
constexpr PortId kTo{2};
constexpr NextHopId kHop{1};
const Mac kGatewayMac = test::mac("02:00:5e:00:01:01");
const Mac kFromMac = test::mac("02:00:00:01:00:01");
const Mac kToMac = test::mac("02:00:00:01:00:02");

class NoReaders final : public Reclaimer {
  public:
    void defer(Callback callback, void* argument) override { callback(argument); }
    void drain() override {}
};

uint16_t free_all(TxPort&, WorkerId, rte_mbuf** packets, uint16_t n) {
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

std::string destination(bool ipv6, unsigned flow) {
    const std::string low = std::to_string(flow % 256);
    const std::string high = std::to_string(flow / 256);
    return ipv6 ? "2001:db8:1::" + high + ":" + low : "10.253." + high + "." + low;
}

// A worker's context with two ports and a host route for each flow.
class Router {
  public:
    explicit Router(rte_mempool* pool)
        : counters_(std::make_unique<WorkerCounterBlock>()),
          ports_(kMaxPorts),
          adjacencies_(kMaxAdjacencies),
          captures_(kMaxPorts) {
        auto fib = Fib::create({}, mapped_memory(), reclaimer_);
        if (!fib) std::abort();
        fib_ = std::move(*fib);
        for (const bool ipv6 : {false, true}) {
            for (unsigned flow = 0; flow < kFlows; ++flow) {
                const IpPrefix route = parse_prefix(destination(ipv6, flow)).value();
                if (!fib_->add(VrfId{0}, route, kHop)) std::abort();
            }
        }
        add_port(kFrom, kFromMac, "10.254.255.1", "2001:db8::1");
        add_port(kTo, kToMac, "10.253.255.1", "2001:db8::2");
        adjacencies_[kHop.value()] = Adjacency{.kind = AdjacencyKind::kEthernet,
                                               .reserved = 0,
                                               .port = kTo,
                                               .mtu = kDefaultMtu,
                                               .destination = kToMac,
                                               .source = kGatewayMac};
        context_.tsc_hz = rte_get_tsc_hz();
        context_.ports = ports_.data();
        context_.adjacencies = adjacencies_.data();
        context_.captures = captures_.data();
        context_.fib = fib_->view();
        context_.counters = counters_.get();
        context_.pool = pool;
    }

    WorkerContext& context() { return context_; }
    const PortConfig* in() const { return &configs_[0]; }

  private:
    void add_port(PortId id, const Mac& mac, const char* ipv4, const char* ipv6) {
        TxPort& tx = devices_[id.value() - 1];
        tx.transmit = free_all;
        tx.port = id;
        tx.offloads = kTxChecksum | kTxTso4 | kTxTso6 | kTxMultiSegment;
        tx.ready = true;
        PortConfig& config = configs_[id.value() - 1];
        config.id = id;
        config.flags = kPortSecurity | kFilterOpen;
        config.mac = mac;
        config.router_mac = kGatewayMac;
        config.tx = &tx;
        config.gateway4 = parse_ip("169.254.0.1")->ipv4();
        config.gateway6 = parse_ip("fe80::1")->ipv6();
        for (const char* address : {ipv4, ipv6}) {
            config.sources[config.source_count++] =
                SourcePair{.prefix = parse_prefix(address).value(), .mac = mac, .fixed = true};
        }
        ports_[id.value()] = &config;
    }

    NoReaders reclaimer_;
    std::unique_ptr<Fib> fib_;
    std::unique_ptr<WorkerCounterBlock> counters_;
    std::vector<const PortConfig*> ports_;
    std::vector<Adjacency> adjacencies_;
    std::vector<Capture*> captures_;
    std::array<TxPort, 2> devices_;
    std::array<PortConfig, 2> configs_;
    WorkerContext context_;
};

// Makes the bursts of one family, flow after flow.
class Sender {
  public:
    Sender(rte_mempool* pool, bool ipv6) : pool_(pool) {
        for (unsigned flow = 0; flow < kFlows; ++flow) {
            const std::string to = destination(ipv6, flow);
            const test::Layer ip =
                ipv6 ? test::ip6("2001:db8::1", to) : test::ip4("10.254.255.1", to);
            frames_.push_back((test::eth(kFromMac, kGatewayMac) / ip /
                               test::udp(1024, static_cast<uint16_t>(flow)) /
                               test::raw(test::counting(ipv6 ? 2 : 18)))
                                  .bytes());
        }
    }

    void fill(Burst& burst) {
        if (rte_pktmbuf_alloc_bulk(pool_, burst.packets.data(), kBurstSize) != 0) std::abort();
        for (rte_mbuf* packet : burst.packets) {
            const Bytes& frame = frames_[next_++ % kFlows];
            std::memcpy(rte_pktmbuf_mtod(packet, void*), frame.data(), frame.size());
            packet->data_len = static_cast<uint16_t>(frame.size());
            packet->pkt_len = packet->data_len;
        }
        burst.live = UINT32_MAX;
    }

  private:
    rte_mempool* pool_;
    std::vector<Bytes> frames_;
    unsigned next_ = 0;
};

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

// stage: empty for the whole.
void measure(benchmark::State& state, rte_mempool* pool, bool ipv6, const std::string& stage) {
    Router router(pool);
    Sender sender(pool, ipv6);
    std::vector<uint64_t> cycles;
    for (auto _ : state) {
        Burst burst;
        burst.in = router.in();
        sender.fill(burst);
        cycles.push_back(stage.empty() ? run_measured(router.context(), burst)
                                       : run_stages(router.context(), burst, stage));
    }
    if (router.context().port_counters(kFrom).forwarded.get() != cycles.size() * kBurstSize)
        state.SkipWithError("not every packet was forwarded");
    report(state, cycles);
}

void register_all(rte_mempool* pool) {
    for (const bool ipv6 : {false, true}) {
        const std::string family = ipv6 ? "ipv6/" : "ipv4/";
        const auto add = [&](const std::string& name, const std::string& stage) {
            benchmark::RegisterBenchmark((family + name).c_str(), [=](benchmark::State& state) {
                measure(state, pool, ipv6, stage);
            })->Iterations(20000);
        };
        add("pipeline", "");
        for (const Stage& stage : kDecisionStages)
            add(stage.name, stage.name);
        for (const Stage& stage : kSendingStages)
            add(stage.name, stage.name);
    }
}

}  // namespace
}  // namespace slash32

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    std::array<const char*, 9> eal{"pipeline_bench", "--no-huge",  "--no-shconf",
                                   "--no-telemetry", "-m",         "256",
                                   "--no-pci",       "--lcores=0", nullptr};
    if (rte_eal_init(static_cast<int>(eal.size()) - 1, const_cast<char**>(eal.data())) < 0)
        return 1;
    rte_mempool* pool = rte_pktmbuf_pool_create("bench", slash32::kPoolSize, slash32::kPoolCache,
                                                64, 2176, SOCKET_ID_ANY);
    if (pool == nullptr) return 1;
    slash32::register_all(pool);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
