// SPDX-License-Identifier: Apache-2.0
// The ring from control to one worker: single producer, single consumer, in shared memory.
//
// Thread safety: push() by control only; drain side by the worker only; the readers (depth,
// acknowledged) by anybody. Invariants: produced - consumed <= capacity; a slot is written only
// after the worker has consumed it; acknowledged is the sequence of the last command carried out.
// A full ring makes control wait (push returns 0), never the worker, and loses nothing.
//
// Sleep protocol (design: "The command ring"): the worker stores asleep, full fence, looks at the
// ring once more, sleeps; control pushes, full fence, reads asleep, writes the doorbell. One of the
// two always sees the other.
#pragma once

#include "dp/abi/command.h"
#include "dp/base/limits.h"

#include <array>
#include <atomic>
#include <cstdint>

namespace slash32 {

class CommandRing {
  public:
    static constexpr uint64_t kCapacity = kCommandRingEntries;
    static_assert((kCapacity & (kCapacity - 1)) == 0);

    // Control: queues a command and returns its sequence, or 0 when the ring is full.
    uint64_t push(const Command& command) {
        const uint64_t produced = produced_.load(std::memory_order_relaxed);
        // Pairs with the release in pop(): the slot's old command has been read.
        if (produced - consumed_.load(std::memory_order_acquire) == kCapacity) return 0;
        Command& slot = slots_[produced & (kCapacity - 1)];
        slot = command;
        slot.version = kCommandVersion;
        slot.sequence = produced + 1;
        // Pairs with the acquire in pop(): the slot is complete.
        produced_.store(produced + 1, std::memory_order_release);
        return produced + 1;
    }

    // Control, after push(): true when the worker must be woken through its doorbell.
    bool needs_doorbell() {
        std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with announce_sleep()
        return asleep_.load(std::memory_order_relaxed);
    }

    // Worker: takes the oldest command, false when there is none.
    bool pop(Command& out) {
        const uint64_t consumed = consumed_.load(std::memory_order_relaxed);
        if (produced_.load(std::memory_order_acquire) == consumed) return false;
        out = slots_[consumed & (kCapacity - 1)];
        consumed_.store(consumed + 1, std::memory_order_release);
        return true;
    }

    // Worker, between bursts, after carrying out `sequence`. Pairs with acknowledged(): what the
    // command replaced is no longer referred to by this worker.
    void acknowledge(uint64_t sequence) {
        acknowledged_.store(sequence, std::memory_order_release);
    }

    // Worker: about to sleep. Returns false when a command has arrived meanwhile (then stay awake).
    bool announce_sleep() {
        asleep_.store(true, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with needs_doorbell()
        if (!empty()) {
            announce_awake();
            return false;
        }
        return true;
    }
    void announce_awake() { asleep_.store(false, std::memory_order_relaxed); }

    bool empty() const { return depth() == 0; }
    uint64_t depth() const {
        // Consumed first: it never passes produced, so the difference is never negative.
        const uint64_t consumed = consumed_.load(std::memory_order_acquire);
        return produced_.load(std::memory_order_acquire) - consumed;
    }
    uint64_t produced() const { return produced_.load(std::memory_order_acquire); }
    uint64_t acknowledged() const { return acknowledged_.load(std::memory_order_acquire); }
    bool asleep() const { return asleep_.load(std::memory_order_relaxed); }

  private:
    alignas(kCacheLine) std::atomic<uint64_t> produced_{0};     // ctrl: rw, worker: ro
    alignas(kCacheLine) std::atomic<uint64_t> consumed_{0};     // worker: rw, ctrl: ro
    std::atomic<uint64_t> acknowledged_{0};                     // worker: rw, ctrl: ro
    alignas(kCacheLine) std::atomic<bool> asleep_{false};       // worker: rw, ctrl: ro
    alignas(kCacheLine) std::array<Command, kCapacity> slots_;  // ctrl: rw, worker: ro
};

}  // namespace slash32
