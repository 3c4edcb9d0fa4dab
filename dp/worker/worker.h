// SPDX-License-Identifier: Apache-2.0
// A poll-mode worker: polls its receive queues, runs bursts through the pipeline, carries out
// commands between bursts, and sleeps when nothing is to do.
//
// Thread safety: constructed and destroyed by control; run() belongs to the worker's thread; stop()
// may be called by any thread. Shared with control: the command ring, the counters, the
// quiescent-state variable, and the rings of punts.
// Invariants: a loop reports a quiescent state exactly once, between bursts; every command is
// carried out before the packets that arrive after it; a queue is either polled or armed.
// No allocation after construction.
#pragma once

#include "dp/abi/command_ring.h"
#include "dp/base/pages.h"
#include "dp/stage/context.h"

#include <atomic>
#include <cstdint>

struct rte_rcu_qsbr;

namespace slash32 {

struct WorkerResources {
    WorkerId id;
    CommandRing* ring = nullptr;
    int doorbell = -1;          // eventfd: control wakes the worker
    int control_doorbell = -1;  // eventfd: the worker wakes control
    rte_rcu_qsbr* quiescent = nullptr;
    WorkerCounterBlock* counters = nullptr;
    FibView fib;
    FlowTables* flows = nullptr;  // nullptr: no connection is tracked
    unsigned workers = 1;         // that share them
    AddressSetView sets;
    const SrDomain* domain = nullptr;  // nullptr: there is no segment routing
    HopUse* hop_use = nullptr;         // nullptr: the use of next hops is not noted
    rte_mempool* pool = nullptr;
    rte_mempool* capture_pool = nullptr;
    rte_ring* punt_ring = nullptr;
    rte_ring* capture_ring = nullptr;
    bool busy = false;  // never sleep
    uint32_t icmp_errors_per_second = 1000;
    uint32_t punts_per_second = 1000;
    HostLimits host_limits = kDefaultHostLimits;
    uint32_t captures_per_second = 100000;
    uint32_t denied_reports_per_second = 100;
};

class Worker {
  public:
    // REQUIRES: every pointer of the resources but the capture ones is set.
    explicit Worker(const WorkerResources& resources);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // False when memory or descriptors could not be had; run() must not be called then.
    bool ok() const { return epoll_ >= 0 && !slots_.empty() && !polled_.empty(); }

    // The loop, until stop(). Registers with the quiescent-state variable on entry and leaves it
    // at the end, so that nobody waits for a worker that is gone.
    void run();
    void stop();

    // One turn of the loop without sleeping: commands, then each polled queue once. Returns the
    // number of packets received. For tests; run() is this and the sleep.
    unsigned poll_once();

    const WorkerContext& context() const { return context_; }

  private:
    enum class SlotState : uint8_t { kFree, kPolled, kArmed };
    struct Slot {
        RxQueue* queue;
        uint64_t last_packet;  // TSC
        uint32_t position;     // in polled_, when polled
        SlotState state;
        bool quiet;  // without interrupt, and nothing came lately
    };

    void drain_commands();
    void carry_out(const Command& command);
    void add_rx_queue(RxQueue* queue);
    void remove_rx_queue(RxQueue* queue);
    unsigned poll_queue(uint32_t index);
    unsigned poll();
    unsigned receive_burst(Slot& slot);
    template <bool kMeasured>
    unsigned receive_burst_as(Slot& slot);
    void drop_of_gone_port(PortId port, uint16_t n);
    void run_by_vlan(const PortConfig& uplink, uint16_t n);
    bool measures_next_burst() const;
    void consider_arming(uint32_t index);
    void start_polling(uint32_t index);
    void leave_polled(uint32_t index);
    void collect_wakeups(int timeout_ms);
    void sleep();
    void ring_control();
    void keep_flows();
    int sleep_limit_ms() const;
    void account(uint64_t now, bool moved);

    WorkerContext context_;
    Burst burst_;  // the present one; to clear one each time would be a tenth of the work
    CommandRing& ring_;
    rte_rcu_qsbr* quiescent_;
    int doorbell_;
    int epoll_ = -1;
    bool busy_;
    bool stage_cycles_ = false;   // stages are accounted for
    bool commands_done_ = false;  // in this turn
    std::atomic<bool> stopping_{false};

    PageArray<Slot> slots_;       // by slot index
    PageArray<uint32_t> polled_;  // slot indices, the first polled_count_ are valid
    uint32_t slot_count_ = 0;     // slots ever used; free ones below it are reused
    uint32_t polled_count_ = 0;
    uint32_t quiet_count_ = 0;  // of the polled ones
    uint32_t armed_count_ = 0;
    uint64_t last_wakeup_check_ = 0;  // TSC
    uint64_t loop_start_ = 0;         // TSC
    uint64_t next_second_ = 0;        // TSC

    PageArray<const PortConfig*> ports_;
    PageArray<Adjacency> adjacencies_;
    PageArray<const NextHopGroup*> groups_;
    PageArray<Capture*> captures_;
};

}  // namespace slash32
