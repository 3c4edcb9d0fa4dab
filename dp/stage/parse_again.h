// SPDX-License-Identifier: Apache-2.0
// The parse stage for packets that have changed on their way: what came out of a tunnel.
#pragma once

#include "dp/packet/burst.h"
#include "dp/stage/context.h"

namespace slash32 {

// Takes the packets of the mask for such as the burst's port has just received, but counts nothing
// as received: their meta and their bits in the masks of kinds are found anew. Those that are
// refused are dropped.
// REQUIRES: they are live, and begin with an Ethernet header.
void parse_again(WorkerContext&, Burst&, uint32_t packets);

}  // namespace slash32
