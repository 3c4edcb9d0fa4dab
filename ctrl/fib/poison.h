// SPDX-License-Identifier: Apache-2.0
// Marks memory of our own allocators as freed or in use, for AddressSanitizer. Nothing otherwise.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define S32_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define S32_POISON 1
#endif
#endif

#if defined(S32_POISON)
#include <sanitizer/asan_interface.h>
#endif

namespace slash32 {

inline void poison([[maybe_unused]] const void* memory, [[maybe_unused]] size_t bytes) {
#if defined(S32_POISON)
    ASAN_POISON_MEMORY_REGION(memory, bytes);
#endif
}

inline void unpoison([[maybe_unused]] const void* memory, [[maybe_unused]] size_t bytes) {
#if defined(S32_POISON)
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
#endif
}

}  // namespace slash32
