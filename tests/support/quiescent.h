// SPDX-License-Identifier: Apache-2.0
// A quiescent-state variable for tests.
#pragma once

#include <rte_rcu_qsbr.h>

#include <cstdlib>
#include <memory>

namespace slash32::test {

struct FreeMemory {
    void operator()(void* memory) const { std::free(memory); }
};
using QuiescentPtr = std::unique_ptr<rte_rcu_qsbr, FreeMemory>;

// For as many readers as given, none of which is registered.
inline QuiescentPtr make_quiescent(unsigned readers) {
    const size_t bytes = (rte_rcu_qsbr_get_memsize(readers) + 63) & ~size_t{63};
    QuiescentPtr made(static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, bytes)));
    rte_rcu_qsbr_init(made.get(), readers);
    return made;
}

}  // namespace slash32::test
