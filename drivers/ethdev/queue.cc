// SPDX-License-Identifier: Apache-2.0
#include "drivers/ethdev/queue.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <unistd.h>

namespace slash32 {
namespace {

// Sends in order; a packet that the device would choke on is dropped, not handed back, so that it
// is not tried for ever.
uint16_t send(EthTxPort& p, uint16_t queue, rte_mbuf** packets, uint16_t n) {
    uint16_t done = 0;
    while (done < n) {
        const uint16_t fit =
            rte_eth_tx_prepare(p.device, queue, packets + done, static_cast<uint16_t>(n - done));
        const uint16_t sent = rte_eth_tx_burst(p.device, queue, packets + done, fit);
        done = static_cast<uint16_t>(done + sent);
        if (sent < fit || done == n) break;
        rte_pktmbuf_free(packets[done++]);
        p.refused.fetch_add(1, std::memory_order_relaxed);
    }
    return done;
}

}  // namespace

uint16_t eth_receive(RxQueue& queue, rte_mbuf** packets, uint16_t n) {
    auto& q = static_cast<EthRxQueue&>(queue);
    const uint16_t received = rte_eth_rx_burst(q.device, q.index, packets, n);
    // A device that writes to memory by itself leaves the bytes in no cache of this core, other
    // than the drivers that copy them. What is forwarded gets a new Ethernet header.
    for (uint16_t i = 0; i < received; ++i)
        rte_prefetch0_write(rte_pktmbuf_mtod(packets[i], void*));
    return received;
}

void eth_arm(RxQueue& queue) {
    auto& q = static_cast<EthRxQueue&>(queue);
    rte_eth_dev_rx_intr_enable(q.device, q.index);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

void eth_disarm(RxQueue& queue) {
    auto& q = static_cast<EthRxQueue&>(queue);
    rte_eth_dev_rx_intr_disable(q.device, q.index);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = read(q.wake_fd, &count, sizeof count);  // non-blocking
}

uint16_t eth_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n) {
    auto& p = static_cast<EthTxPort&>(port);
    const auto queue = static_cast<uint16_t>(worker.value() % p.queues);
    if (!p.shared) [[likely]]
        return send(p, queue, packets, n);
    rte_spinlock_lock(&p.locks[queue].lock);
    const uint16_t sent = send(p, queue, packets, n);
    rte_spinlock_unlock(&p.locks[queue].lock);
    return sent;
}

}  // namespace slash32
