// SPDX-License-Identifier: Apache-2.0
// What a route leads to, compiled. Each worker has its own array by NextHopId, edited by commands.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/limits.h"
#include "dp/base/net.h"

#include <cstdint>
#include <type_traits>

namespace slash32 {

enum class AdjacencyKind : uint8_t {
    kNone = 0,         // never used, or deleted: no route
    kBlackhole = 1,    // dropped in silence
    kUnreachable = 2,  // dropped, ICMP unreachable
    kEthernet = 3,     // out of a port with the header below
    kIncomplete = 4,   // a neighbour whose MAC is not known
};

struct Adjacency {
    AdjacencyKind kind = AdjacencyKind::kNone;
    uint8_t reserved = 0;
    PortId port;
    uint16_t mtu = 0;  // of the IP packet, bytes
    Mac destination;
    Mac source;
};
static_assert(sizeof(Adjacency) == 18 && std::is_trivially_copyable_v<Adjacency>);

}  // namespace slash32
