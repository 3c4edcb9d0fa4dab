// SPDX-License-Identifier: Apache-2.0
#include "dp/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace slash32 {

void assertion_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "slash32: assertion failed: %s at %s:%d\n", expression, file, line);
    std::abort();
}

}  // namespace slash32
