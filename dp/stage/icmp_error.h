// SPDX-License-Identifier: Apache-2.0
// ICMP errors, built by the worker in the buffer of the packet that they tell of, so that
// traceroute and path MTU discovery need no other thread. For every stage that refuses packets.
//
// RFC 792, RFC 1191, RFC 1812 section 4.3.2, RFC 4443 section 2.4. No error is sent about an ICMP
// error, a later fragment, or a packet to a group; all others within the worker's rate limit. The
// error leaves through the packet's own port, with the port's gateway as its source.
#pragma once

#include "dp/packet/burst.h"
#include "dp/packet/icmp.h"
#include "dp/stage/context.h"

#include <cstdint>

struct rte_mbuf;

namespace slash32 {

// Drops the packet for `reason` and sends the error. Where the rate limit or the buffer's headroom
// forbids the error, the packet is dropped for kIcmpRateLimited or kNoHeadroom instead. `detail`
// is what the error says besides: the MTU of the next hop's link, or the offset of the bad field.
void drop_with_error(WorkerContext&, Burst&, unsigned i, DropReason reason, IcmpError,
                     uint16_t detail = 0);

// Turns the packet into the error about it, from the gateway of `port` to the packet's sender, who
// gets it at the frame's source MAC. REQUIRES: meta.l3, kind and ip_length are of the packet, which
// stands in one segment with headroom for IP and ICMP headers.
void make_icmp_error(const PortConfig& port, rte_mbuf* packet, const PacketMeta& meta, IcmpError,
                     uint16_t detail);

}  // namespace slash32
