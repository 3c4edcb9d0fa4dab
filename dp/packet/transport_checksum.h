// SPDX-License-Identifier: Apache-2.0
// The TCP or UDP checksum of a packet, computed in full from its bytes.
#pragma once

#include "dp/packet/burst.h"

struct rte_mbuf;

namespace slash32 {

// Whatever stood in the field is overwritten. REQUIRES: a whole TCP or UDP packet, no fragment, no
// routing header, with its lengths in `meta`; meta.l3 points into `packet`.
void fill_transport_checksum(rte_mbuf* packet, const PacketMeta& meta);

}  // namespace slash32
