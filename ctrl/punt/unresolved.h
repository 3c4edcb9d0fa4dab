// SPDX-License-Identifier: Apache-2.0
// What a packet wants that lacks nothing but the MAC address of its next hop, which its frame's
// first six bytes wait for.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/net.h"

#include <cstdint>
#include <optional>
#include <span>

namespace slash32 {

struct UnresolvedPacket {
    NextHopId hop;  // an adjacency, as dp/abi/adjacency.h puts it into the destination
    IpAddress destination;
};

// std::nullopt for what is no IP packet, or is cut short before its addresses.
std::optional<UnresolvedPacket> read_unresolved(std::span<const uint8_t> frame);

}  // namespace slash32
