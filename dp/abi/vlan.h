// SPDX-License-Identifier: Apache-2.0
// The VLANs of an uplink, each a port of its own.
#pragma once

#include "dp/base/ids.h"

#include <array>

namespace slash32 {

inline constexpr unsigned kMaxVlan = 4094;  // 4095 is reserved

// Built by control, replaced whole with the uplink's PortConfig.
struct VlanPorts {
    // By VLAN id (IEEE 802.1Q); kNoPort: none. 0 is of frames that have a priority but no VLAN: the
    // uplink itself.
    std::array<PortId, 4096> ports;
};

}  // namespace slash32
