// SPDX-License-Identifier: Apache-2.0
#include "drivers/ethdev/vlan.h"

#include "dp/packet/vlan.h"

#include <rte_mbuf.h>

namespace slash32 {

uint16_t vlan_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n) {
    const auto& vlan = static_cast<const VlanTxPort&>(port);
    uint16_t tagged = 0;
    while (tagged < n && insert_vlan_tag(packets[tagged], vlan.vlan))
        ++tagged;
    const uint16_t sent = vlan.uplink->transmit(*vlan.uplink, worker, packets, tagged);
    for (uint16_t i = sent; i < tagged; ++i)
        remove_vlan_tag(packets[i]);
    return sent;
}

}  // namespace slash32
