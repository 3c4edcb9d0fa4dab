// SPDX-License-Identifier: Apache-2.0
// Finds a key in one bucket of a host table: all eight words compared at once where the CPU that
// the build is for can, one by one elsewhere. Both give the same answer (tests hold them to it).
//
// A vector load is no atomic operation in C++. It is used on x86 only, where each aligned 8-byte
// part of it is read whole and loads are not reordered with each other; compiler barriers keep it
// in its place, and a word that looks right is loaded again, as an atomic, before it is believed.
// Under ThreadSanitizer, which knows none of that, the scalar form is used.
#pragma once

#include "dp/abi/fib.h"

#include <atomic>
#include <bit>
#include <cstdint>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define S32_FIB_SCALAR 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define S32_FIB_SCALAR 1
#endif
#endif
#if !defined(S32_FIB_SCALAR) && !defined(__SSE4_1__)
#define S32_FIB_SCALAR 1
#endif

namespace slash32 {

// Bit i is set if (words[i] & mask) == pattern.
inline unsigned match_words_scalar(const HostBucket& bucket, uint64_t mask, uint64_t pattern) {
    unsigned found = 0;
    for (unsigned i = 0; i < kHostBucketWords; ++i) {
        const uint64_t word = bucket.words[i].load(std::memory_order_acquire);
        found |= static_cast<unsigned>((word & mask) == pattern) << i;
    }
    return found;
}

#if !defined(S32_FIB_SCALAR)
inline unsigned match_words_vector(const HostBucket& bucket, uint64_t mask, uint64_t pattern) {
    unsigned found = 0;
    std::atomic_signal_fence(std::memory_order_acq_rel);
#if defined(__AVX512F__)
    const __m512i words = _mm512_load_si512(bucket.words.data());
    const __m512i masked = _mm512_and_si512(words, _mm512_set1_epi64(static_cast<long long>(mask)));
    found = _mm512_cmpeq_epi64_mask(masked, _mm512_set1_epi64(static_cast<long long>(pattern)));
#elif defined(__AVX2__)
    const auto* words = reinterpret_cast<const __m256i*>(bucket.words.data());
    const __m256i masks = _mm256_set1_epi64x(static_cast<long long>(mask));
    const __m256i patterns = _mm256_set1_epi64x(static_cast<long long>(pattern));
    for (unsigned i = 0; i < 2; ++i) {
        const __m256i equal =
            _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_load_si256(words + i), masks), patterns);
        found |= static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(equal))) << (4 * i);
    }
#else
    const auto* words = reinterpret_cast<const __m128i*>(bucket.words.data());
    const __m128i masks = _mm_set1_epi64x(static_cast<long long>(mask));
    const __m128i patterns = _mm_set1_epi64x(static_cast<long long>(pattern));
    for (unsigned i = 0; i < 4; ++i) {
        const __m128i equal =
            _mm_cmpeq_epi64(_mm_and_si128(_mm_load_si128(words + i), masks), patterns);
        found |= static_cast<unsigned>(_mm_movemask_pd(_mm_castsi128_pd(equal))) << (2 * i);
    }
#endif
    std::atomic_signal_fence(std::memory_order_acq_rel);
    return found;
}
#endif

inline unsigned match_words(const HostBucket& bucket, uint64_t mask, uint64_t pattern) {
#if defined(S32_FIB_SCALAR)
    return match_words_scalar(bucket, mask, pattern);
#else
    return match_words_vector(bucket, mask, pattern);
#endif
}

// The next hop of (vrf, address) if its word is in the bucket, kNoNextHop if not.
inline NextHopId match_bucket(const HostTable& /*table*/, const HostBucket& bucket, uint64_t hash,
                              VrfId vrf, const Ip4& address) {
    using Word = HostWord<Ip4>;
    const uint64_t pattern = Word::pattern(hash, vrf, address);
    unsigned found = match_words(bucket, Word::kCompareMask, pattern);
    for (; found != 0; found &= found - 1) {
        const uint64_t word = bucket.words[static_cast<unsigned>(std::countr_zero(found))].load(
            std::memory_order_acquire);
        // The word may have changed since; an empty one matches the pattern of 0.0.0.0 in VRF 0.
        if ((word & Word::kCompareMask) == pattern && word != 0) [[likely]] {
            return Word::next_hop(word);
        }
    }
    return kNoNextHop;
}

inline NextHopId match_bucket(const HostTable& table, const HostBucket& bucket, uint64_t hash,
                              VrfId vrf, const Ip6& address) {
    using Word = HostWord<Ip6>;
    const uint64_t pattern = Word::pattern(hash, vrf, address);
    unsigned found = match_words(bucket, Word::kCompareMask, pattern);
    for (; found != 0; found &= found - 1) {
        // Pairs with the release that published the entry.
        const uint64_t word = bucket.words[static_cast<unsigned>(std::countr_zero(found))].load(
            std::memory_order_acquire);
        if ((word & Word::kCompareMask) != pattern || word == 0) continue;
        const HostEntry6& entry = table.entries[Word::index(word)];
        if (entry.address == address && entry.vrf == vrf) [[likely]] {
            return NextHopId{entry.next_hop.load(std::memory_order_acquire)};
        }
    }
    return kNoNextHop;
}

}  // namespace slash32
