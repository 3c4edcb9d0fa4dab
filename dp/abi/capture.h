// SPDX-License-Identifier: Apache-2.0
// A running capture of one port: what workers copy, and how much of it.
//
// Cost is bounded by a token bucket per worker, by the copy pool, and by the ring to control: what
// finds no room is counted in `missed` and not waited for. Nothing is spent on ports without one.
#pragma once

#include "dp/abi/punt.h"

#include <atomic>
#include <cstdint>

struct bpf_insn;

namespace slash32 {

struct Capture {
    PortId port;
    uint8_t directions = 0;            // CaptureDirection bits
    uint32_t snap_length = 256;        // bytes kept of each packet
    const bpf_insn* filter = nullptr;  // classic BPF on the Ethernet frame, nullptr takes all
    std::atomic<uint64_t> missed{0};   // workers: rw, ctrl: ro
};

}  // namespace slash32
