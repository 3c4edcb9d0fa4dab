// SPDX-License-Identifier: Apache-2.0
// How a packet from an uplink reaches the host.
//
// Thread safety: the worker's own.
#pragma once

#include "dp/packet/burst.h"
#include "dp/stage/context.h"

namespace slash32 {

// Sends the packet as it was received to the host's view of the uplink, within the limit of its
// class; else drops it. REQUIRES: it is from an uplink that has a twin.
void to_host(WorkerContext&, Burst&, unsigned i);

}  // namespace slash32
