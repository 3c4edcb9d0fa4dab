// SPDX-License-Identifier: Apache-2.0
// Whom the router speaks for on an uplink in L2 mode: the VMs behind it.
#pragma once

#include "dp/stage/context.h"

namespace slash32 {

// Whether the link's neighbours reach `address` by the uplink: a VM has it, by a host route. The
// host's own link is none of the VMs'.
template <typename Address>
bool speaks_for(const WorkerContext& context, const PortConfig& uplink, const Address& address) {
    if (!uplink.has(kAnswersForVms)) return false;
    const NextHopId hop = context.fib.lookup_host(uplink.vrf, address);
    const Adjacency& adjacency = context.adjacency(context.member(hop, 0));
    if (adjacency.kind != AdjacencyKind::kEthernet) return false;
    const PortConfig* port = context.ports[adjacency.port.value()];
    if (port == nullptr || port->has(kHostLink)) return false;
    return port->kind == PortKind::kVhost || port->kind == PortKind::kTap;
}

}  // namespace slash32
