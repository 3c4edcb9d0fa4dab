// SPDX-License-Identifier: Apache-2.0
// The tables and pieces that the stages are made of, each by itself: flow lookup and insertion by
// the number of flows, policy by the number of rules, checksums by length, segmentation, the
// command ring and the publisher. fib_bench has the routes, pipeline_bench the stages.
//
// "items" are lookups, bytes or commands; "cycles/item" counts the TSC over the whole loop.
#include "ctrl/flow/flow_memory.h"
#include "ctrl/policy/address_sets.h"
#include "ctrl/policy/compile.h"
#include "ctrl/publish/publisher.h"
#include "dp/abi/command_ring.h"
#include "dp/packet/checksum.h"
#include "dp/packet/segment.h"
#include "dp/table/flow_key.h"
#include "dp/table/flow_table.h"
#include "dp/table/policy.h"
#include "tests/support/packet.h"
#include "tests/support/quiescent.h"

#include <benchmark/benchmark.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

namespace slash32::bench {
namespace {

constexpr unsigned kPoolSize = 8191;

class NoReaders final : public Reclaimer {
  public:
    void defer(Callback callback, void* argument) override { callback(argument); }
    void drain() override {}
};

// Counts the items of a benchmark, and the cycles from here to there.
class Items {
  public:
    explicit Items(benchmark::State& state) : state_(state), start_(rte_rdtsc()) {}
    void done(double each) {
        const auto cycles = static_cast<double>(rte_rdtsc() - start_);
        const double items = static_cast<double>(state_.iterations()) * each;
        state_.SetItemsProcessed(static_cast<int64_t>(items));
        state_.counters["cycles/item"] = cycles / items;
    }

  private:
    benchmark::State& state_;
    uint64_t start_;
};

// Flow table --------------------------------------------------------------------------------------

// UDP from one VM to another, the n-th flow.
FlowKey key_of(uint32_t n) {
    const Ip4 from{Be32{0x0a000000u + (n >> 12)}};
    const Ip4 to{Be32{0x0b000000u + (n & 0xfff)}};
    return {.source = flow_address(from),
            .destination = flow_address(to),
            .source_port = Be16{static_cast<uint16_t>(n)}.raw(),
            .destination_port = Be16{53}.raw(),
            .where = FlowKey::pack(PortId{1}, VrfId{0}, 17)};
}

class Flows {
  public:
    explicit Flows(uint32_t count) : quiescent_(test::make_quiescent(1)) {
        auto memory = FlowMemory::create({.flows = count, .workers = 1}, mapped_memory());
        if (!memory) return;
        memory_ = std::move(*memory);
        FlowTables& tables = memory_->tables();
        for (auto* limit : {&tables.limits.flows_per_port, &tables.limits.half_open_per_port,
                            &tables.limits.half_open}) {
            limit->store(UINT32_MAX);
        }
        table_ = FlowTable(&tables, quiescent_.get(), 0, 1);
    }
    bool made() const { return memory_ != nullptr; }
    FlowTable& table() { return table_; }

    bool add(uint32_t n) {
        DropReason why{};
        FlowEntry* entry = table_.allocate(PortId{1}, why);
        if (entry == nullptr) return false;
        entry->opening.key = key_of(n);
        entry->answers.key = reverse_key(key_of(n), PortId{2});
        entry->first.status.store({FlowState::kUdp, FlowPhase::kEmbryonic, 0});
        FlowRef other;
        return table_.link(*entry, 1, other) == FlowTable::Linked::kYes;
    }

  private:
    test::QuiescentPtr quiescent_;
    std::unique_ptr<FlowMemory> memory_;
    FlowTable table_;
};

void flow_lookup(benchmark::State& state) {
    const auto count = static_cast<uint32_t>(state.range(0));
    Flows flows(count);
    if (!flows.made()) return state.SkipWithError("no memory");
    // Of a million keys, about one finds both of its buckets full.
    std::vector<uint32_t> added;
    for (uint32_t n = 0; n < count; ++n) {
        if (flows.add(n)) added.push_back(n);
    }
    if (added.size() < count - count / 100'000 - 8) return state.SkipWithError("flows did not fit");
    // In an order that no prefetcher guesses.
    constexpr uint32_t kKeys = 65536;
    std::mt19937 random(1);
    std::vector<FlowKey> keys;
    for (uint32_t i = 0; i < kKeys; ++i)
        keys.push_back(key_of(added[random() % added.size()]));
    const FlowHasher hasher = flows.table().hasher();
    std::array<uint64_t, kBurstSize> hashes;
    std::array<FlowRef, kBurstSize> guesses;
    size_t at = 0;
    uint64_t missed = 0;
    Items items(state);
    for (auto _ : state) {
        for (unsigned i = 0; i < kBurstSize; ++i)
            hashes[i] = hasher.prepare(keys[at + i]);
        flows.table().guess_bulk(UINT32_MAX, hashes.data(), guesses.data());
        for (unsigned i = 0; i < kBurstSize; ++i)
            missed += !flows.table().confirm(guesses[i], keys[at + i], hashes[i]);
        at = (at + kBurstSize) % kKeys;
    }
    items.done(kBurstSize);
    if (missed != 0) state.SkipWithError("a flow was not found");
}
BENCHMARK(flow_lookup)->RangeMultiplier(16)->Range(1 << 10, 1 << 22)->Arg(1 << 24);

void flow_insertion(benchmark::State& state) {
    const auto count = static_cast<uint32_t>(state.max_iterations);
    Flows flows(count + 1);
    if (!flows.made()) return state.SkipWithError("no memory");
    uint32_t n = 0;
    uint64_t refused = 0;
    Items items(state);
    for (auto _ : state)
        refused += !flows.add(n++);
    items.done(1);
    if (refused > count / 100'000 + 8) state.SkipWithError("flows did not fit");
}
BENCHMARK(flow_insertion)->Iterations(1 << 20);

// Policy ------------------------------------------------------------------------------------------

// Half of the rules name a remote address, half a range of ports; the last takes what is asked.
void policy(benchmark::State& state) {
    const auto count = static_cast<uint32_t>(state.range(0));
    std::vector<PolicyRule> rules;
    for (uint32_t n = 0; n + 1 < count; ++n) {
        PolicyRule rule;
        rule.protocol = static_cast<uint8_t>(n % 2 == 0 ? 17 : 6);
        if (n % 2 == 0) rule.prefix = IpPrefix{Ip4{Be32{0xac100000u + n}}, 32};
        if (n % 2 != 0) rule.low = rule.high = static_cast<uint16_t>(10000 + n);
        rule.id = RuleId{static_cast<uint16_t>(n + 1)};
        rules.push_back(rule);
    }
    PolicyRule last;
    last.protocol = 17;
    last.id = RuleId{static_cast<uint16_t>(count)};
    rules.push_back(last);
    auto compiled = compile_policy(rules, 1);
    NoReaders reclaimer;
    Generations generations;
    auto sets = AddressSets::create(mapped_memory(), reclaimer, generations);
    if (!compiled || !sets) return state.SkipWithError("no memory");
    const AddressSetView view{(*sets)->view(), &generations};
    std::array<const PolicyTable*, kBurstSize> tables;
    std::array<PolicyQuery, kBurstSize> queries;
    std::array<PolicyVerdict, kBurstSize> verdicts;
    for (unsigned i = 0; i < kBurstSize; ++i) {
        tables[i] = (*compiled)->table(PolicyDirection::kIngress, false);
        queries[i] = {flow_address(Ip4{Be32{0x0a000000u + i}}), 17, static_cast<uint16_t>(i)};
    }
    Items items(state);
    for (auto _ : state) {
        classify_bulk(view, UINT32_MAX, tables.data(), queries.data(), verdicts.data());
        benchmark::DoNotOptimize(verdicts);
    }
    items.done(kBurstSize);
    if (!verdicts[0].allowed) state.SkipWithError("refused");
}
BENCHMARK(policy)->Arg(1)->Arg(100)->Arg(10000);

// Packets -----------------------------------------------------------------------------------------

void checksum(benchmark::State& state) {
    std::vector<uint8_t> bytes(static_cast<size_t>(state.range(0)), 0xa5);
    Items items(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(checksum_finish(checksum_add(0, bytes.data(), bytes.size())));
    items.done(static_cast<double>(bytes.size()));
}
BENCHMARK(checksum)->Arg(20)->Arg(64)->Arg(1460)->Arg(65536);

rte_mempool* g_pool = nullptr;

// One large segment of `range` bytes of payload in buffers of 2 KB, cut into packets of 1,448.
void segmentation(benchmark::State& state) {
    const auto payload = static_cast<size_t>(state.range(0));
    const test::Bytes frame =
        (test::eth(test::mac("02:00:00:00:00:01"), test::mac("02:00:00:00:00:02")) /
         test::ip4("10.0.0.1", "10.0.0.2") / test::tcp(1024, 80) /
         test::raw(test::counting(payload)))
            .bytes();
    rte_mbuf* packet = nullptr;
    rte_mbuf** end = &packet;
    uint16_t buffers = 0;
    for (size_t at = 0; at < frame.size(); ++buffers) {
        rte_mbuf* buffer = rte_pktmbuf_alloc(g_pool);
        if (buffer == nullptr) return state.SkipWithError("no buffers");
        const size_t room = rte_pktmbuf_tailroom(buffer);
        const size_t part = std::min(room, frame.size() - at);
        std::memcpy(rte_pktmbuf_mtod(buffer, uint8_t*), &frame[at], part);
        buffer->data_len = static_cast<uint16_t>(part);
        at += part;
        *end = buffer;
        end = &buffer->next;
    }
    packet->nb_segs = buffers;
    packet->pkt_len = static_cast<uint32_t>(frame.size());
    packet->tso_segsz = 1448;
    PacketMeta meta;
    meta.kind = PacketKind::kIpv4;
    meta.protocol = 6;
    meta.l3 = rte_pktmbuf_mtod_offset(packet, uint8_t*, 14);
    meta.l3_length = 20;
    meta.l4_length = 20;
    meta.ip_length = static_cast<uint16_t>(frame.size() - 14);
    Items items(state);
    for (auto _ : state) {
        PacketList parts;
        if (segment_tcp(packet, meta, g_pool, parts) != CutResult::kDone)
            return state.SkipWithError("not cut");
        parts.free();
    }
    items.done(static_cast<double>(payload));
    rte_pktmbuf_free(packet);
}
BENCHMARK(segmentation)->Arg(4344)->Arg(60816);

// Commands ----------------------------------------------------------------------------------------

void command_ring(benchmark::State& state) {
    auto ring = std::make_unique<CommandRing>();
    Command command{};
    command.opcode = Opcode::kBarrier;
    Items items(state);
    for (auto _ : state) {
        ring->push(command);
        Command taken;
        ring->pop(taken);
        ring->acknowledge(taken.sequence);
    }
    items.done(1);
}
BENCHMARK(command_ring);

// A command to each of `range` workers, until all have acknowledged it.
void publisher(benchmark::State& state) {
    const auto workers = static_cast<unsigned>(state.range(0));
    std::vector<std::unique_ptr<CommandRing>> rings;
    std::vector<WorkerChannel> channels;
    for (unsigned i = 0; i < workers; ++i) {
        rings.push_back(std::make_unique<CommandRing>());
        channels.push_back({rings.back().get(), -1});
    }
    const test::QuiescentPtr quiescent = test::make_quiescent(workers);
    Publisher control(channels, quiescent.get());
    uint64_t done = 0;
    Command command{};
    command.opcode = Opcode::kBarrier;
    Items items(state);
    for (auto _ : state) {
        control.broadcast(command);
        control.when_acknowledged([&done] { ++done; });
        for (auto& ring : rings) {
            Command taken;
            while (ring->pop(taken))
                ring->acknowledge(taken.sequence);
        }
        control.poll();
    }
    items.done(1);
    if (done != static_cast<uint64_t>(state.iterations())) state.SkipWithError("not acknowledged");
}
BENCHMARK(publisher)->Arg(1)->Arg(8);

}  // namespace
}  // namespace slash32::bench

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    std::array<const char*, 9> eal{"tables_bench",   "--no-huge",  "--no-shconf",
                                   "--no-telemetry", "-m",         "256",
                                   "--no-pci",       "--lcores=0", nullptr};
    if (rte_eal_init(static_cast<int>(eal.size()) - 1, const_cast<char**>(eal.data())) < 0)
        return 1;
    slash32::bench::g_pool = rte_pktmbuf_pool_create("bench", slash32::bench::kPoolSize, 256, 64,
                                                     RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (slash32::bench::g_pool == nullptr) return 1;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
