// SPDX-License-Identifier: Apache-2.0
// Two workers on the two directions of the same connections, while control publishes policies and
// changes sets: what ThreadSanitizer is to look at.
#include "ctrl/flow/flow_memory.h"
#include "ctrl/policy/compile.h"
#include "ctrl/publish/publisher.h"
#include "dp/packet/headers.h"
#include "dp/worker/worker.h"
#include "tests/support/lab.h"
#include "tests/support/quiescent.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>

namespace slash32::test {
namespace {

constexpr unsigned kWorkers = 2;
constexpr unsigned kMbufs = 32;
constexpr uint16_t kConnections = 16;

// Gives random ones of its packets, in buffers that are its own: whoever frees one only lowers its
// count.
struct Feed : RxQueue {
    Feed(PortId id, Lab& lab, std::vector<Bytes> of, uint32_t seed)
        : packets(std::move(of)), random(seed) {
        port = id;
        for (rte_mbuf*& mbuf : mbufs)
            mbuf = lab.make_mbuf(Input{.bytes = packets[0]});
        receive = [](RxQueue& queue, rte_mbuf** out, uint16_t n) {
            return static_cast<Feed&>(queue).give(out, n);
        };
    }
    Feed(const Feed&) = delete;
    ~Feed() {
        for (rte_mbuf* mbuf : mbufs) {
            rte_mbuf_refcnt_set(mbuf, 1);
            rte_pktmbuf_free(mbuf);
        }
    }

    uint16_t give(rte_mbuf** out, uint16_t n) {
        for (uint16_t i = 0; i < n; ++i) {
            rte_mbuf* mbuf = mbufs[i % kMbufs];
            rte_pktmbuf_reset(mbuf);
            rte_mbuf_refcnt_set(mbuf, 2);
            const Bytes& bytes = packets[random() % packets.size()];
            std::memcpy(rte_pktmbuf_mtod(mbuf, void*), bytes.data(), bytes.size());
            mbuf->data_len = static_cast<uint16_t>(bytes.size());
            mbuf->pkt_len = mbuf->data_len;
            out[i] = mbuf;
        }
        given.fetch_add(n, std::memory_order_relaxed);
        return n;
    }

    std::vector<Bytes> packets;
    std::mt19937 random;
    std::array<rte_mbuf*, kMbufs> mbufs{};
    std::atomic<uint64_t> given{0};
};

// All that an end may send in its connections: TCP opened, used, closed and reset, UDP, echo.
std::vector<Bytes> packets_of(bool client) {
    std::vector<Bytes> packets;
    const auto add = [&](Layer transport) {
        packets.push_back((eth(client ? kVm1Mac : kVm2Mac, kGatewayMac) /
                           ip4(client ? "10.0.0.1" : "10.0.0.2", client ? "10.0.0.2" : "10.0.0.1") /
                           std::move(transport))
                              .bytes());
    };
    for (uint16_t n = 0; n < kConnections; ++n) {
        const auto port = static_cast<uint16_t>(4000 + n);
        const uint16_t from = client ? port : uint16_t{80};
        const uint16_t to = client ? uint16_t{80} : port;
        for (const uint8_t flags : Bytes{0x02, 0x12, 0x10, 0x18, 0x11, 0x04}) {
            Layer segment = tcp(from, to).flags(flags).seq(flags == 0x02 ? 999 : 1000);
            add(segment.set(8, be32(1000)).set(14, be16(60000)));
        }
        add(udp(from, to));
        add(icmp4(client ? uint8_t{8} : uint8_t{0}, 0, uint32_t{port} << 16));
    }
    return packets;
}

class FirewallRace : public testing::Test {
  protected:
    FirewallRace() {
        quiescent_ = make_quiescent(kWorkers);
        flows_ =
            std::move(*FlowMemory::create({.flows = 64, .workers = kWorkers}, mapped_memory()));
        flows_->tables().limits.flows_per_port = 64;
        flows_->tables().limits.half_open_per_port = 64;
        flows_->tables().limits.half_open = 64;
        set_ = lab_.sets().make().value();
        for (unsigned n = 0; n < kWorkers; ++n) {
            doorbells_[n] = eventfd(0, EFD_NONBLOCK);
            control_doorbells_[n] = eventfd(0, EFD_NONBLOCK);
            rings_[n] = std::make_unique<CommandRing>();
            counters_[n] = std::make_unique<WorkerCounterBlock>();
        }
        publisher_ = std::make_unique<Publisher>(
            std::vector<WorkerChannel>{{rings_[0].get(), doorbells_[0]},
                                       {rings_[1].get(), doorbells_[1]}},
            quiescent_.get());
        for (const PortId id : {kVm1, kVm2}) {
            lab_.tx(id).transmit = [](TxPort&, WorkerId, rte_mbuf**, uint16_t n) { return n; };
            publish(id, 0);
        }
        publisher_->broadcast(Command::set_adjacency(kHopVm1, lab_.adjacency(kHopVm1)));
        publisher_->broadcast(Command::set_adjacency(kHopVm2, lab_.adjacency(kHopVm2)));
    }
    ~FirewallRace() override {
        for (unsigned n = 0; n < kWorkers; ++n) {
            close(doorbells_[n]);
            close(control_doorbells_[n]);
        }
    }

    // A new policy: the client may send all, the server takes TCP, and UDP from the set's members.
    void publish(PortId id, unsigned round) {
        std::vector<PolicyRule> rules{any(PolicyDirection::kEgress)};
        if (id == kVm2) {
            rules.assign(2, any(PolicyDirection::kIngress));
            rules[0].protocol = kProtoTcp;
            rules[1].protocol = kProtoUdp;
            rules[1].set = set_;
            if (round % 4 == 3) rules[0].high = 79;
        }
        policies_.push_back(std::move(*compile_policy(rules, ++generation_)));
        configs_.push_back(std::make_unique<PortConfig>(lab_.port(id)));
        configs_.back()->policy = policies_.back().get();
        publisher_->broadcast(Command::set_port(id, configs_.back().get()));
        lab_.generations().raise_epoch();
    }

    std::unique_ptr<Worker> make_worker(unsigned n) {
        const WorkerContext& lab = lab_.context();
        return std::make_unique<Worker>(WorkerResources{.id = WorkerId{static_cast<uint8_t>(n)},
                                                        .ring = rings_[n].get(),
                                                        .doorbell = doorbells_[n],
                                                        .control_doorbell = control_doorbells_[n],
                                                        .quiescent = quiescent_.get(),
                                                        .counters = counters_[n].get(),
                                                        .fib = lab.fib,
                                                        .flows = &flows_->tables(),
                                                        .workers = kWorkers,
                                                        .sets = lab.sets,
                                                        .pool = lab.pool,
                                                        .capture_pool = lab.capture_pool,
                                                        .punt_ring = lab.punt_ring,
                                                        .capture_ring = lab.capture_ring,
                                                        .busy = true});
    }

    uint64_t sum(PortId port) const {
        uint64_t packets = 0;
        for (const auto& counters : counters_) {
            const PortCounters& of = counters->ports[port.value()];
            packets += of.forwarded.get();
            for (const Counter& drop : of.drops)
                packets += drop.get();
        }
        return packets;
    }

    Lab lab_;
    QuiescentPtr quiescent_;
    std::unique_ptr<FlowMemory> flows_;
    SetId set_;
    std::array<int, kWorkers> doorbells_{};
    std::array<int, kWorkers> control_doorbells_{};
    std::array<std::unique_ptr<CommandRing>, kWorkers> rings_;
    std::array<std::unique_ptr<WorkerCounterBlock>, kWorkers> counters_;
    std::unique_ptr<Publisher> publisher_;
    std::vector<PolicyPtr> policies_;
    std::vector<std::unique_ptr<PortConfig>> configs_;
    uint32_t generation_ = 0;
};

TEST_F(FirewallRace, BothDirectionsOnTwoWorkersUnderChanges) {
#ifdef S32_SANITIZED
    constexpr unsigned kRounds = 100;
#else
    constexpr unsigned kRounds = 400;
#endif
    Feed from_client{kVm1, lab_, packets_of(true), 1};
    Feed from_server{kVm2, lab_, packets_of(false), 2};
    publisher_->send(0, Command::rx_queue(Opcode::kAddRxQueue, &from_client));
    publisher_->send(1, Command::rx_queue(Opcode::kAddRxQueue, &from_server));
    {
        const auto workers = std::array{make_worker(0), make_worker(1)};
        std::array<std::thread, kWorkers> threads;
        for (unsigned n = 0; n < kWorkers; ++n) {
            ASSERT_TRUE(workers[n]->ok());
            threads[n] = std::thread([worker = workers[n].get()] { worker->run(); });
        }
        const IpPrefix member = parse_prefix("10.0.0.1").value();
        for (unsigned round = 0; round < kRounds; ++round) {
            publish(round % 2 == 0 ? kVm1 : kVm2, round / 2);
            if (round % 3 == 0) {
                ASSERT_TRUE(lab_.sets().add(set_, member));
            } else {
                lab_.sets().remove(set_, member);
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            publisher_->poll();
        }
        // The last change permits flows again: both have time for some.
        for (const Feed* feed : {&from_client, &from_server}) {
            const uint64_t enough = feed->given.load() + 1000;
            for (int ms = 0; ms < 10'000 && feed->given.load() < enough; ++ms) {
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
                publisher_->poll();
            }
        }
        for (const auto& worker : workers)
            worker->stop();
        for (std::thread& thread : threads)
            thread.join();
    }
    // Each packet was counted once, both ends were heard, and no flow is counted that is not there.
    EXPECT_EQ(sum(kVm1), from_client.given.load());
    EXPECT_EQ(sum(kVm2), from_server.given.load());
    for (unsigned n = 0; n < kWorkers; ++n) {
        const PortId port = n == 0 ? kVm1 : kVm2;
        EXPECT_GT(counters_[n]->ports[port.value()].forwarded.get(), 1000u);
    }
    uint32_t there = 0;
    const FlowTables& tables = flows_->tables();
    for (uint32_t i = 0; i < tables.entry_count; ++i)
        there += tables.summaries[i].expires.load() != 0;
    EXPECT_GT(there, 0u);
    EXPECT_LE(there, tables.used.load());
    EXPECT_LE(tables.used.load(), 64u);
}

}  // namespace
}  // namespace slash32::test
