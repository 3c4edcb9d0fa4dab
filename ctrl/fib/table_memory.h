// SPDX-License-Identifier: Apache-2.0
// Where the memory of shared tables comes from.
#pragma once

#include <cstddef>

namespace slash32 {

// Hooks, so that the daemon decides between hugepages of a NUMA node and plain pages.
struct TableMemory {
    // Zero-filled memory aligned to `align` (a power of two, at most 4,096), or nullptr. Pages that
    // nobody has written should not be resident: the tables never touch what they do not use.
    void* (*allocate)(size_t bytes, size_t align);
    // Gives back an allocation of exactly `bytes`.
    void (*release)(void* memory, size_t bytes);
};

// Anonymous private pages by mmap.
TableMemory mapped_memory();

// Makes all pages of an allocation resident, so that no worker has to wait for the kernel to clear
// one. False: there is not so much memory. A kernel before Linux 5.14 leaves them as they are.
bool populate(void* memory, size_t bytes);

}  // namespace slash32
