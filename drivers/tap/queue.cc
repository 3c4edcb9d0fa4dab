// SPDX-License-Identifier: Apache-2.0
#include "drivers/tap/queue.h"

#include "drivers/tap/offload.h"

#include <rte_mbuf.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include <cerrno>

namespace slash32 {
namespace {

// Tops up the spare buffers. False: there are not enough for the largest frame.
bool fill_spare(TapRxQueue& q) {
    const unsigned missing = kTapSegments - q.spare_count;
    if (missing == 0) return true;
    if (rte_pktmbuf_alloc_bulk(q.pool, &q.spare[q.spare_count], missing) != 0) return false;
    q.spare_count = kTapSegments;
    return true;
}

// Makes one packet of the first buffers, which hold `bytes`. The rest stay spare.
rte_mbuf* chain_spare(TapRxQueue& q, uint32_t bytes) {
    rte_mbuf* head = q.spare[0];
    head->pkt_len = bytes;
    rte_mbuf* last = nullptr;
    unsigned used = 0;
    while (bytes > 0 || used == 0) {
        rte_mbuf* m = q.spare[used++];
        const uint32_t room = rte_pktmbuf_tailroom(m);
        m->data_len = static_cast<uint16_t>(bytes < room ? bytes : room);
        bytes -= m->data_len;
        if (last != nullptr) last->next = m;
        last = m;
    }
    head->nb_segs = static_cast<uint16_t>(used);
    // The last spare buffers take the places of those that are gone.
    q.spare_count -= used;
    for (unsigned i = 0; i < used && i < q.spare_count; ++i)
        q.spare[i] = q.spare[q.spare_count + used - 1 - i];
    return head;
}

rte_mbuf* read_frame(TapRxQueue& q) {
    if (!fill_spare(q)) [[unlikely]]
        return nullptr;
    VirtioNetHeader header;
    iovec parts[kTapSegments + 1];
    parts[0] = {.iov_base = &header, .iov_len = sizeof header};
    for (unsigned i = 0; i < kTapSegments; ++i) {
        rte_mbuf* m = q.spare[i];
        parts[i + 1] = {.iov_base = rte_pktmbuf_mtod(m, void*), .iov_len = rte_pktmbuf_tailroom(m)};
    }
    const ssize_t n = readv(q.fd, parts, kTapSegments + 1);
    if (n <= static_cast<ssize_t>(sizeof header)) {
        // Only that the interface is no more is for good; while it is down nothing comes.
        if (n < 0 && errno == EBADFD) [[unlikely]] {
            epoll_ctl(q.wake_fd, EPOLL_CTL_DEL, q.fd, nullptr);
            q.fault.store(QueueFault::kDeviceGone, std::memory_order_release);
        }
        return nullptr;
    }
    rte_mbuf* m = chain_spare(q, static_cast<uint32_t>(static_cast<size_t>(n) - sizeof header));
    flags_from_header(*m, header);
    return m;
}

}  // namespace

uint16_t tap_receive(RxQueue& queue, rte_mbuf** packets, uint16_t n) {
    auto& q = static_cast<TapRxQueue&>(queue);
    uint16_t received = 0;
    while (received < n) {
        rte_mbuf* m = read_frame(q);
        if (m == nullptr) break;
        packets[received++] = m;
    }
    return received;
}

uint16_t tap_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n) {
    auto& p = static_cast<TapTxPort&>(port);
    const int fd = p.fds[worker.value() % p.queues];
    uint16_t sent = 0;
    for (; sent < n; ++sent) {
        rte_mbuf* m = packets[sent];
        VirtioNetHeader header = header_from_flags(*m);
        iovec parts[kTapSegments + 1];
        parts[0] = {.iov_base = &header, .iov_len = sizeof header};
        int count = 1;
        if (m->nb_segs <= kTapSegments) [[likely]] {
            for (rte_mbuf* s = m; s != nullptr; s = s->next)
                parts[count++] = {.iov_base = rte_pktmbuf_mtod(s, void*), .iov_len = s->data_len};
            if (writev(fd, parts, count) >= 0) continue;
            if (errno != EINVAL) break;  // down or out of memory: the caller keeps the rest
        }
        p.refused.fetch_add(1, std::memory_order_relaxed);
    }
    rte_pktmbuf_free_bulk(packets, sent);
    return sent;
}

}  // namespace slash32
