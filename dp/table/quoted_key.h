// SPDX-License-Identifier: Apache-2.0
// The flow that an ICMP error is about, from the packet that it quotes.
#pragma once

#include "dp/abi/flow.h"
#include "dp/abi/port.h"
#include "dp/packet/burst.h"

#include <optional>

struct rte_mbuf;

namespace slash32 {

// The key of the direction that answers the quoted packet, as packets from the error's own port: an
// error about a flow is believed only where the flow's packets go. Nothing when the quotation is
// too short or malformed, when it is of a later fragment or of an error, or when the error is not
// addressed to the quoted packet's sender (RFC 5927 section 4.1 tells what forged errors do).
// REQUIRES: meta is of an ICMP or ICMPv6 error.
std::optional<FlowKey> quoted_flow_key(rte_mbuf* packet, const PacketMeta& meta,
                                       const PortConfig& in, VrfId vrf);

}  // namespace slash32
