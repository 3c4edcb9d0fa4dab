// SPDX-License-Identifier: Apache-2.0
// Reclaimers for tests: one whose grace periods the test declares, and one over rte_rcu_qsbr as the
// workers' own is.
#pragma once

#include "ctrl/fib/reclaimer.h"

#include <rte_rcu_qsbr.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace slash32::test {

// A grace period is over when the test says so, or when the table asks for it.
class ManualReclaimer final : public Reclaimer {
  public:
    ~ManualReclaimer() override { run_all(); }
    void defer(Callback callback, void* argument) override {
        deferred_.emplace_back(callback, argument);
    }
    void drain() override {
        ++drains_;
        for (auto& [callback, argument] : std::exchange(deferred_, {}))
            callback(argument);
    }
    // Until nothing is deferred any more.
    void run_all() {
        while (!deferred_.empty())
            drain();
    }
    size_t deferred() const { return deferred_.size(); }
    size_t drains() const { return drains_; }

  private:
    std::vector<std::pair<Callback, void*>> deferred_;
    size_t drains_ = 0;
};

// Readers are threads 0 to readers_max - 1 of the QSBR variable.
class QsbrReclaimer final : public Reclaimer {
  public:
    explicit QsbrReclaimer(unsigned readers_max)
        : memory_(std::aligned_alloc(RTE_CACHE_LINE_SIZE, rte_rcu_qsbr_get_memsize(readers_max)),
                  &std::free) {
        if (memory_ == nullptr) throw std::bad_alloc();
        rte_rcu_qsbr_init(variable(), readers_max);
    }
    rte_rcu_qsbr* variable() const { return static_cast<rte_rcu_qsbr*>(memory_.get()); }

    void defer(Callback callback, void* argument) override {
        deferred_.push_back({rte_rcu_qsbr_start(variable()), callback, argument});
    }
    void drain() override { run(true); }
    // Runs what is due, without waiting.
    void poll() { run(false); }
    bool idle() const { return deferred_.empty(); }

  private:
    struct Deferred {
        uint64_t token;
        Callback callback;
        void* argument;
    };

    void run(bool wait) {
        for (size_t left = deferred_.size(); left > 0; --left) {
            const Deferred first = deferred_.front();
            if (rte_rcu_qsbr_check(variable(), first.token, wait) != 1) return;
            deferred_.pop_front();
            first.callback(first.argument);
        }
    }

    std::unique_ptr<void, decltype(&std::free)> memory_;
    std::deque<Deferred> deferred_;
};

}  // namespace slash32::test
