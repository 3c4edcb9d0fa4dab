// SPDX-License-Identifier: Apache-2.0
// The packet that `explain` sends through the tables.
#pragma once

#include "dp/base/net.h"
#include "dp/base/result.h"

#include <cstdint>
#include <optional>

struct rte_mbuf;
struct rte_mempool;

namespace slash32 {

// What a client asks about. Addresses are of one family; ports are those of TCP, UDP and SCTP.
struct Probe {
    IpAddress source;
    IpAddress destination;
    uint8_t protocol = 0;
    uint16_t source_port = 0;
    uint16_t destination_port = 0;
    uint8_t icmp_type = 8;
    uint8_t icmp_code = 0;
    Mac source_mac;
    Mac destination_mac;
    uint8_t hop_limit = 64;
    uint16_t length = 64;  // of the IP packet, bytes
};

// The probe as an Ethernet frame with right lengths and checksums, in one buffer of the pool.
// Errors: kInvalid with path "length" (too short for its headers, or larger than a buffer),
// kUnavailable (no buffer).
Result<rte_mbuf*> make_probe(const Probe& probe, rte_mempool* pool);

}  // namespace slash32
