// SPDX-License-Identifier: Apache-2.0
// The workers' flow clock, read by control.
#pragma once

#include "dp/abi/flow_clock.h"

#include <rte_cycles.h>

#include <cstdint>

namespace slash32 {

inline uint32_t flow_clock_now() {
    return flow_clock(rte_rdtsc(), rte_get_tsc_hz());
}

}  // namespace slash32
