// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/node_pool.h"

#include "ctrl/fib/poison.h"
#include "dp/base/assert.h"

#include <algorithm>

namespace slash32 {

NodePool::NodePool(const TableMemory& memory, size_t granule, size_t block_bytes_max)
    : memory_(memory), granule_(granule), free_((block_bytes_max + granule - 1) / granule + 1) {}

NodePool::~NodePool() {
    for (const Chunk& chunk : chunks_) {
        unpoison(chunk.memory, chunk.bytes);
        memory_.release(chunk.memory, chunk.bytes);
    }
}

void* NodePool::allocate(size_t bytes) {
    const size_t which = size_class(bytes);
    S32_ASSERT(which < free_.size());
    const size_t rounded = which * granule_;
    void* block = nullptr;
    if (!free_[which].empty()) {
        block = free_[which].back();
        free_[which].pop_back();
    } else {
        if (left_ < rounded && !grow()) return nullptr;
        block = next_;
        next_ += rounded;
        left_ -= rounded;
    }
    unpoison(block, rounded);
    bytes_used_ += rounded;
    return block;
}

void NodePool::release(void* block, size_t bytes) {
    const size_t which = size_class(bytes);
    poison(block, which * granule_);
    free_[which].push_back(block);
    bytes_used_ -= which * granule_;
}

bool NodePool::grow() {
    // Each chunk as large as all before it together: a small table stays small.
    const size_t bytes = std::clamp(bytes_reserved_, kFirstChunkBytes, kLastChunkBytes);
    void* memory = memory_.allocate(bytes, granule_);
    if (memory == nullptr) return false;
    chunks_.push_back({memory, bytes});
    // What is left of the old chunk is cut into blocks, so that nothing is lost.
    while (left_ >= granule_) {
        const size_t which = std::min(left_ / granule_, free_.size() - 1);
        free_[which].push_back(next_);
        next_ += which * granule_;
        left_ -= which * granule_;
    }
    poison(memory, bytes);
    next_ = static_cast<std::byte*>(memory);
    left_ = bytes;
    bytes_reserved_ += bytes;
    return true;
}

}  // namespace slash32
