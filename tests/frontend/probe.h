// SPDX-License-Identifier: Apache-2.0
// The test traffic: UDP over IPv4 in frames that say where they come from, where they should
// arrive, and which one of their run they are.
//
// Port i has the address 10.0.0.0 + i + 10 and the MAC 02:00:00:00:hh:ll (its number in the last
// two bytes). A probe goes to the gateway's MAC; a router rewrites both MACs and the hop limit,
// and everything else must arrive as it was sent: `parse_probe` checks lengths and checksums.
#pragma once

#include "dp/base/net.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace slash32::frontend {

inline constexpr uint16_t kProbePort = 7332;
// Ethernet, IPv4, UDP, and the 20 bytes of a probe.
inline constexpr size_t kMinProbeBytes = 14 + 20 + 8 + 20;

struct Host {
    Mac mac;
    Ip4 ip;
};

Host host_of(uint32_t port);

struct Probe {
    uint16_t run = 0;
    uint16_t source = 0;  // port numbers, as for host_of
    uint16_t target = 0;
    uint32_t sequence = 0;
    uint64_t sent_ns = 0;  // now_ns() of the sender
};

// Writes one frame of `bytes` bytes (at least kMinProbeBytes) into `out`.
void build_probe(const Probe& probe, const Mac& gateway, size_t bytes, std::vector<uint8_t>& out);

// Nothing when the frame is no probe, or when anything in it is wrong.
std::optional<Probe> parse_probe(std::span<const uint8_t> frame);

// RFC 1071: the one's complement sum of the bytes, folded, not inverted.
uint16_t ones_sum(std::span<const uint8_t> bytes, uint32_t start = 0);

}  // namespace slash32::frontend
