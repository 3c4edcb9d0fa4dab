// SPDX-License-Identifier: Apache-2.0
#include "drivers/resolver.h"

#include "dp/abi/port.h"
#include "dp/abi/punt.h"

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <unistd.h>

#include <algorithm>

namespace slash32 {
namespace {

// One doorbell a burst: the packets are few, by the worker's rate limit.
uint16_t hand_to_control(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n) {
    auto& resolver = static_cast<ResolverPort&>(port);
    for (uint16_t i = 0; i < n; ++i) {
        auto* info = static_cast<PuntInfo*>(rte_mbuf_to_priv(packets[i]));
        *info = PuntInfo{};
        info->reason = PuntReason::kUnresolved;
        info->original_length = packets[i]->pkt_len;
    }
    const unsigned taken = rte_ring_sp_enqueue_burst(
        resolver.punt_rings[worker.value()], reinterpret_cast<void* const*>(packets), n, nullptr);
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t rung = write(resolver.doorbell, &one, sizeof one);
    return static_cast<uint16_t>(taken);
}

}  // namespace

std::unique_ptr<ResolverPort> make_resolver(const std::vector<rte_ring*>& punt_rings,
                                            int doorbell) {
    auto resolver = std::make_unique<ResolverPort>();
    resolver->transmit = hand_to_control;
    resolver->port = kResolverPort;
    resolver->ready = true;
    resolver->doorbell = doorbell;
    std::copy_n(punt_rings.begin(), std::min(punt_rings.size(), kMaxWorkers),
                resolver->punt_rings.begin());
    return resolver;
}

}  // namespace slash32
