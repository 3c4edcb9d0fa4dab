// SPDX-License-Identifier: Apache-2.0
// The hash of a flow's key, and what its bits choose.
#pragma once

#include "dp/abi/fib.h"
#include "dp/abi/flow.h"

#include <array>
#include <bit>
#include <cstdint>

namespace slash32 {

// REQUIRES: seed is secret, or a VM chooses which keys collide.
inline uint64_t hash_key(const FlowKey& key, const std::array<uint64_t, 4>& seed) {
    const uint64_t a = multiply_fold(key.source[0] ^ seed[0], key.source[1] ^ seed[1]);
    const uint64_t b = multiply_fold(key.destination[0] ^ seed[2], key.destination[1] ^ seed[3]);
    return multiply_fold(a ^ key.ends(), std::rotl(b, 32) ^ seed[1]);
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
