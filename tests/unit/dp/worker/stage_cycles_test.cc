// SPDX-License-Identifier: Apache-2.0
// Cycle accounting: which bursts are measured, and what is counted of them.
#include "dp/worker/pipeline.h"
#include "tests/unit/dp/worker/worker_fixture.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace slash32::test {
namespace {

// A worker that the test polls, so that it is known what a burst is.
class StageCyclesTest : public WorkerTest {
  protected:
    void SetUp() override {
        WorkerTest::SetUp();
        lab_.tx(kVm1).transmit = lab_.tx(kVm2).transmit;
        resources_.busy = true;
        worker_ = std::make_unique<Worker>(resources_);
        ASSERT_TRUE(worker_->ok());
        publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
        worker_->poll_once();
    }
    void account(bool enabled) {
        publisher_->broadcast(Command::set_stage_cycles(enabled));
        worker_->poll_once();
    }
    // Until the packets that were put have been taken.
    void poll() {
        forbid_allocation = true;
        while (worker_->poll_once() == 0) {
        }
        forbid_allocation = false;
    }
    void run_bursts(unsigned count, unsigned packets) {
        for (unsigned n = 0; n < count; ++n) {
            send(packets);
            poll();
        }
    }
    const StageCounters& stage(const char* name) const {
        const auto* at = std::ranges::find(kMeasuredStages, std::string_view(name));
        return counters_->stages[static_cast<size_t>(at - kMeasuredStages.begin())];
    }
};

TEST_F(StageCyclesTest, OneBurstOf64IsMeasuredAndNoneWhenOff) {
    struct Turn {
        bool enabled;
        unsigned bursts;
        uint64_t measured;  // since the start
    };
    constexpr Turn kTurns[] = {{false, 2 * kStageSampling, 0},
                               {true, kStageSampling, 1},
                               {true, 4 * kStageSampling, 5},
                               {false, 2 * kStageSampling, 5},
                               {true, kStageSampling, 6}};
    for (const Turn& turn : kTurns) {
        account(turn.enabled);
        run_bursts(turn.bursts, 3);
        for (size_t i = 0; i < kMaxStages; ++i) {
            const StageCounters& counters = counters_->stages[i];
            const bool exists = i < kMeasuredStages.size();
            EXPECT_EQ(counters.bursts.get(), exists ? turn.measured : 0) << i;
            EXPECT_EQ(counters.packets.get(), exists ? 3 * turn.measured : 0) << i;
            EXPECT_EQ(counters.cycles.get() > 0, exists && turn.measured > 0) << i;
        }
    }
    EXPECT_EQ(forwarded(), 3 * counters_->worker.bursts.get());
}

TEST_F(StageCyclesTest, EachStageFindsThePacketsThatAreLeft) {
    const Layer from_vm1 = eth(kVm1Mac, kGatewayMac);
    const Bytes frames[] = {
        (from_vm1 / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2)).bytes(),
        (from_vm1 / ip4("10.0.0.1", "10.0.0.2") / udp(1, 3)).bytes(),
        Bytes(20),
        (from_vm1 / ip4("10.0.0.99", "10.0.0.2") / udp(1, 2)).bytes(),
        (eth(kVm1Mac, kBroadcastMac) / arp(1, kVm1Mac, "10.0.0.1", kZeroMac, "10.0.0.254")).bytes(),
        (from_vm1 / ip4("10.0.0.1", "10.0.0.77") / udp(1, 2)).bytes(),
    };
    constexpr std::pair<const char*, uint64_t> kFound[] = {
        {"receive", 6},
        {"parse", 6},
        {"port_security", 5},  // one was cut short
        {"arp", 4},            // one had another's address
        {"nd", 3},             // one was answered
        {"echo", 3},
        {"find_flows", 3},
        {"route", 3},
        {"filter_ingress", 2},  // one has no route
        {"rewrite", 2},
        {"offload", 4},  // the answer and the error leave, too
        {"transmit", 4},
    };
    account(true);
    for (const Bytes& frame : frames)
        queue_.put(lab_.make_mbuf(Input{.bytes = frame}));
    poll();
    for (const auto& [name, packets] : kFound) {
        EXPECT_EQ(stage(name).packets.get(), packets) << name;
        EXPECT_EQ(stage(name).bursts.get(), 1u) << name;
    }
}

TEST_F(StageCyclesTest, QueuesThatTakeTurnsAreBothMeasured) {
    FakeQueue second(kVm1);
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &second));
    account(true);
    const Bytes frame =
        (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2)).bytes();
    constexpr uint64_t kMeasured = 64;
    for (unsigned n = 0; n < kMeasured * kStageSampling / 2; ++n) {
        send(2);
        second.put(lab_.make_mbuf(Input{.bytes = frame}));
        poll();
    }
    ASSERT_EQ(stage("receive").bursts.get(), kMeasured);
    const uint64_t of_first = stage("receive").packets.get() - kMeasured;
    EXPECT_GT(of_first, kMeasured / 4);
    EXPECT_LT(of_first, kMeasured * 3 / 4);
    publisher_->broadcast(Command::rx_queue(Opcode::kRemoveRxQueue, &second));
    worker_->poll_once();
}

}  // namespace
}  // namespace slash32::test
