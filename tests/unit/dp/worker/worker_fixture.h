// SPDX-License-Identifier: Apache-2.0
// A worker with two ports and a queue of the test's.
#pragma once

#include "ctrl/publish/publisher.h"
#include "dp/worker/worker.h"
#include "tests/support/lab.h"
#include "tests/support/quiescent.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace slash32::test {

#ifdef S32_NO_ALLOCATION_GUARD
inline thread_local bool forbid_allocation = false;
#else
extern thread_local bool forbid_allocation;  // allocation_guard.cc
#endif

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

}  // namespace slash32::test
