// SPDX-License-Identifier: Apache-2.0
// A whole worker on its own thread, fed by a queue of the test's.
#include "dp/worker/worker.h"

#include "ctrl/publish/publisher.h"
#include "tests/support/lab.h"
#include "tests/support/quiescent.h"

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace slash32::test {
#ifdef S32_NO_ALLOCATION_GUARD
thread_local bool forbid_allocation = false;
#else
extern thread_local bool forbid_allocation;  // allocation_guard.cc
#endif

namespace {

using namespace std::chrono_literals;

// Holds packets until they are polled; signals its descriptor as a device would when armed.
struct FakeQueue : RxQueue {
    explicit FakeQueue(PortId id) {
        port = id;
        wake_fd = eventfd(0, EFD_NONBLOCK);
        receive = [](RxQueue& q, rte_mbuf** out, uint16_t n) {
            auto& self = static_cast<FakeQueue&>(q);
            const std::lock_guard lock(self.mutex);
            uint16_t count = 0;
            while (count < n && !self.packets.empty()) {
                out[count++] = self.packets.front();
                self.packets.pop_front();
            }
            return count;
        };
        arm = [](RxQueue& q) {
            auto& self = static_cast<FakeQueue&>(q);
            const std::lock_guard lock(self.mutex);
            self.armed = true;
            ++self.arms;
        };
        disarm = [](RxQueue& q) {
            auto& self = static_cast<FakeQueue&>(q);
            const std::lock_guard lock(self.mutex);
            self.armed = false;
            uint64_t value = 0;
            [[maybe_unused]] const ssize_t got = read(self.wake_fd, &value, sizeof value);
        };
    }
    FakeQueue(const FakeQueue&) = delete;
    ~FakeQueue() { close(wake_fd); }

    void put(rte_mbuf* packet) {
        const std::lock_guard lock(mutex);
        packets.push_back(packet);
        if (armed) {
            const uint64_t one = 1;
            [[maybe_unused]] const ssize_t put = write(wake_fd, &one, sizeof one);
        }
    }
    bool is_armed() {
        const std::lock_guard lock(mutex);
        return armed;
    }

    std::mutex mutex;
    std::deque<rte_mbuf*> packets;
    bool armed = false;
    int arms = 0;
};

class WorkerTest : public testing::Test {
  protected:
    void SetUp() override {
        quiescent_ = make_quiescent(1);
        doorbell_ = eventfd(0, EFD_NONBLOCK);
        control_doorbell_ = eventfd(0, EFD_NONBLOCK);
        const WorkerContext& lab = lab_.context();
        resources_ = WorkerResources{.id = WorkerId{0},
                                     .ring = ring_.get(),
                                     .doorbell = doorbell_,
                                     .control_doorbell = control_doorbell_,
                                     .quiescent = quiescent_.get(),
                                     .counters = counters_.get(),
                                     .fib = lab.fib,
                                     .pool = lab.pool,
                                     .capture_pool = lab.capture_pool,
                                     .punt_ring = lab.punt_ring,
                                     .capture_ring = lab.capture_ring};
        publisher_ = std::make_unique<Publisher>(
            std::vector<WorkerChannel>{{ring_.get(), doorbell_}}, quiescent_.get());
        // The lab's ports record what they send, which allocates.
        lab_.tx(kVm2).transmit = [](TxPort&, WorkerId, rte_mbuf** packets, uint16_t n) {
            rte_pktmbuf_free_bulk(packets, n);
            return n;
        };
        for (const PortId id : {kVm1, kVm2})
            publish(id);
        publisher_->broadcast(Command::set_adjacency(kHopVm1, lab_.adjacency(kHopVm1)));
        publisher_->broadcast(Command::set_adjacency(kHopVm2, lab_.adjacency(kHopVm2)));
    }
    void TearDown() override {
        stop();
        for (rte_mbuf* packet : queue_.packets)
            rte_pktmbuf_free(packet);
        close(doorbell_);
        close(control_doorbell_);
    }

    void publish(PortId id) { publisher_->broadcast(Command::set_port(id, &lab_.port(id))); }
    void start() {
        worker_ = std::make_unique<Worker>(resources_);
        ASSERT_TRUE(worker_->ok());
        thread_ = std::thread([this] {
            forbid_allocation = true;
            worker_->run();
            forbid_allocation = false;
        });
    }
    void stop() {
        if (!thread_.joinable()) return;
        worker_->stop();
        thread_.join();
    }
    // Waits for a condition that the worker brings about.
    template <typename F>
    testing::AssertionResult eventually(F&& condition) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return testing::AssertionFailure();
            std::this_thread::sleep_for(100us);
        }
        return testing::AssertionSuccess();
    }
    testing::AssertionResult acknowledged() {
        return eventually([this] { return publisher_->state(0).lag() == 0; });
    }
    // Of vm1 to vm2, as many as given.
    void send(unsigned count) {
        const Bytes frame =
            (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2)).bytes();
        for (unsigned i = 0; i < count; ++i)
            queue_.put(lab_.make_mbuf(Input{.bytes = frame}));
    }
    uint64_t received() const { return counters_->ports[kVm1.value()].rx_packets.get(); }
    uint64_t forwarded() const { return counters_->ports[kVm1.value()].forwarded.get(); }
    uint64_t drops(DropReason reason) const {
        return counters_->ports[kVm1.value()].drops[static_cast<size_t>(reason)].get();
    }

    Lab lab_;
    std::unique_ptr<CommandRing> ring_ = std::make_unique<CommandRing>();
    std::unique_ptr<WorkerCounterBlock> counters_ = std::make_unique<WorkerCounterBlock>();
    QuiescentPtr quiescent_;
    int doorbell_ = -1;
    int control_doorbell_ = -1;
    WorkerResources resources_;
    std::unique_ptr<Publisher> publisher_;
    FakeQueue queue_{kVm1};
    std::unique_ptr<Worker> worker_;
    std::thread thread_;
};

TEST_F(WorkerTest, ForwardsWithoutAllocating) {
    publisher_->broadcast(Command::rx_queue(Opcode::kAddRxQueue, &queue_));
    start();
    send(1000);
    EXPECT_TRUE(eventually([this] { return forwarded() == 1000; })) << forwarded();
    EXPECT_EQ(counters_->worker.packets.get(), 1000u);
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
