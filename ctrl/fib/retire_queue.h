// SPDX-License-Identifier: Apache-2.0
// Objects taken out of a table, given back to where they came from after a grace period.
//
// At most one batch waits at a time and the next one collects meanwhile, so a load of a million
// routes costs one deferral a grace period and not one a route.
//
// Thread safety: the writer's thread only. The queue may be destroyed while a batch waits: what is
// in it is then not released one by one (its owner frees all memory at once).
#pragma once

#include "ctrl/fib/reclaimer.h"

#include <cstddef>
#include <utility>
#include <vector>

namespace slash32 {

class RetireQueue {
  public:
    using Release = void (*)(void* owner, void* object);

    explicit RetireQueue(Reclaimer& reclaimer) : reclaimer_(reclaimer) {}
    RetireQueue(const RetireQueue&) = delete;
    RetireQueue& operator=(const RetireQueue&) = delete;
    ~RetireQueue() {
        if (waiting_ != nullptr) waiting_->queue = nullptr;
    }

    // Calls release(owner, object) after a grace period.
    // REQUIRES: no reader that starts now can reach the object.
    void retire(Release release, void* owner, void* object) {
        collecting_.push_back({release, owner, object});
        if (waiting_ == nullptr) submit();
    }

    // Waits for grace periods until everything retired so far has been released.
    void drain() {
        while (waiting_ != nullptr)
            reclaimer_.drain();
    }

    // Retired and not released yet.
    size_t pending() const {
        return collecting_.size() + (waiting_ != nullptr ? waiting_->items.size() : 0);
    }

  private:
    struct Item {
        Release release;
        void* owner;
        void* object;
    };
    struct Batch {
        RetireQueue* queue;
        std::vector<Item> items;
    };

    void submit() {
        waiting_ = new Batch{this, std::exchange(collecting_, {})};
        reclaimer_.defer(&RetireQueue::grace_period_over, waiting_);
    }

    static void grace_period_over(void* argument) {
        auto* batch = static_cast<Batch*>(argument);
        if (RetireQueue* queue = batch->queue; queue != nullptr) {
            for (const Item& item : batch->items)
                item.release(item.owner, item.object);
            queue->waiting_ = nullptr;
            if (!queue->collecting_.empty()) queue->submit();
        }
        delete batch;
    }

    Reclaimer& reclaimer_;
    std::vector<Item> collecting_;
    Batch* waiting_ = nullptr;  // deleted by its callback
};

}  // namespace slash32
