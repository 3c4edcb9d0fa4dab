// SPDX-License-Identifier: Apache-2.0
// What a refused packet was, read from the copy of its first bytes that a worker has sent.
#pragma once

#include "dp/abi/punt.h"
#include "dp/base/net.h"

#include <cstdint>
#include <optional>
#include <span>

namespace slash32 {

struct DeniedPacket {
    PortId port;  // whose filter refused it
    DropReason reason;
    IpAddress src;
    IpAddress dst;
    uint8_t protocol = 0;
    std::optional<uint16_t> sport;  // of TCP, UDP and SCTP
    std::optional<uint16_t> dport;
};

// std::nullopt for what is no IP packet, or is cut short before its addresses.
std::optional<DeniedPacket> read_denied(std::span<const uint8_t> frame, const PuntInfo& info);

}  // namespace slash32
