// SPDX-License-Identifier: Apache-2.0
// What a route leads to, compiled. Each worker has its own array by NextHopId, edited by commands.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/limits.h"
#include "dp/base/net.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <type_traits>

namespace slash32 {

enum class AdjacencyKind : uint8_t {
    kNone = 0,         // never used, or deleted: no route
    kBlackhole = 1,    // dropped in silence
    kUnreachable = 2,  // dropped, ICMP unreachable
    kEthernet = 3,     // out of a port with the header below
    kIncomplete = 4,   // a neighbour whose MAC is not known
    kHost = 5,         // an address of the host's own
    kGlean = 6,        // an on-link address: whoever has it is a neighbour yet to be found
    kTunnel = 7,       // into an encapsulation, then on by `underlay`
    kSegment = 8,      // a segment of this node
    kVrf = 9,          // by the routes of another VRF
};

// VRFs that routes may lead a packet through (kVrf).
inline constexpr unsigned kMaxVrfHops = 4;

struct Encapsulation;  // dp/abi/srv6.h
struct LocalSid;

enum AdjacencyFlag : uint8_t {
    kResolves = 1,       // kIncomplete, kGlean: control gets the packets, asks for the MAC
    kReportsMisses = 2,  // kTunnel: control is told of destinations that go by it
    kNotesUse = 4,       // kTunnel: HopUse says when a packet last went by it
};

struct Adjacency {
    AdjacencyKind kind = AdjacencyKind::kNone;
    uint8_t flags = 0;  // AdjacencyFlag bits
    PortId port;
    uint16_t mtu = 0;  // of the IP packet, bytes; kTunnel: of the inner one
    Mac destination;   // kResolves: the id of this adjacency, by unresolved_mac()
    Mac source;
    VrfId vrf;           // kVrf
    NextHopId underlay;  // kTunnel: an adjacency or a group; kNoNextHop: none leads there now
    union {
        const Encapsulation* encapsulation = nullptr;  // kTunnel
        const LocalSid* sid;                           // kSegment
    };
};
static_assert(sizeof(Adjacency) == 32 && std::is_trivially_copyable_v<Adjacency>);

// When a packet last went by an adjacency of kNotesUse, by NextHopId, on the flow clock. Workers
// write, control reads, and writes where an id is given out.
using HopUse = std::array<std::atomic<uint32_t>, kMaxAdjacencies>;

// Out of some port.
inline bool leads_out(const Adjacency& adjacency) {
    return adjacency.kind == AdjacencyKind::kEthernet ||
           adjacency.kind == AdjacencyKind::kIncomplete || adjacency.kind == AdjacencyKind::kGlean;
}

// So that control can tell from a packet which next hop it wants: no station has such an address.
inline Mac unresolved_mac(NextHopId id) {
    const uint32_t value = id.value();
    return Mac{{0, 0, 0, static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8),
                static_cast<uint8_t>(value)}};
}
inline NextHopId unresolved_hop(const Mac& mac) {
    return NextHopId{static_cast<uint32_t>(mac.bytes[3] << 16 | mac.bytes[4] << 8 | mac.bytes[5])};
}

}  // namespace slash32
