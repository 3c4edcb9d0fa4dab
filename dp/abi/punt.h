// SPDX-License-Identifier: Apache-2.0
// What a worker gives to control: packets for the slow path, and copies for captures.
//
// Both go through rte_rings of mbufs, one pair a worker, single producer (the worker), single
// consumer (control). The mbuf says where it came from: mbuf->port is the source PortId, and the
// private area behind the mbuf holds a PuntInfo.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/base/ids.h"

#include <cstdint>

namespace slash32 {

enum class PuntReason : uint8_t {
    kAddressAnnounced,  // gratuitous ARP, unsolicited NA or RARP from a port that may send it
    kUnresolved,        // ready to be sent but for its next hop's MAC (dp/abi/adjacency.h)
    kDenied,            // the first bytes of a packet that the filter of `port` refused, a copy
    kTunnelError,       // an ICMPv6 error about a packet that this node has put into a tunnel
    kMissed,            // the first bytes of one that went by a route of kReportsMisses, a copy
    kCount,
};

enum class CaptureDirection : uint8_t { kIn = 1, kOut = 2, kDropped = 4 };

struct PuntInfo {
    PortId port;                 // source port; for a captured outgoing packet the destination port
    PuntReason reason;           // of a punt
    CaptureDirection direction;  // of a captured copy
    DropReason drop_reason;      // where direction is kDropped, and of kDenied
    VrfId vrf;                   // of kMissed: whose routes it went by
    uint32_t original_length;    // of a captured copy, bytes before cutting
    uint64_t tsc;                // when
};
static_assert(sizeof(PuntInfo) == 24);

}  // namespace slash32
