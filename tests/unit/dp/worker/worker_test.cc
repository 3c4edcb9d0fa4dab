// SPDX-License-Identifier: Apache-2.0
// A whole worker on its own thread, fed by a queue of the test's.
#include "tests/unit/dp/worker/worker_fixture.h"

#include <algorithm>

namespace slash32::test {
namespace {

TEST_F(WorkerTest, ForwardsWithoutAllocating) {
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    start();
    send(1000);
    EXPECT_TRUE(eventually([this] { return forwarded() == 1000; })) << forwarded();
    EXPECT_EQ(counters_->worker.packets.get(), 1000u);
}

TEST_F(WorkerTest, SendsWhatControlHasMade) {
    start();
    const auto available = [this] { return rte_mempool_avail_count(lab_.context().pool); };
    const unsigned before = available();
    const auto made = [this] {
        rte_mbuf* packet = rte_pktmbuf_alloc(lab_.context().pool);
        rte_pktmbuf_append(packet, 64);
        return packet;
    };
    publisher_->broadcast(Command::transmit(kVm2, made()));
    publisher_->broadcast(Command::transmit(kPortThatIsGone, made()));
    ASSERT_TRUE(acknowledged());
    const PortCounters& counters = counters_->ports[kVm2.value()];
    EXPECT_EQ(counters.injected.get(), 1u);
    EXPECT_EQ(counters.forwarded.get(), 1u);
    EXPECT_EQ(counters.tx_packets.get(), 1u);
    stop();
    EXPECT_EQ(available(), before);
}

TEST_F(WorkerTest, SleepsWhenQuietAndWakesForAPacket) {
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    start();
    for (uint64_t n = 1; n <= 20; ++n) {
        ASSERT_TRUE(eventually([this] { return queue_.is_armed() && ring_->asleep(); })) << n;
        send(1);
        ASSERT_TRUE(eventually([&] { return forwarded() == n; })) << n;
    }
    EXPECT_GE(counters_->worker.sleeps.get(), 20u);
}

TEST_F(WorkerTest, SleeperIsWokenByACommandAndAcknowledgesIt) {
    start();
    ASSERT_TRUE(acknowledged());
    for (int n = 0; n < 20; ++n) {
        ASSERT_TRUE(eventually([this] { return ring_->asleep(); }));
        publisher_->broadcast(Command{});
        ASSERT_TRUE(acknowledged());
    }
    // And control hears of it without asking.
    uint64_t rings = 0;
    EXPECT_EQ(read(control_doorbell_, &rings, sizeof rings), static_cast<ssize_t>(sizeof rings));
}

TEST_F(WorkerTest, SleeperHoldsUpNoGracePeriod) {
    start();
    ASSERT_TRUE(eventually([this] { return ring_->asleep(); }));
    bool done = false;
    publisher_->when_quiescent([&] { done = true; });
    EXPECT_TRUE(eventually([&] {
        publisher_->poll();
        return done;
    }));
}

TEST_F(WorkerTest, CommandHoldsForThePacketsAfterIt) {
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    start();
    ASSERT_TRUE(eventually([this] { return ring_->asleep(); }));
    publisher_->broadcast(Command::set_port(kVm2, nullptr));
    ASSERT_TRUE(acknowledged());
    send(3);
    EXPECT_TRUE(eventually([this] { return drops(DropReason::kPortGone) == 3; }));
    publish(kVm2);
    ASSERT_TRUE(acknowledged());
    send(3);
    EXPECT_TRUE(eventually([this] { return forwarded() == 3; }));
}

TEST_F(WorkerTest, PacketsOfAPortThatIsGoneAreCounted) {
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    publisher_->broadcast(Command::set_port(kVm1, nullptr));
    start();
    send(5);
    EXPECT_TRUE(eventually([this] { return drops(DropReason::kPortGone) == 5; }));
    EXPECT_EQ(received(), 5u);
}

TEST_F(WorkerTest, RemovedQueueIsNotTouchedAgain) {
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    start();
    send(10);
    ASSERT_TRUE(eventually([this] { return forwarded() == 10; }));
    publisher_->broadcast(Command::rx_queue(Opcode::kRemoveRxQueue, &queue_));
    ASSERT_TRUE(acknowledged());
    send(10);
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(received(), 10u);
    // And it may come back, also after it was armed.
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    EXPECT_TRUE(eventually([this] { return forwarded() == 20; }));
    ASSERT_TRUE(eventually([this] { return queue_.is_armed(); }));
    publisher_->broadcast(Command::rx_queue(Opcode::kRemoveRxQueue, &queue_));
    EXPECT_TRUE(acknowledged());
}

TEST_F(WorkerTest, ManyQueuesComeAndGo) {
    std::vector<std::unique_ptr<FakeQueue>> queues(100);
    for (auto& queue : queues)
        queue = std::make_unique<FakeQueue>(kVm1);
    start();
    for (int round = 0; round < 3; ++round) {
        for (auto& queue : queues)
            publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, queue.get()));
        ASSERT_TRUE(eventually([&] {
            return std::ranges::all_of(queues, [](auto& queue) { return queue->is_armed(); });
        }));
        for (auto& queue : queues)
            publisher_->broadcast(Command::rx_queue(Opcode::kRemoveRxQueue, queue.get()));
        ASSERT_TRUE(acknowledged());
    }
}

TEST_F(WorkerTest, QueueWithoutInterruptIsPolledOnATimer) {
    close(queue_.wake_fd);
    queue_.wake_fd = -1;
    queue_.arm = nullptr;
    queue_.disarm = nullptr;
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    start();
    ASSERT_TRUE(eventually([this] { return ring_->asleep(); }));
    send(1);
    EXPECT_TRUE(eventually([this] { return forwarded() == 1; }));
}

TEST_F(WorkerTest, BusyWorkerNeverSleeps) {
    resources_.busy = true;
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    start();
    ASSERT_TRUE(acknowledged());
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(counters_->worker.sleeps.get(), 0u);
    EXPECT_GT(counters_->worker.idle_cycles.get(), 0u);
}

}  // namespace
}  // namespace slash32::test
