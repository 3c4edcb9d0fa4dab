// SPDX-License-Identifier: Apache-2.0
// The packet path of a TAP port: frames with virtio-net headers through /dev/net/tun.
//
// Thread safety: a receive queue is polled by one worker at a time; transmit may be called by any
// (the kernel takes concurrent writers). A read or a write a packet: named exceptions to "no system
// call".
//
// wake_fd is an epoll instance of the queue's own with the TAP descriptor in it, out of which the
// queue is taken when its interface was deleted: such a descriptor signals an error for ever.
//
// Limits: a frame may have up to kTapSegments buffers; more is dropped by transmit and cannot
// arrive (64 KB and headers fit).
#pragma once

#include "dp/abi/device.h"
#include "dp/base/limits.h"

#include <array>
#include <atomic>
#include <cstdint>

struct rte_mempool;

namespace slash32 {

// Buffers that hold the largest frame: 64 KB, Ethernet and two VLAN tags in 2,048 bytes each.
inline constexpr unsigned kTapSegments = 33;

struct alignas(kCacheLine) TapRxQueue : RxQueue {
    int fd = -1;
    rte_mempool* pool = nullptr;
    // The polling worker's own: buffers for the next frame, filled up before each read.
    std::array<rte_mbuf*, kTapSegments> spare{};
    unsigned spare_count = 0;
};

struct alignas(kCacheLine) TapTxPort : TxPort {
    std::array<int, kMaxQueuePairs> fds{};
    uint16_t queues = 0;
    std::atomic<uint64_t> refused{0};  // workers: rw; frames that the kernel called invalid
};

uint16_t tap_receive(RxQueue& queue, rte_mbuf** packets, uint16_t n);
uint16_t tap_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n);

}  // namespace slash32
