// SPDX-License-Identifier: Apache-2.0
// The hash of a remote prefix, for the policy compiler and for lookups.
#pragma once

#include "dp/abi/fib.h"

#include <array>
#include <cstdint>

namespace slash32 {

inline uint64_t policy_hash(const std::array<uint64_t, 2>& seed,
                            const std::array<uint64_t, 2>& address) {
    return multiply_fold(address[0] ^ seed[0], address[1] ^ seed[1]);
}

}  // namespace slash32
