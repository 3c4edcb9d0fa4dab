// SPDX-License-Identifier: Apache-2.0
// The parse stage for one packet that has changed on its way: what came out of a tunnel.
#pragma once

#include "dp/packet/burst.h"
#include "dp/stage/context.h"

namespace slash32 {

// Takes the packet for one that the burst's port has just received, but counts nothing as received:
// its meta and its bits in the masks of kinds are found anew. One that is refused is dropped.
// REQUIRES: the packet is live, and begins with an Ethernet header to the port's own MAC.
void parse_again(WorkerContext&, Burst&, unsigned i);

}  // namespace slash32
