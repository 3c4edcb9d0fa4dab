// SPDX-License-Identifier: Apache-2.0
// Tells the packets of an uplink's VLANs from its own.
#pragma once

#include "dp/abi/port.h"
#include "dp/base/ids.h"
#include "dp/base/limits.h"
#include "dp/packet/burst.h"

#include <array>
#include <cstdint>

struct rte_mbuf;

namespace slash32 {

// A burst of an uplink, to be taken out of it port by port.
class VlanSplit {
  public:
    // Takes off the tags. A frame of a VLAN that the uplink has not keeps its tag, and the uplink's
    // pipeline refuses it (bad_vlan).
    // REQUIRES: uplink.vlans is set; n is 1 to kBurstSize.
    VlanSplit(const PortConfig& uplink, rte_mbuf* const* packets, uint16_t n);

    bool empty() const { return left_ == 0; }
    // Moves the packets of the port of the first one left to `packets`, in their order. Returns how
    // many. REQUIRES: !empty().
    uint16_t take(PortId& port, rte_mbuf** packets);

  private:
    uint32_t left_;
    std::array<rte_mbuf*, kBurstSize> packets_;
    std::array<PortId, kBurstSize> ports_;
};

}  // namespace slash32
