// SPDX-License-Identifier: Apache-2.0
// The flow table as one worker uses it: lookups in bulk, new flows, eviction, expiry.
//
// Thread safety: a FlowTable belongs to one worker; the FlowTables behind it are shared by all
// (dp/abi/flow.h). The worker must be a registered reader of `quiescent`; a reference from a lookup
// holds until the worker's next quiescent state.
// Invariants: the links of a flow change only under the lock of its first bucket, those of a bucket
// only under its own; whoever moves a flow's phase to kDead, and nobody else, gives its entry back.
// Bounded: no call looks at more than kEvictionScan summaries, or takes more than a few locks.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/abi/flow.h"
#include "dp/base/limits.h"
#include "dp/table/flow_hash.h"
#include "dp/table/flow_key.h"

#include <rte_prefetch.h>

#include <array>
#include <cstdint>

struct rte_rcu_qsbr;

namespace slash32 {

// One direction of a flow, or none.
class FlowRef {
  public:
    FlowRef() = default;
    // Of the flow that a link of a bucket leads to. REQUIRES: the link is not 0.
    FlowRef(FlowEntry* entries, uint32_t link, unsigned direction)
        : at_(reinterpret_cast<uintptr_t>(&entries[link - 1]) + direction * kHalf) {}

    explicit operator bool() const { return at_ != 0; }
    // REQUIRES of the others: it is not none.
    FlowDirection& forward() const { return *reinterpret_cast<FlowDirection*>(at_); }
    FlowEntry& entry() const { return *reinterpret_cast<FlowEntry*>(at_ & ~(2 * kHalf - 1)); }
    unsigned direction() const { return at_ / kHalf % 2; }

  private:
    static constexpr uintptr_t kHalf = sizeof(FlowEntry) / 2;
    static_assert(alignof(FlowEntry) == 2 * kHalf && offsetof(FlowEntry, answers) == kHalf);

    uintptr_t at_ = 0;
};

// Hashes keys for guess_bulk(), and fetches their buckets meanwhile. A copy of what that needs: in
// a loop that writes keys the compiler has to load it anew from where a key might be.
class FlowHasher {
  public:
    FlowHasher() = default;  // of no table
    explicit FlowHasher(const FlowTables& tables)
        : seed_(tables.seed), buckets_(tables.buckets), bucket_mask_(tables.bucket_mask) {}

    uint64_t prepare(const FlowKey& key) const { return fetch(hash_key(key, seed_)); }
    // REQUIRES: the key is none of ICMP.
    uint64_t prepare_ported(const FlowKey& key) const { return fetch(hash_ported_key(key, seed_)); }

  private:
    uint64_t fetch(uint64_t hash) const {
        rte_prefetch0(&buckets_[first_bucket(hash, bucket_mask_)]);
        return hash;
    }

    FlowSeed seed_{};
    const FlowBucket* buckets_ = nullptr;
    uint32_t bucket_mask_ = 0;
};

class FlowTable {
  public:
    FlowTable() = default;
    // Worker `worker` of `workers`; each expires its share of the entries.
    FlowTable(FlowTables* shared, rte_rcu_qsbr* quiescent, unsigned worker, unsigned workers);

    bool enabled() const { return shared_ != nullptr; }
    const FlowLimits& limits() const { return shared_->limits; }

    FlowHasher hasher() const { return enabled() ? FlowHasher(*shared_) : FlowHasher(); }
    // A lookup in two halves, between which the flow is fetched. Guesses for the lanes of `mask`;
    // others are neither read nor written. `hashes` are what hasher() made of the keys.
    void guess_bulk(uint32_t mask, const uint64_t* hashes, FlowRef* guesses) const;
    // The flow of the key, or none, whatever the guess has been.
    FlowRef confirm(FlowRef guess, const FlowKey& key, uint64_t hash) const {
        if (guess && same_key(guess.forward().key, key)) [[likely]]
            return guess;
        return find(key, place(hash));
    }
    FlowRef lookup(const FlowKey& key) const { return confirm({}, key, hash(key)); }

    // An entry for a new flow, charged to a port: taken from the free ones, after an embryonic flow
    // was evicted where a limit has been reached. nullptr and the reason where none is to be had.
    FlowEntry* allocate(PortId charged, DropReason& why);
    // Counts up to `flows` (kBurstSize at most) that are about to be allocated for a port all at
    // once, since a counter that workers share costs as much as a lock, and fetches their entries.
    // After those, release() takes back what was too much.
    void reserve(PortId charged, uint32_t flows);
    void release();
    // Of an entry that has been allocated and will not be linked.
    void give_back(FlowEntry& entry);

    enum class Linked : uint8_t {
        kYes,
        kExists,  // direction 0's key is there already, with a flow that lives: `other` is it
        kClash,   // direction 1's key is that of another flow: `other`
        kFull,    // no room in the flow's buckets
    };
    // Makes both directions visible at once, as living `now` (flow clock). The entry's keys and
    // status are set. Otherwise nothing has changed.
    Linked link(FlowEntry& entry, uint32_t now, FlowRef& other);

    // Ends a flow. False: somebody else does.
    bool kill(FlowEntry& entry);
    // Ends a flow that can be made way for: it is not assured. False: it is, or somebody else does.
    bool evict(FlowEntry& entry);

    // What a change of status means for shares and expiry. REQUIRES: this worker made it.
    void status_changed(FlowEntry& entry, FlowStatus before, FlowStatus after, uint32_t now);

    // A bounded piece of the upkeep: reclaims entries whose grace period is over, expires some.
    // Once a loop. `tsc` and `now` are one moment, `hz` the TSC's frequency.
    void maintain(uint64_t tsc, uint64_t hz, uint32_t now);
    // Whether maintain() has work to do in the absence of packets.
    bool has_flows() const;
    // Whether a sleep would delay it.
    bool behind(uint64_t tsc) const { return tsc >= next_step_; }

  private:
    static constexpr uint32_t kEvictionScan = 1024;
    static constexpr uint32_t kSweepStep = 512;
    static constexpr uint32_t kCacheSize = 128;
    static constexpr uint32_t kFetchedAhead = 4;  // entries, before they are allocated
    static constexpr uint32_t kRetiredMax = 4096;
    static constexpr uint32_t kBatchesMax = 64;

    struct Place {
        FlowBucket* first;
        FlowBucket* second;
        uint16_t tag;
    };
    Place place(uint64_t hash) const;
    uint64_t hash(const FlowKey& key) const { return hash_key(key, shared_->seed); }
    // Apart, so that confirm() is short.
    [[gnu::noinline]] FlowRef find(const FlowKey& key, const Place& place) const;
    FlowRef find_in(const FlowBucket& bucket, uint16_t tag, const FlowKey& key) const;
    bool fits_share(PortId charged, uint32_t flows) const;
    bool fits_table(uint32_t flows) const;
    bool charge(PortId charged, DropReason& why);
    bool put(const FlowEntry& entry, const Place& at);
    void unlink(const FlowEntry& entry);
    Linked link_locked(FlowEntry& entry, const Place& at, FlowRef& other);
    bool drop_dead(FlowRef found, const Place& place);
    void take_out(FlowEntry& entry, FlowStatus last);
    bool end(FlowEntry& entry, bool only_evictable);
    bool evict_for(PortId charged, bool anybody);
    void reclaim();
    void seal_batch();
    void refill(uint32_t wanted);
    bool take_index(uint32_t& index);
    void fetch_ahead(uint32_t n) const;
    void release_index(uint32_t index);
    void sweep(uint32_t count, uint32_t now);
    void examine(uint32_t index, uint32_t now);

    uint32_t link_of(const FlowEntry& entry) const { return index_of(entry) + 1; }
    uint32_t index_of(const FlowEntry& entry) const {
        return static_cast<uint32_t>(&entry - shared_->entries);
    }

    FlowTables* shared_ = nullptr;
    rte_rcu_qsbr* quiescent_ = nullptr;
    uint32_t begin_ = 0;  // this worker's share of the entries
    uint32_t end_ = 0;
    uint32_t sweep_ = 0;  // next entry of the share to be examined
    uint32_t hand_ = 0;   // next entry of all that eviction looks at
    uint64_t next_step_ = 0;

    PortId reserved_for_;
    uint32_t reserved_ = 0;  // flows that are counted and not allocated

    uint32_t cached_ = 0;  // free entries at hand
    std::array<uint32_t, kCacheSize> cache_;

    // Entries taken out, oldest first, in batches that wait for one grace period each. The last
    // batch is still open.
    struct Batch {
        uint64_t token;
        uint32_t size;
    };
    std::array<uint32_t, kRetiredMax> retired_;
    std::array<Batch, kBatchesMax> batches_;
    uint32_t retired_head_ = 0;
    uint32_t retired_tail_ = 0;
    uint32_t batch_head_ = 0;
    uint32_t batch_tail_ = 0;
    uint32_t open_ = 0;  // entries of the open batch
};

// Control: marks a flow to be taken out by the workers, at the latest with the next pass of expiry.
// No packet rides it from its next burst on. False: it is over already. REQUIRES: the epoch is
// raised afterwards.
bool flush_flow(FlowTables& tables, uint32_t index);

}  // namespace slash32
