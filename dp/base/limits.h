// SPDX-License-Identifier: Apache-2.0
// Every capacity of slash32, in one place, with the relations between them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slash32 {

inline constexpr size_t kCacheLine = 64;

// Workers and bursts.
inline constexpr size_t kMaxWorkers = 32;
inline constexpr size_t kBurstSize = 32;  // packets handled together; a bit each in a mask
inline constexpr size_t kCommandRingEntries = 4096;  // per worker
inline constexpr size_t kCommandsPerDrain = 64;      // bound on commands between two bursts
inline constexpr size_t kPuntRingEntries = 1024;     // per worker
inline constexpr size_t kMaxStages = 24;             // whose cycles are counted

// Ports. librte_vhost holds at most 1,024 devices (RTE_MAX_VHOST_DEVICE).
inline constexpr size_t kMaxPorts = 4096;  // ids, 0 unused
inline constexpr size_t kMaxVhostPorts = 1024;
inline constexpr size_t kMaxQueuePairs = 8;         // per port
inline constexpr size_t kMaxAddressesPerPort = 64;  // fixed addresses and allowed pairs together
inline constexpr size_t kMaxGatewaysPerPort = 8;
inline constexpr size_t kMaxRxQueuesPerWorker = kMaxPorts * kMaxQueuePairs;

// Forwarding tables.
inline constexpr size_t kVrfBits = 12;
inline constexpr size_t kMaxVrfs = size_t{1} << kVrfBits;
inline constexpr size_t kNextHopBits = 20;
inline constexpr size_t kMaxNextHops = size_t{1} << kNextHopBits;  // the id space, 0 unused
inline constexpr size_t kMaxAdjacencies = 65536;                   // ids below this are adjacencies
inline constexpr size_t kMaxNextHopGroups = 16384;                 // ids behind those
inline constexpr size_t kGroupBuckets = 256;                       // of a group, shared out
inline constexpr size_t kMaxGroupMembers = 64;
inline constexpr size_t kMaxSegments = 8;                  // of a tunnel
inline constexpr size_t kMaxSids = 8192;                   // local segments, for counters
inline constexpr size_t kMaxHostRoutes = size_t{1} << 20;  // per address family
inline constexpr size_t kMaxPrefixes = size_t{1} << 20;    // per address family, all VRFs

// Firewall.
inline constexpr size_t kMaxAddressSets =
    kMaxVrfs;  // ids, 0 unused; a set is kept as a VRF's routes are
inline constexpr size_t kMaxSetMembers = size_t{1} << 20;  // per address family, all sets
inline constexpr size_t kMaxRules = 65536;                 // ids, 0 unused, of all groups
inline constexpr size_t kMaxRulesPerPort = 16384;
inline constexpr size_t kMaxGroupsPerPort = 64;
inline constexpr size_t kDefaultFlows = size_t{1} << 18;
inline constexpr size_t kMaxFlows = size_t{1} << 24;
inline constexpr size_t kMaxFragmented = 4096;                       // packets in parts, per worker
inline constexpr size_t kMaxFragmentedPerPort = kMaxFragmented / 8;  // of an uplink, half of all
// Of parts that wait for their first.
inline constexpr size_t kMaxWaitingBuffers = 1024;                           // per worker
inline constexpr size_t kMaxWaitingBuffersPerPort = kMaxWaitingBuffers / 8;  // the same
inline constexpr unsigned kFragmentSeconds = 5;

// Packets.
inline constexpr size_t kMinMtu = 1280;  // RFC 8200 section 5: what IPv6 needs of a link
inline constexpr size_t kMaxMtu = 9216;
inline constexpr size_t kDefaultMtu = 1500;
inline constexpr size_t kMaxIpv6ExtensionHeaders = 8;  // walked; more is a drop
inline constexpr size_t kMaxIpv6ExtensionBytes = 256;
inline constexpr size_t kMaxHeaderBytes = 384;     // gathered into the first buffer of a chain
inline constexpr size_t kMaxPartsPerPacket = 256;  // segments or fragments cut in software

static_assert(kBurstSize == 32, "Burst masks are uint32_t");
static_assert(kMaxPorts <= UINT16_MAX);
static_assert(kMaxAdjacencies + kMaxNextHopGroups <= kMaxNextHops);
static_assert(kMaxHeaderBytes >= 14 + 40 + kMaxIpv6ExtensionBytes + 60, "Ethernet, IPv6 and TCP");
static_assert(kVrfBits + 32 + kNextHopBits == 64, "an IPv4 host route is one 64-bit word");

}  // namespace slash32
