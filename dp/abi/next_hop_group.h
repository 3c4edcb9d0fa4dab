// SPDX-License-Identifier: Apache-2.0
// Equal-cost next hops of a route: an immutable snapshot, built by control, replaced whole by a
// command, and freed after every worker has acknowledged its replacement.
//
// Resilient hashing: the members share out a fixed number of buckets, and a packet's hash names a
// bucket. Control moves as few buckets as it must when members come and go, so that connections
// over the members that stay keep their path.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/limits.h"

#include <array>
#include <bit>
#include <cstdint>

namespace slash32 {

struct NextHopGroup {
    // Of adjacencies; kNoNextHop: nowhere, as of a group without members.
    std::array<NextHopId, kGroupBuckets> buckets;

    NextHopId select(uint32_t hash) const { return buckets[hash % kGroupBuckets]; }
};
static_assert(std::has_single_bit(kGroupBuckets));

// Ids of groups follow those of adjacencies.
inline bool is_group(NextHopId id) {
    return id.value() >= kMaxAdjacencies;
}
inline uint32_t group_index(NextHopId id) {
    return id.value() - static_cast<uint32_t>(kMaxAdjacencies);
}

}  // namespace slash32
