// SPDX-License-Identifier: Apache-2.0
// Memory for trie nodes: blocks of a few sizes, cut from chunks that are asked for as the tables
// grow and given back when the pool goes.
//
// Freed blocks serve blocks of their own size again; sizes are not merged or split, so memory stays
// with a size that was once in demand. Under AddressSanitizer a free block is poisoned: a reader
// that outstays its grace period is caught.
//
// Thread safety: the writer's thread only. Readers follow pointers into it and never call it.
#pragma once

#include "ctrl/fib/table_memory.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace slash32 {

class NodePool {
  public:
    // Blocks are multiples of `granule` bytes (a power of two) and aligned to it, at most
    // `block_bytes_max`.
    NodePool(const TableMemory& memory, size_t granule, size_t block_bytes_max);
    NodePool(const NodePool&) = delete;
    NodePool& operator=(const NodePool&) = delete;
    ~NodePool();

    // Not zeroed. nullptr: no memory.
    void* allocate(size_t bytes);
    // `bytes` as it was allocated.
    void release(void* block, size_t bytes);

    size_t bytes_used() const { return bytes_used_; }          // in allocated blocks
    size_t bytes_reserved() const { return bytes_reserved_; }  // in chunks

  private:
    struct Chunk {
        void* memory;
        size_t bytes;
    };

    size_t size_class(size_t bytes) const { return (bytes + granule_ - 1) / granule_; }
    bool grow();

    static constexpr size_t kFirstChunkBytes = size_t{64} << 10;
    static constexpr size_t kLastChunkBytes = size_t{2} << 20;

    TableMemory memory_;
    size_t granule_;
    std::vector<std::vector<void*>> free_;  // by size class
    std::vector<Chunk> chunks_;
    std::byte* next_ = nullptr;  // uncut rest of the last chunk
    size_t left_ = 0;
    size_t bytes_used_ = 0;
    size_t bytes_reserved_ = 0;
};

}  // namespace slash32
