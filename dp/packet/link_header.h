// SPDX-License-Identifier: Apache-2.0
// The Ethernet header of a packet that leaves by an adjacency.
#pragma once

#include "dp/abi/adjacency.h"
#include "dp/packet/headers.h"

#include <cstddef>
#include <cstring>

namespace slash32 {

// Both MAC addresses at once: they stand together in both.
inline void set_macs(EthernetHeader& ethernet, const Adjacency& adjacency) {
    constexpr size_t kBoth = 2 * sizeof(Mac);
    static_assert(offsetof(EthernetHeader, source) == sizeof(Mac) &&
                  offsetof(Adjacency, source) == offsetof(Adjacency, destination) + sizeof(Mac));
    const auto* from =
        reinterpret_cast<const std::byte*>(&adjacency) + offsetof(Adjacency, destination);
    std::memcpy(reinterpret_cast<std::byte*>(&ethernet), from, kBoth);
}

}  // namespace slash32
