// SPDX-License-Identifier: Apache-2.0
// The hash of a flow's key, and what its bits choose.
#pragma once

#include "dp/abi/fib.h"
#include "dp/abi/flow.h"

#include <array>
#include <cstdint>

namespace slash32 {

// REQUIRES: seed is secret, or a VM chooses which keys collide.
inline uint64_t hash_key(const FlowKey& key, const std::array<uint64_t, 4>& seed) {
    uint64_t sum = multiply_fold(key.source[1] ^ seed[0], key.destination[1] ^ seed[1]);
    // IPv4 has no such halves, and does not pay for them.
    if ((key.source[0] | key.destination[0]) != 0)
        sum = multiply_fold(sum ^ key.source[0], key.destination[0] ^ seed[2]);
    return multiply_fold(sum ^ key.ends(), seed[3]);
}

inline uint32_t first_bucket(uint64_t hash, uint32_t bucket_mask) {
    return static_cast<uint32_t>(hash) & bucket_mask;
}
// Another bucket, by bits that chose neither the first nor the tag.
inline uint32_t second_bucket(uint64_t hash, uint32_t bucket_mask) {
    return (static_cast<uint32_t>(hash) ^ (static_cast<uint32_t>(hash >> 24) | 1)) & bucket_mask;
}
inline uint16_t flow_tag(uint64_t hash) {
    return static_cast<uint16_t>(hash >> 48);
}

}  // namespace slash32
