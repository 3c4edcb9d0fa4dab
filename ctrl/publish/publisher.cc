// SPDX-License-Identifier: Apache-2.0
#include "ctrl/publish/publisher.h"

#include "dp/table/grace_period.h"

#include <rte_rcu_qsbr.h>
#include <unistd.h>

#include <utility>

namespace slash32 {

Publisher::Publisher(const std::vector<WorkerChannel>& workers, rte_rcu_qsbr* quiescent)
    : quiescent_(quiescent) {
    for (const WorkerChannel& channel : workers) {
        const uint64_t produced = channel.ring->produced();
        workers_.push_back(
            Worker{.channel = channel, .overflow = {}, .waits = 0, .sent = produced});
    }
}

void Publisher::send(size_t index, const Command& command) {
    Worker& worker = workers_[index];
    worker.overflow.push_back(command);
    ++worker.sent;
    flush(worker);
    if (worker.overflow.empty()) return;
    ++worker.waits;
    waiting_hook_();
}

void Publisher::broadcast(const Command& command) {
    for (size_t i = 0; i < workers_.size(); ++i)
        send(i, command);
}

void Publisher::flush(Worker& worker) {
    bool pushed = false;
    while (!worker.overflow.empty() && worker.channel.ring->push(worker.overflow.front()) != 0) {
        worker.overflow.pop_front();
        pushed = true;
    }
    if (!pushed || !worker.channel.ring->needs_doorbell()) return;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(worker.channel.doorbell, &one, sizeof one);
}

void Publisher::when_acknowledged(std::function<void()> done) {
    acknowledgement_waiters_.push_back(make_waiter(std::move(done)));
    waiting_hook_();
}

void Publisher::when_quiescent(std::function<void()> done) {
    grace_waiters_.push_back(make_waiter(std::move(done)));
    waiting_hook_();
}

Publisher::Waiter Publisher::make_waiter(std::function<void()> done) const {
    Waiter waiter{.sequences = {}, .token = 0, .done = std::move(done)};
    for (const Worker& worker : workers_)
        waiter.sequences.push_back(worker.sent);
    return waiter;
}

bool Publisher::is_acknowledged(const Waiter& waiter) const {
    for (size_t i = 0; i < workers_.size(); ++i) {
        if (workers_[i].channel.ring->acknowledged() < waiter.sequences[i]) return false;
    }
    return true;
}

bool Publisher::is_quiescent(Waiter& waiter) {
    if (waiter.token == 0) {
        if (!is_acknowledged(waiter)) return false;
        // Taken only now: a worker that has acknowledged may be inside its next burst.
        waiter.token = rte_rcu_qsbr_start(quiescent_);
    }
    return is_grace_over(*quiescent_, waiter.token);
}

void Publisher::poll() {
    for (Worker& worker : workers_)
        flush(worker);
    const auto run_due = [](std::deque<Waiter>& waiters, auto&& is_due) {
        while (!waiters.empty() && is_due(waiters.front())) {
            // Taken out first: the callback may send and wait again.
            const std::function<void()> done = std::move(waiters.front().done);
            waiters.pop_front();
            done();
        }
    };
    run_due(acknowledgement_waiters_, [this](Waiter& w) { return is_acknowledged(w); });
    run_due(grace_waiters_, [this](Waiter& w) { return is_quiescent(w); });
}

bool Publisher::idle() const {
    for (const Worker& worker : workers_) {
        if (!worker.overflow.empty()) return false;
    }
    return acknowledgement_waiters_.empty() && grace_waiters_.empty();
}

RingState Publisher::state(size_t index) const {
    const Worker& worker = workers_[index];
    return RingState{.depth = worker.channel.ring->depth(),
                     .waiting = worker.overflow.size(),
                     .waits = worker.waits,
                     .produced = worker.sent,
                     .acknowledged = worker.channel.ring->acknowledged(),
                     .asleep = worker.channel.ring->asleep()};
}

}  // namespace slash32
