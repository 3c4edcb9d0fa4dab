// SPDX-License-Identifier: Apache-2.0
// The grace period of tables that workers read without locks: one rte_rcu_qsbr variable, reported
// by each worker every loop, offline while it sleeps.
//
// Thread safety: the control thread alone.
#pragma once

#include "ctrl/fib/reclaimer.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

struct rte_rcu_qsbr;

namespace slash32 {

class QsbrReclaimer final : public Reclaimer {
  public:
    // The variable is not owned and outlives the reclaimer.
    explicit QsbrReclaimer(rte_rcu_qsbr* quiescent) : quiescent_(quiescent) {}

    void defer(Callback callback, void* argument) override;
    void drain() override;

    // Called when something begins to wait, so that the owner starts to poll(); it must not call
    // back.
    void on_waiting(std::function<void()> hook) { waiting_hook_ = std::move(hook); }
    // Runs the callbacks whose grace period is over. On control's timer while pending() is not 0.
    void poll();
    size_t pending() const { return deferred_.size(); }

  private:
    struct Deferred {
        uint64_t token;
        Callback callback;
        void* argument;
    };
    void run(size_t count);

    rte_rcu_qsbr* quiescent_;
    std::deque<Deferred> deferred_;  // tokens grow
    std::function<void()> waiting_hook_ = [] {};
};

}  // namespace slash32
