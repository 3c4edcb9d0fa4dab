// SPDX-License-Identifier: Apache-2.0
// How the filter refuses a packet.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/packet/burst.h"
#include "dp/stage/context.h"

namespace slash32 {

// Drops the packet; where the port whose filter refused it asks for that (kLogDenied), control gets
// a copy of its headers, within the worker's rate limit.
void deny(WorkerContext&, Burst&, unsigned i, const PortConfig& filtering, DropReason);

}  // namespace slash32
