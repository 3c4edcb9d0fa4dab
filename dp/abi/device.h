// SPDX-License-Identifier: Apache-2.0
// What a worker sees of a device: receive queues it polls, and a transmit side per port.
//
// A driver derives from these structs and fills the function pointers; the one indirect call per
// burst is the named exception to "no virtual call". Objects live until every worker has
// acknowledged the command that took them away.
#pragma once

#include "dp/base/ids.h"

#include <atomic>
#include <cstdint>

struct rte_mbuf;

namespace slash32 {

// Why a driver gave up on a queue; control takes the port down with it.
enum class QueueFault : uint8_t { kNone, kRingCorrupt, kDeviceGone };

struct RxQueue {
    // Takes up to `n` packets. mbuf->ol_flags say RTE_MBUF_F_RX_L4_CKSUM_NONE for "checksum not
    // yet filled" (pseudo-header sum in place) and RTE_MBUF_F_RX_LRO + tso_segsz for a large
    // segment. 0 when none, or when the device is not ready.
    uint16_t (*receive)(RxQueue&, rte_mbuf** packets, uint16_t n) = nullptr;
    // Asks for a signal on wake_fd at the next packet. After it, the worker polls once more: a
    // packet that came before the request took effect gives no signal. nullptr where wake_fd < 0.
    void (*arm)(RxQueue&) = nullptr;
    // Ends the wish for signals and drains wake_fd; called when the queue is polled again.
    void (*disarm)(RxQueue&) = nullptr;

    PortId port;
    uint16_t index = 0;
    // Level-triggered readable when a packet waits and the queue is armed; owned by the driver,
    // and the same as long as the RxQueue lives. -1: no interrupt, polled on a timer.
    int wake_fd = -1;

    std::atomic<QueueFault> fault{QueueFault::kNone};  // worker: rw through the driver, ctrl: ro
};

// Offloads that the receiving side of a port accepts now.
enum TxOffload : uint32_t {
    kTxChecksum = 1u << 0,  // a partial TCP/UDP checksum may be left for the receiver
    kTxTso4 = 1u << 1,
    kTxTso6 = 1u << 2,
    kTxMultiSegment = 1u << 3,  // chained mbufs
};

struct TxPort {
    // Sends from any worker; `worker` picks the queue. Returns how many were taken (and are now the
    // driver's); the caller keeps the rest. Requests in ol_flags: RTE_MBUF_F_TX_{TCP,UDP}_CKSUM and
    // RTE_MBUF_F_TX_TCP_SEG with l2_len, l3_len, l4_len, tso_segsz set, only as `offloads` allows.
    uint16_t (*transmit)(TxPort&, WorkerId worker, rte_mbuf** packets, uint16_t n) = nullptr;

    PortId port;
    std::atomic<uint32_t> offloads{0};  // driver: rw, worker: ro; TxOffload bits
    std::atomic<bool> ready{false};     // driver: rw, worker: ro; false: drop with port_down
};

}  // namespace slash32
