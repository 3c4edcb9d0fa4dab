// SPDX-License-Identifier: Apache-2.0
// The flow clock, by which workers and control measure idleness.
#pragma once

#include <cstdint>

namespace slash32 {

// Seconds since the machine has started, never 0. `tsc_hz`: of the time-stamp counter.
inline uint32_t flow_clock(uint64_t tsc, uint64_t tsc_hz) {
    return static_cast<uint32_t>(tsc / tsc_hz + 1);
}

}  // namespace slash32
