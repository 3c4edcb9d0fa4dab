// SPDX-License-Identifier: Apache-2.0
// What the fabric says of a packet that this node has put into a tunnel, read from its ICMPv6 error
// (RFC 4443 section 3), and what the inner packet's sender is told (RFC 2473 section 8).
#pragma once

#include "dp/base/net.h"
#include "dp/packet/burst.h"
#include "dp/packet/icmp.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace slash32 {

struct TunnelError {
    uint8_t type = 0;  // of the ICMPv6 message: 1 to 4
    // Type 2: of the link that the packet was too big for, as far as a link may have it.
    uint16_t mtu = 0;
    Ip6 last_segment;                        // of the outer packet
    size_t outer = 0;                        // bytes of its headers
    size_t inner = 0;                        // where the inner packet begins in the frame
    PacketKind kind = PacketKind::kUnknown;  // of the inner packet
    IpAddress src;                           // its addresses
    IpAddress dst;
};

// `frame`: from the Ethernet header on. std::nullopt for what is no such error, or quotes too
// little.
std::optional<TunnelError> read_tunnel_error(std::span<const uint8_t> frame);

// Of the inner packet's error: what it says, and the MTU that it tells (IcmpError::kTooBig).
struct InnerError {
    IcmpError error = IcmpError::kHostUnreachable;
    uint16_t mtu = 0;
};

// std::nullopt where nothing is to be said: about ICMP errors, later fragments, what no single host
// has sent or should get, and IPv4 packets that may be fragmented, which will be from now on.
// `frame` as above.
std::optional<InnerError> translate(const TunnelError& error, std::span<const uint8_t> frame);

}  // namespace slash32
