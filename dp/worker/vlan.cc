// SPDX-License-Identifier: Apache-2.0
#include "dp/worker/vlan.h"

#include "dp/abi/vlan.h"
#include "dp/packet/vlan.h"

#include <bit>

namespace slash32 {

VlanSplit::VlanSplit(const PortConfig& uplink, rte_mbuf* const* packets, uint16_t n)
    : left_(n == kBurstSize ? UINT32_MAX : (1u << n) - 1) {
    for (uint16_t i = 0; i < n; ++i) {
        packets_[i] = packets[i];
        ports_[i] = uplink.id;
        const auto vlan = vlan_of(packets[i]);
        if (!vlan) continue;
        const PortId port = uplink.vlans->ports[*vlan];
        if (port == kNoPort) continue;
        ports_[i] = port;
        remove_vlan_tag(packets[i]);
    }
}

uint16_t VlanSplit::take(PortId& port, rte_mbuf** packets) {
    port = ports_[std::countr_zero(left_)];
    uint16_t count = 0;
    for_each_packet(left_, [&](unsigned i) {
        if (ports_[i] != port) return;
        packets[count++] = packets_[i];
        left_ &= ~(1u << i);
    });
    return count;
}

}  // namespace slash32
