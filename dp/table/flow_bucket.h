// SPDX-License-Identifier: Apache-2.0
// One bucket of the flow table: its tags compared at once, its lock, its links.
//
// As with host routes (fib_match.h), a vector load is no atomic operation in C++: it is used on x86
// only, and what it finds is looked at again, as an atomic, before it is believed. The scalar form
// gives the same answer, and is used under ThreadSanitizer.
#pragma once

#include "dp/abi/flow.h"
#include "dp/table/flow_hash.h"

#include <rte_pause.h>

#include <atomic>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define S32_FLOW_SCALAR 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define S32_FLOW_SCALAR 1
#endif
#endif
#if !defined(S32_FLOW_SCALAR) && !defined(__SSE2__)
#define S32_FLOW_SCALAR 1
#endif

namespace slash32 {

// Bit i is set if tags[i] is `tag`, of whichever direction.
inline unsigned match_tags_scalar(const FlowBucket& bucket, uint16_t tag) {
    unsigned found = 0;
    for (unsigned i = 0; i < FlowBucket::kLinks; ++i) {
        const uint16_t differ = bucket.tags[i].load(std::memory_order_relaxed) ^ tag;
        found |= static_cast<unsigned>((differ & ~kTagDirection) == 0) << i;
    }
    return found;
}

#if !defined(S32_FLOW_SCALAR)
inline unsigned match_tags_vector(const FlowBucket& bucket, uint16_t tag) {
    std::atomic_signal_fence(std::memory_order_acq_rel);
    const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(bucket.tags.data()));
    const __m128i either = _mm_set1_epi16(kTagDirection);
    const __m128i wanted = _mm_set1_epi16(static_cast<int16_t>(tag | kTagDirection));
    const __m128i equal = _mm_cmpeq_epi16(_mm_or_si128(tags, either), wanted);
    const __m128i bytes = _mm_packs_epi16(equal, _mm_setzero_si128());
    std::atomic_signal_fence(std::memory_order_acq_rel);
    return static_cast<unsigned>(_mm_movemask_epi8(bytes));
}
#endif

inline unsigned match_tags(const FlowBucket& bucket, uint16_t tag) {
#if defined(S32_FLOW_SCALAR)
    return match_tags_scalar(bucket, tag);
#else
    return match_tags_vector(bucket, tag);
#endif
}

inline bool try_lock(FlowBucket& bucket) {
    return bucket.lock.load(std::memory_order_relaxed) == 0 &&
           bucket.lock.exchange(1, std::memory_order_acquire) == 0;
}
inline void lock(FlowBucket& bucket) {
    while (!try_lock(bucket))
        rte_pause();
}
inline void unlock(FlowBucket& bucket) {
    bucket.lock.store(0, std::memory_order_release);
}

// Two locks are always waited for in the order of their addresses. REQUIRES: they are two buckets.
inline void lock_both(FlowBucket& a, FlowBucket& b) {
    lock(&a < &b ? a : b);
    lock(&a < &b ? b : a);
}

// REQUIRES of both: the caller holds the bucket's lock.
// False: there is no room.
inline bool put_link(FlowBucket& bucket, uint16_t tag, uint32_t link) {
    for (unsigned i = 0; i < FlowBucket::kLinks; ++i) {
        if (bucket.links[i].load(std::memory_order_relaxed) != 0) continue;
        bucket.tags[i].store(tag, std::memory_order_relaxed);
        // Whoever finds the link sees the entry complete.
        bucket.links[i].store(link, std::memory_order_release);
        return true;
    }
    return false;
}
// False: it does not stand there.
inline bool clear_link(FlowBucket& bucket, uint32_t link) {
    for (auto& place : bucket.links) {
        if (place.load(std::memory_order_relaxed) != link) continue;
        place.store(0, std::memory_order_relaxed);
        return true;
    }
    return false;
}

}  // namespace slash32
