// SPDX-License-Identifier: Apache-2.0
// The filter at both ends of a packet's way. A port is open (the group `any`, or no port security)
// or closed: a closed one passes nothing but what the ARP, ND and DHCP stages have taken before.
// Uplinks have no filter: each VM's port has its own.
#include "dp/stage/disposition.h"
#include "dp/stage/stages.h"

namespace slash32 {
namespace {

bool is_open(const PortConfig& port) {
    return port.kind == PortKind::kUplink || port.has(kFilterOpen);
}

}  // namespace

void filter_egress(WorkerContext& context, Burst& burst) {
    if (is_open(*burst.in)) [[likely]]
        return;
    drop_all(context, burst, burst.live, DropReason::kNoGroup);
}

void filter_ingress(WorkerContext& context, Burst& burst) {
    for_each_packet(burst.live, [&](unsigned i) {
        // The route stage has seen that the port exists.
        if (!is_open(*context.ports[burst.meta[i].out_port.value()])) {
            drop(context, burst, i, DropReason::kDeniedIngress);
        }
    });
}

}  // namespace slash32
