// SPDX-License-Identifier: Apache-2.0
#include "ctrl/flow/flow_memory.h"

#include "dp/table/track.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <new>
#include <random>

namespace slash32 {
namespace {

// Entries of a worker that have been taken out and wait for a grace period, or are at hand.
constexpr size_t kSpareEntries = 4096 + 128;

// Parts of the table that one port, and all half-open flows together, may take by default.
constexpr uint32_t kPortShare = 4;
constexpr uint32_t kPortHalfOpenShare = 16;
constexpr uint32_t kHalfOpenShare = 2;

void set_default_limits(FlowLimits& limits, uint32_t capacity) {
    limits.flows_per_port = std::max(1u, capacity / kPortShare);
    limits.half_open_per_port = std::max(1u, capacity / kPortHalfOpenShare);
    limits.half_open = std::max(1u, capacity / kHalfOpenShare);
    limits.tcp_loose = true;
    limits.tcp_liberal = false;
    for (size_t state = 0; state < kFlowStateCount; ++state)
        limits.timeouts[state] = flow_timeout(static_cast<FlowState>(state)).seconds;
}

}  // namespace

template <typename T>
T* FlowMemory::take(size_t count) {
    const size_t bytes = count * sizeof(T);
    void* memory = memory_.allocate(bytes, std::max(alignof(T), kCacheLine));
    if (memory == nullptr) return nullptr;
    taken_.emplace_back(memory, bytes);
    bytes_ += bytes;
    if (!populate(memory, bytes)) return nullptr;
    return static_cast<T*>(memory);
}

Result<std::unique_ptr<FlowMemory>> FlowMemory::create(const FlowSizes& sizes,
                                                       const TableMemory& memory) {
    if (sizes.flows == 0 || sizes.flows > kMaxFlows)
        return fail(ErrorCode::kInvalid, "conntrack.flows",
                    fmt::format("{} is not between 1 and {}", sizes.flows, kMaxFlows));
    std::unique_ptr<FlowMemory> made(new FlowMemory(memory));
    if (auto ok = made->make(sizes); !ok) return tl::unexpected<Error>(ok.error());
    return made;
}

Result<void> FlowMemory::make(const FlowSizes& sizes) {
    const auto no_memory = [&] {
        return fail(ErrorCode::kLimit, "conntrack.flows",
                    fmt::format("no memory for a table of {} flows", sizes.flows));
    };
    const size_t entries = sizes.flows + sizes.workers * kSpareEntries;
    // 0.44 to 0.87 a flow: a quarter of their links are used, or fewer.
    const size_t buckets = std::bit_ceil(std::max<size_t>((sizes.flows - sizes.flows / 8) / 2, 16));
    tables_ = take<FlowTables>(1);
    if (tables_ == nullptr) return no_memory();
    new (tables_) FlowTables;
    tables_->entries = take<FlowEntry>(entries);
    tables_->summaries = take<FlowSummary>(entries);
    tables_->buckets = take<FlowBucket>(buckets);
    tables_->shares = take<FlowShare>(kMaxPorts);
    if (tables_->entries == nullptr || tables_->summaries == nullptr ||
        tables_->buckets == nullptr || tables_->shares == nullptr)
        return no_memory();
    tables_->capacity = static_cast<uint32_t>(sizes.flows);
    tables_->entry_count = static_cast<uint32_t>(entries);
    tables_->bucket_mask = static_cast<uint32_t>(buckets - 1);
    std::random_device device;
    for (uint64_t& word : tables_->seed)
        word = uint64_t{device()} << 32 | device();
    set_default_limits(tables_->limits, tables_->capacity);
    return {};
}

FlowMemory::~FlowMemory() {
    for (const auto& [memory, bytes] : taken_)
        memory_.release(memory, bytes);
}

}  // namespace slash32
