// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/queue.h"

#include <rte_mbuf.h>
#include <rte_vhost.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace slash32 {
namespace {

constexpr uint32_t kRefusalsPerLook = 256;
// What one receive of a burst with a 64 KB packet in it may need.
constexpr unsigned kBuffersNeeded = 96;

void report(std::atomic<QueueFault>& fault, QueueFault what, int fault_fd) {
    fault.store(what, std::memory_order_release);
    if (fault_fd >= 0) eventfd_write(fault_fd, 1);
}

// A shortage of packet buffers looks like a ring that makes no progress, and is none.
bool buffers_available(rte_mempool* pool) {
    rte_mbuf* packets[kBuffersNeeded];
    if (rte_pktmbuf_alloc_bulk(pool, packets, kBuffersNeeded) != 0) return false;
    rte_pktmbuf_free_bulk(packets, kBuffersNeeded);
    return true;
}

// Whether nothing but its place in `pool` is left of a buffer when it is freed.
bool goes_back_whole(const rte_mbuf& packet, const rte_mempool* pool) {
    return packet.pool == pool && packet.nb_segs == 1 && rte_mbuf_refcnt_read(&packet) == 1 &&
           RTE_MBUF_DIRECT(&packet);
}

// rte_pktmbuf_free_bulk() for what is nearly always one buffer a packet, of one pool: that one
// looks at each buffer's owners, chain and pool apart, four times the instructions.
void free_sent(rte_mbuf** packets, uint16_t n) {
    rte_mempool* pool = packets[0]->pool;
    for (uint16_t i = 0; i < n; ++i) {
        if (!goes_back_whole(*packets[i], pool)) return rte_pktmbuf_free_bulk(packets, n);
    }
    rte_mempool_put_bulk(pool, reinterpret_cast<void* const*>(packets), n);
}

// Entries that the guest has made available and nobody has taken.
uint16_t waiting_entries(const VhostRxQueue& q, int vid) {
    if (q.ring_size.load(std::memory_order_relaxed) == 0) return 0;
    return static_cast<uint16_t>(rte_vhost_rx_queue_count(vid, q.vring));
}

// Called when a receive gave nothing. True: entries wait.
bool look_at_ring(VhostRxQueue& q, int vid) {
    const uint16_t waiting = waiting_entries(q, vid);
    uint16_t next = 0;
    uint16_t used = 0;
    if (waiting == 0 || rte_vhost_get_vring_base(vid, q.vring, &next, &used) != 0) {
        q.suspicion = 0;
        return false;
    }
    if (q.suspicion == 0 || next != q.suspect_index) {
        q.suspicion = 1;
        q.suspect_index = next;
        return true;
    }
    if (++q.suspicion < kLooksUntilCorrupt) return true;
    q.suspicion = 0;
    if (q.fault.load(std::memory_order_relaxed) == QueueFault::kNone && buffers_available(q.pool))
        report(q.fault, QueueFault::kRingCorrupt, q.fault_fd);
    return true;
}

}  // namespace

uint16_t vhost_receive(RxQueue& queue, rte_mbuf** packets, uint16_t n) {
    auto& q = static_cast<VhostRxQueue&>(queue);
    const int vid = q.vid.load(std::memory_order_acquire);
    if (vid < 0) return 0;
    // A frontend that came while the queue was polled would kick for nothing, a system call each.
    if (q.fresh.load(std::memory_order_relaxed)) [[unlikely]] {
        q.fresh.store(false, std::memory_order_relaxed);
        rte_vhost_enable_guest_notification(vid, q.vring, q.armed ? 1 : 0);
    }
    VhostRing::Turn turn(q.ring);
    uint16_t received = turn.receive(q.pool, packets, n);
    if (received < n && turn.is_left()) {
        received += rte_vhost_dequeue_burst(vid, q.vring, q.pool, packets + received,
                                            static_cast<uint16_t>(n - received));
    }
    if (received == 0 && ++q.empty_polls % kEmptyPollsPerLook == 0) look_at_ring(q, vid);
    return received;
}

void vhost_arm(RxQueue& queue) {
    auto& q = static_cast<VhostRxQueue&>(queue);
    q.armed = true;
    const int vid = q.vid.load(std::memory_order_acquire);
    if (vid < 0) return;
    rte_vhost_enable_guest_notification(vid, q.vring, 1);
    // Pairs with the guest's fence between making an entry available and reading whether to kick
    // (virtio 1.2 section 2.7.13.4.1): either it kicks, or the poll that follows sees the entry.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // Entries that receive cannot take would be slept over: they are looked at until they are
    // taken or judged.
    if (q.fault.load(std::memory_order_relaxed) == QueueFault::kNone && look_at_ring(q, vid))
        vhost_nudge(q);
}

void vhost_disarm(RxQueue& queue) {
    auto& q = static_cast<VhostRxQueue&>(queue);
    q.armed = false;
    // Takes the edges off the list; waits for nothing.
    epoll_event events[2];
    epoll_wait(q.wake_fd, events, 2, 0);
    const int vid = q.vid.load(std::memory_order_acquire);
    if (vid >= 0) rte_vhost_enable_guest_notification(vid, q.vring, 0);
}

uint16_t vhost_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n) {
    auto& p = static_cast<VhostTxPort&>(port);
    const int32_t route = p.route[worker.value()].load(std::memory_order_acquire);
    if (route < 0) return 0;
    const int vid = route >> 8;
    const auto vring = static_cast<uint16_t>(route & 0xff);
    VhostRing::Turn turn(p.rings[vring / 2]);
    uint16_t sent = turn.send(packets, n);
    if (sent < n && turn.is_left())
        sent +=
            rte_vhost_enqueue_burst(vid, vring, packets + sent, static_cast<uint16_t>(n - sent));
    uint32_t& refusals = p.refusals[worker.value()].count;
    if (sent == 0) [[unlikely]] {
        const uint16_t size = p.ring_size.load(std::memory_order_relaxed);
        // A full ring is the guest's affair; one with more entries than it has room for is broken.
        if (++refusals % kRefusalsPerLook == 0 && size != 0 &&
            rte_vhost_avail_entries(vid, vring) > size &&
            p.fault.load(std::memory_order_relaxed) == QueueFault::kNone)
            report(p.fault, QueueFault::kRingCorrupt, p.fault_fd);
        return 0;
    }
    refusals = 0;
    free_sent(packets, sent);  // enqueue copied them
    return sent;
}

void vhost_nudge(VhostRxQueue& q) {
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = 0}};
    epoll_ctl(q.wake_fd, EPOLL_CTL_MOD, q.nudge_fd, &event);
}

}  // namespace slash32
