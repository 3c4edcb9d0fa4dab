// SPDX-License-Identifier: Apache-2.0
// Reads a punted announcement: which address a VM says is its own.
#pragma once

#include "dp/base/net.h"

#include <cstdint>
#include <optional>
#include <span>

namespace slash32 {

// The sender's protocol address of an ARP packet (RFC 826), or the target of a neighbour
// advertisement (RFC 4861 section 4.4), of an untagged Ethernet frame. nullopt for anything else.
std::optional<IpAddress> announced_address(std::span<const uint8_t> frame);

}  // namespace slash32
