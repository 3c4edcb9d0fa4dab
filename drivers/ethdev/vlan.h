// SPDX-License-Identifier: Apache-2.0
// The transmit side of an uplink's VLAN: puts the 802.1Q tag into frames, and sends them by the
// uplink's.
#pragma once

#include "dp/base/limits.h"
#include "drivers/ethdev/queue.h"

#include <cstdint>

namespace slash32 {

struct alignas(kCacheLine) VlanTxPort : TxPort {
    EthTxPort* uplink = nullptr;
    uint16_t vlan = 0;
};

// What is not taken is given back without the tag.
uint16_t vlan_transmit(TxPort& port, WorkerId worker, rte_mbuf** packets, uint16_t n);

}  // namespace slash32
