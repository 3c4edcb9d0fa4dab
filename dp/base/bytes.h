// SPDX-License-Identifier: Apache-2.0
// Comparison of bytes that nobody writes meanwhile.
#pragma once

#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace slash32 {

// Whether 32 bytes are the same at both places. As memcmp(), which GCC makes of words.
inline bool same_32_bytes(const void* a, const void* b) {
#if defined(__AVX2__)
    const __m256i differ = _mm256_xor_si256(_mm256_loadu_si256(static_cast<const __m256i*>(a)),
                                            _mm256_loadu_si256(static_cast<const __m256i*>(b)));
    return _mm256_testz_si256(differ, differ) != 0;
#else
    return std::memcmp(a, b, 32) == 0;
#endif
}

}  // namespace slash32
