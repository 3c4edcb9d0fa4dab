// SPDX-License-Identifier: Apache-2.0
// Control's end of the command rings: sends commands to workers, waits for their acknowledgements
// without blocking, and reclaims what they have let go.
//
// Thread safety: the control thread alone. Invariants: commands reach a worker in the order they
// were sent; a full ring delays them here, in order, and loses none; callbacks of
// one kind run in the order they were asked for, from poll().
#pragma once

#include "dp/abi/command_ring.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

struct rte_rcu_qsbr;

namespace slash32 {

struct WorkerChannel {
    CommandRing* ring = nullptr;
    int doorbell = -1;  // eventfd that wakes the worker
};

// For people: what `show rings` prints.
struct RingState {
    uint64_t depth = 0;         // commands in the ring
    uint64_t waiting = 0;       // commands that found it full and wait in control
    uint64_t waits = 0;         // commands that ever did
    uint64_t produced = 0;      // sequence of the last command
    uint64_t acknowledged = 0;  // sequence of the last one carried out
    uint64_t lag() const { return produced - acknowledged; }
    bool asleep = false;
};

class Publisher {
  public:
    // Neither the channels' rings nor `quiescent` are owned; both outlive the publisher.
    Publisher(const std::vector<WorkerChannel>& workers, rte_rcu_qsbr* quiescent);

    size_t workers() const { return workers_.size(); }

    void send(size_t worker, const Command& command);
    void broadcast(const Command& command);

    // Runs `done` once every worker has acknowledged all commands sent so far. With nothing
    // outstanding it runs at the next poll(), never from within this call.
    void when_acknowledged(std::function<void()> done);
    // Runs `done` once, besides that, every worker has passed a quiescent state: nobody can hold a
    // reference to what was unpublished before this call, in shared tables either.
    void when_quiescent(std::function<void()> done);

    // Moves waiting commands on and runs what has become due. Called when a worker rings control's
    // doorbell, and on a timer while idle() is false.
    void poll();
    // Called when something begins to wait, so that the owner starts to poll(); it must not call
    // back.
    void on_waiting(std::function<void()> hook) { waiting_hook_ = std::move(hook); }
    // True when nothing waits for anything.
    bool idle() const;

    RingState state(size_t worker) const;

  private:
    struct Worker {
        WorkerChannel channel;
        std::deque<Command> overflow;  // did not fit the ring
        uint64_t waits = 0;            // commands that were not taken at once
        uint64_t sent = 0;             // sequence of the last command sent or in overflow
    };
    struct Waiter {
        std::vector<uint64_t> sequences;  // by worker
        uint64_t token = 0;               // of the quiescent-state variable, once acknowledged
        std::function<void()> done;
    };

    Waiter make_waiter(std::function<void()> done) const;
    void flush(Worker& worker);
    bool is_acknowledged(const Waiter& waiter) const;
    bool is_quiescent(Waiter& waiter);

    std::vector<Worker> workers_;
    rte_rcu_qsbr* quiescent_;
    // Apart, so that an acknowledgement does not wait for a worker in the middle of a burst.
    std::deque<Waiter> acknowledgement_waiters_;
    std::deque<Waiter> grace_waiters_;
    std::function<void()> waiting_hook_ = [] {};
};

}  // namespace slash32
