// SPDX-License-Identifier: Apache-2.0
// The packet path of an uplink: an Ethernet device's queues.
//
// Thread safety: a receive queue is polled by one worker at a time; transmit may be called by any.
// Where there are fewer transmit queues than workers, a spinlock guards each (`shared`).
#pragma once

#include "dp/abi/device.h"
#include "dp/base/limits.h"

#include <rte_spinlock.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace slash32 {

struct alignas(kCacheLine) EthRxQueue : RxQueue {
    uint16_t device = 0;
};

struct alignas(kCacheLine) EthTxPort : TxPort {
    uint16_t device = 0;
    uint16_t queues = 1;
    bool shared = false;
    std::atomic<uint64_t> refused{0};  // workers: rw; packets that the device called invalid
    struct alignas(kCacheLine) Lock {
        rte_spinlock_t lock = RTE_SPINLOCK_INITIALIZER;
    };
    std::array<Lock, kMaxWorkers> locks;
};

uint16_t eth_receive(RxQueue& queue, rte_mbuf** packets, uint16_t n);
void eth_arm(RxQueue& queue);
void eth_disarm(RxQueue& queue);
uint16_t eth_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n);

}  // namespace slash32
