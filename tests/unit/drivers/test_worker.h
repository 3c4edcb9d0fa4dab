// SPDX-License-Identifier: Apache-2.0
// The least that can stand for a worker in driver tests: one thread that polls queues, sleeps on
// their wake_fd as the real one does, reports to a QSBR variable, and passes what comes in on one
// port out of another.
#pragma once

#include "dp/abi/device.h"
#include "drivers/driver_event.h"

#include <rte_rcu_qsbr.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

struct rte_mempool;

namespace slash32::testing {

// DPDK, started once for the test program, without hugepages. The pool of all tests.
rte_mempool* packet_pool();
// A fresh directory that goes away at the end of the program.
std::string scratch_directory();

class TestWorker {
  public:
    TestWorker();
    ~TestWorker();

    // What arrives on `in` leaves through `out`.
    void connect(const PortHandles& in, TxPort* out);
    void disconnect(const PortHandles& in);
    // Refers to no queue and no port any more. For the end of a test, before the driver goes.
    void disconnect_all();
    // Waits until the thread refers to nothing that it could see before.
    void synchronize();

    uint64_t received() const { return received_.load(); }
    uint64_t sent() const { return sent_.load(); }
    uint64_t loops() const { return loops_.load(); }
    // Called on the thread for each packet, before it is sent.
    std::function<void(rte_mbuf*)> inspect;

  private:
    struct Path {
        RxQueue* queue;
        TxPort* out;
        bool armed = false;
        unsigned empty = 0;
    };

    void run();
    bool poll(Path& path);
    void sleep();
    void change(std::function<void()> action);

    std::vector<uint8_t> qsbr_memory_;
    rte_rcu_qsbr* qsbr_;
    std::vector<Path> paths_;  // the thread's
    std::mutex mutex_;
    std::vector<std::function<void()>> actions_;
    std::atomic<uint64_t> asked_{0};
    std::atomic<uint64_t> carried_out_{0};
    std::atomic<bool> stop_{false};
    std::atomic<uint64_t> received_{0};
    std::atomic<uint64_t> sent_{0};
    std::atomic<uint64_t> loops_{0};
    int epoll_fd_;
    int doorbell_;
    std::thread thread_;
};

// Collects a driver's events and waits for one.
class EventLog {
  public:
    DriverEventHook hook();
    // The first event of the type for the port that has not been taken yet. False: none in time.
    bool wait(PortId port, DriverEventType type, int timeout_ms, DriverEvent* event = nullptr);
    size_t count(PortId port, DriverEventType type);

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<DriverEvent> events_;
    std::vector<bool> taken_;
};

}  // namespace slash32::testing
