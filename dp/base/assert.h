// SPDX-License-Identifier: Apache-2.0
// Assertions for our own bugs, never for input. They stay on in release builds: a router that has
// lost an invariant must stop, not forward.
#pragma once

namespace slash32 {

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace slash32

#define S32_ASSERT(expression)                                            \
    do {                                                                  \
        if (!(expression)) [[unlikely]]                                   \
            ::slash32::assertion_failed(#expression, __FILE__, __LINE__); \
    } while (0)
