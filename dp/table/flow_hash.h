// SPDX-License-Identifier: Apache-2.0
// The hash of a flow's key, and what its bits choose.
#pragma once

#include "dp/abi/fib.h"
#include "dp/abi/flow.h"
#include "dp/packet/headers.h"

#include <cstdint>

namespace slash32 {

// The same for both directions of a flow but for the tag's lowest bit, so that one link serves
// both: a new flow touches one bucket, and its packets of either direction the same. Whose port
// they come from is for the key to tell. REQUIRES: seed is secret, or a VM chooses which keys
// collide; the key is none of ICMP.
inline uint64_t hash_ported_key(const FlowKey& key, const FlowSeed& seed) {
    uint64_t from = key.source[1] ^ seed[0];
    uint64_t to = key.destination[1] ^ seed[0];
    // IPv4 has no such halves, and does not pay for them.
    if ((key.source[0] | key.destination[0]) != 0) {
        from = multiply_fold(from, key.source[0] ^ seed[1]);
        to = multiply_fold(to, key.destination[0] ^ seed[1]);
    }
    // The low bits of an IPv4-mapped address are 0.
    const uint64_t rest = key.ends();
    from ^= rest & 0xffff;
    to ^= rest >> 16 & 0xffff;
    const uint64_t ends = multiply_fold(from, to) ^ (rest >> 32 & FlowKey::kZone);
    return multiply_fold(ends, seed[2]) ^ uint64_t { from < to } << 48;
}
// An identifier of ICMP is both ends'; the type is not the same in the answer.
inline uint64_t hash_key(const FlowKey& key, const FlowSeed& seed) {
    const uint8_t protocol = key.protocol();
    if (protocol != kProtoIcmp && protocol != kProtoIcmp6) return hash_ported_key(key, seed);
    FlowKey of_both = key;
    of_both.destination_port = key.source_port;
    return hash_ported_key(of_both, seed);
}

inline uint32_t first_bucket(uint64_t hash, uint32_t bucket_mask) {
    return static_cast<uint32_t>(hash) & bucket_mask;
}
// Another bucket, by bits that chose neither the first nor the tag.
inline uint32_t second_bucket(uint64_t hash, uint32_t bucket_mask) {
    return (static_cast<uint32_t>(hash) ^ (static_cast<uint32_t>(hash >> 24) | 1)) & bucket_mask;
}
inline constexpr uint16_t kTagDirection = 1;  // the bit of a tag that is not of both directions
inline uint16_t flow_tag(uint64_t hash) {
    return static_cast<uint16_t>(hash >> 48);
}

}  // namespace slash32
