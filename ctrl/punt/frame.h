// SPDX-License-Identifier: Apache-2.0
// Headers in a frame that a worker has sent, within its bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace slash32 {

// nullptr where the frame ends before. REQUIRES: T may stand at any address.
template <typename T>
const T* header_at(std::span<const uint8_t> frame, size_t offset) {
    static_assert(alignof(T) == 1);
    if (offset + sizeof(T) > frame.size()) return nullptr;
    return reinterpret_cast<const T*>(frame.data() + offset);
}

}  // namespace slash32
