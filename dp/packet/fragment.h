// SPDX-License-Identifier: Apache-2.0
// IPv4 fragmentation (RFC 791 section 3.2), for packets larger than the next link that may be cut.
#pragma once

#include "dp/packet/burst.h"
#include "dp/packet/cut.h"
#include "dp/packet/packet_list.h"

namespace slash32 {

// Cuts the packet, which may be a fragment already, into fragments of at most `mtu` bytes and
// appends them to `out`. The packet itself is left as it is. On failure `out` is empty.
// REQUIRES: an IPv4 packet without DF, transport checksum filled, Ethernet header final.
CutResult fragment_ipv4(const rte_mbuf* packet, const PacketMeta& meta, uint16_t mtu,
                        rte_mempool* pool, PacketList& out);

}  // namespace slash32
