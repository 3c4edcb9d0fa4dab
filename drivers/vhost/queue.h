// SPDX-License-Identifier: Apache-2.0
// The packet path of a vhost-user port: its receive queues and its transmit side.
//
// Thread safety: a receive queue is polled by one worker at a time; transmit may be called by any.
// The driver flips the atomics at any moment and frees what they lead to only after the workers'
// grace period, so whoever calls these functions must be a QSBR-reporting worker (or alone).
//
// wake_fd is an epoll instance of the queue's own that lasts as long as the queue. It holds a
// duplicate of the current ring's kick descriptor, edge-triggered, so a new frontend or a new ring
// needs no change in the worker; and nobody ever reads a descriptor that came from a frontend
// (which could block). A second, always readable descriptor in it (`nudge_fd`) is re-armed to wake
// the worker without the guest.
//
// librte_vhost does not report a corrupt ring: it just gives no packets. It is recognised by
// available entries with no progress over many empty polls while packet buffers are there. Split
// rings only: the library counts packed ones wrongly.
//
// Limit: for a large segment the library writes a pseudo-header sum with a length of 0, as NICs
// want it, where virtio 1.2 section 5.1.6.2.1 and Linux mean the sum with the length. A guest that
// receives the segment does not look at it; one that forwards it and cuts it in software would.
#pragma once

#include "dp/abi/device.h"
#include "dp/base/limits.h"
#include "drivers/vhost/ring.h"

#include <array>
#include <atomic>
#include <cstdint>

struct rte_mempool;

namespace slash32 {

// Empty polls between two looks at the ring, and looks without progress that make it corrupt.
inline constexpr uint32_t kEmptyPollsPerLook = 64;
inline constexpr uint8_t kLooksUntilCorrupt = 16;

struct alignas(kCacheLine) VhostRxQueue : RxQueue {
    // driver: rw, worker: ro; librte_vhost's device, -1 while the ring may not be touched.
    std::atomic<int> vid{-1};
    // driver: sets, worker: clears; a new ring asks the guest for kicks until it is told otherwise.
    std::atomic<bool> fresh{false};
    uint16_t vring = 0;                  // 2 * index + 1: the guest's transmit ring
    std::atomic<uint16_t> ring_size{0};  // driver: rw, worker: ro; 0: never judged
    rte_mempool* pool = nullptr;
    int nudge_fd = -1;  // the port's
    int fault_fd = -1;  // an eventfd of the driver's, written when `fault` is set
    int kick_fd = -1;   // driver only: the duplicate in wake_fd
    VhostRing ring;

    // The polling worker's own.
    bool armed = false;
    uint32_t empty_polls = 0;
    uint16_t suspect_index = 0;
    uint8_t suspicion = 0;
};

struct alignas(kCacheLine) VhostTxPort : TxPort {
    // driver: rw, workers: ro; (vid << 8 | vring) for each worker, -1 while there is none.
    std::array<std::atomic<int32_t>, kMaxWorkers> route;
    std::atomic<uint16_t> ring_size{0};                // driver: rw, workers: ro
    std::atomic<QueueFault> fault{QueueFault::kNone};  // workers: rw, driver: ro
    int fault_fd = -1;
    // One byte a worker, so that none is shared: sends in a row that a full ring refused.
    struct alignas(kCacheLine) Refusals {
        uint32_t count = 0;
    };
    std::array<Refusals, kMaxWorkers> refusals;
    std::array<VhostRing, kMaxQueuePairs> rings;  // by queue pair
};

uint16_t vhost_receive(RxQueue& queue, rte_mbuf** packets, uint16_t n);
void vhost_arm(RxQueue& queue);
void vhost_disarm(RxQueue& queue);
uint16_t vhost_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n);

// Makes wake_fd readable once. Any thread.
void vhost_nudge(VhostRxQueue& queue);

}  // namespace slash32
