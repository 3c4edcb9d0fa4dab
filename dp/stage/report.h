// SPDX-License-Identifier: Apache-2.0
// How control gets to see a packet that goes its own way.
#pragma once

#include "dp/abi/punt.h"
#include "dp/stage/context.h"

struct rte_mbuf;

namespace slash32 {

// Gives control a copy of the packet's headers with `why`, which says everything but the time and
// the packet's length. Where memory or room in the ring is short, there is none.
void report_headers(WorkerContext&, const rte_mbuf* packet, PuntInfo why);

}  // namespace slash32
