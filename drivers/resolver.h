// SPDX-License-Identifier: Apache-2.0
// The device of packets whose next hop's MAC address is not known: what is sent to it goes to
// control, which finds the address out and sends them on. They are complete but for it: offloads
// are resolved, since this port has none, and the destination says which next hop they want
// (dp/abi/adjacency.h).
#pragma once

#include "dp/abi/device.h"
#include "dp/base/limits.h"

#include <array>
#include <memory>
#include <vector>

struct rte_ring;

namespace slash32 {

struct ResolverPort : TxPort {
    std::array<rte_ring*, kMaxWorkers> punt_rings{};  // each written by its worker alone
    int doorbell = -1;                                // eventfd of control
};

// `punt_rings` by worker.
std::unique_ptr<ResolverPort> make_resolver(const std::vector<rte_ring*>& punt_rings, int doorbell);

}  // namespace slash32
