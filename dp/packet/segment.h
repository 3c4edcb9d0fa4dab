// SPDX-License-Identifier: Apache-2.0
// TCP segmentation in software, for receivers that cannot take a large segment.
#pragma once

#include "dp/packet/burst.h"
#include "dp/packet/cut.h"
#include "dp/packet/packet_list.h"

namespace slash32 {

// Cuts the TCP packet into segments of at most packet->tso_segsz payload bytes and appends them to
// `out`, checksums filled. The packet itself is left as it is. On failure `out` is empty.
// REQUIRES: meta.has(kLargeSegment), meta.l3 points into the packet, whose Ethernet header is
// final.
CutResult segment_tcp(const rte_mbuf* packet, const PacketMeta& meta, rte_mempool* pool,
                      PacketList& out);

}  // namespace slash32
