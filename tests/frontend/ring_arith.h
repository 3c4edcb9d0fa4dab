// SPDX-License-Identifier: Apache-2.0
// Arithmetic of the free-running 16-bit ring indices of split virtqueues (virtio 1.1, section 2.6).
//
// Indices wrap at 65,536, ring sizes are powers of two, and every difference is taken modulo 2^16:
// these functions are the one place where that is written down.
#pragma once

#include <bit>
#include <cstdint>

namespace slash32::frontend {

constexpr uint16_t index_add(uint16_t index, uint16_t n) {
    return static_cast<uint16_t>(index + n);
}

// How far `to` is ahead of `from`.
constexpr uint16_t index_distance(uint16_t from, uint16_t to) {
    return static_cast<uint16_t>(to - from);
}

constexpr bool valid_ring_size(uint32_t size) {
    return size != 0 && size <= 32768 && std::has_single_bit(size);
}

// The slot of a free-running index. REQUIRES: valid_ring_size(size).
constexpr uint16_t ring_slot(uint16_t index, uint16_t size) {
    return static_cast<uint16_t>(index & (size - 1));
}

// Whether moving an index from `before` to `after` passed the other side's event index, so that it
// asked to be notified (section 2.6.7.2: notify when the entry at `event` has been added).
constexpr bool passed_event(uint16_t event, uint16_t before, uint16_t after) {
    return index_distance(event, static_cast<uint16_t>(after - 1)) < index_distance(before, after);
}

// Whether a used index read from shared memory can be true: not further than what was available.
constexpr bool plausible_used(uint16_t last_used, uint16_t used, uint16_t available) {
    return index_distance(last_used, used) <= index_distance(last_used, available);
}

}  // namespace slash32::frontend
