// SPDX-License-Identifier: Apache-2.0
// Writes one family's host route table (layout and memory orders: dp/abi/fib.h).
//
// A bucket pair that is full makes room by moving words to their other buckets along the shortest
// path to an empty place; the moves run from its end, so that every key stays findable throughout.
//
// Thread safety: the writer's thread only; readers may look up at any time.
// Limits: `capacity` routes. The table has words for at least 8/7 of it, so the paths are short; a
// set of addresses without a path within kSearchMax buckets is refused like a full table.
#pragma once

#include "ctrl/fib/retire_queue.h"
#include "ctrl/fib/table_memory.h"
#include "dp/abi/fib.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace slash32 {

enum class FibOutcome : uint8_t { kAdded, kReplaced, kFull };

template <typename Address>
class HostWriter {
  public:
    using Visitor = std::function<void(VrfId, const Address&, NextHopId)>;

    // `table` is filled in here and read by workers from then on.
    HostWriter(HostTable& table, const TableMemory& memory, RetireQueue& retired)
        : table_(table), memory_(memory), retired_(retired) {}
    HostWriter(const HostWriter&) = delete;
    HostWriter& operator=(const HostWriter&) = delete;

    // Allocates the table; false: no memory. Called once, before anything else.
    bool create(size_t capacity, const HashSeed& seed);
    // Gives the memory back, if there is any; the last call, while `table` still exists.
    // REQUIRES: no reader is left.
    void destroy();

    // Nothing has changed when it returns kFull.
    FibOutcome set(VrfId vrf, const Address& address, NextHopId next_hop);
    // False: there is no such route.
    bool erase(VrfId vrf, const Address& address);
    // Brings the buckets of a coming set() or erase() into the cache.
    void prefetch(VrfId vrf, const Address& address) const;
    // Removes all routes of a VRF; returns their number. Reads the table until it has them all.
    size_t erase_vrf(VrfId vrf);
    // In no order.
    void for_each(const Visitor& visit) const;

    size_t size() const { return table_.used.load(std::memory_order_relaxed); }
    size_t capacity() const { return capacity_; }
    // Allocated (not: resident).
    size_t bytes() const { return bucket_bytes() + entry_bytes(); }

  private:
    using Word = HostWord<Address>;
    using WordPlace = std::atomic<uint64_t>;

    size_t bucket_count() const { return table_.bucket_mask + 1; }
    size_t bucket_bytes() const { return bucket_count() * sizeof(HostBucket); }
    size_t entry_bytes() const { return entries_max_ * sizeof(HostEntry6); }

    WordPlace* find(uint64_t hash, VrfId vrf, const Address& address) const;
    WordPlace* find_in(HostBucket& bucket, uint64_t hash, VrfId vrf, const Address& address) const;
    static WordPlace* empty_place(HostBucket& bucket);
    WordPlace* make_room(uint64_t hash);
    uint64_t other_bucket(uint64_t bucket, uint64_t word) const;
    VrfId vrf_of(uint64_t word) const;
    bool make_word(uint64_t hash, VrfId vrf, const Address& address, NextHopId next_hop,
                   uint64_t& word);
    void unmake_word(uint64_t word);
    void clear(WordPlace& place, VrfId vrf);

    bool take_entry(uint32_t& index);
    static void entry_released(void* owner, void* entry);

    static constexpr size_t kSearchMax = 1024;
    static constexpr size_t kPathMax = 8;

    HostTable& table_;
    TableMemory memory_;
    RetireQueue& retired_;
    size_t capacity_ = 0;
    std::vector<uint32_t> used_by_vrf_ = std::vector<uint32_t>(kMaxVrfs);
    // IPv6 only.
    size_t entries_max_ = 0;
    uint32_t entries_cut_ = 0;            // taken at least once
    std::vector<uint32_t> entries_free_;  // taken before, free now
};

extern template class HostWriter<Ip4>;
extern template class HostWriter<Ip6>;

}  // namespace slash32
