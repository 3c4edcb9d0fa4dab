// SPDX-License-Identifier: Apache-2.0
#include "dp/table/flow_table.h"

#include "dp/base/assert.h"
#include "dp/packet/burst.h"
#include "dp/table/flow_bucket.h"
#include "dp/table/grace_period.h"

#include <rte_pause.h>
#include <rte_rcu_qsbr.h>

#include <algorithm>
#include <bit>

namespace slash32 {
namespace {

constexpr unsigned kLinkAttempts = 64;

bool is_over(FlowRef flow) {
    return slash32::is_over(flow.entry().first.status.load(std::memory_order_acquire).phase);
}
bool is_half_open(FlowPhase phase) {
    return phase == FlowPhase::kEmbryonic;
}
bool is_evictable(FlowPhase phase) {
    return phase == FlowPhase::kEmbryonic || phase == FlowPhase::kClosing;
}

// A change of `count` in half-open flows, modulo 2^32.
void count_half_open(FlowTables& tables, PortId charged, uint32_t count) {
    tables.half_open.fetch_add(count, std::memory_order_relaxed);
    tables.shares[charged.value()].half_open.fetch_add(count, std::memory_order_relaxed);
}
void count_flows(FlowTables& tables, PortId charged, uint32_t count) {
    tables.used.fetch_add(count, std::memory_order_relaxed);
    tables.shares[charged.value()].flows.fetch_add(count, std::memory_order_relaxed);
}
constexpr uint32_t kOneLess = UINT32_MAX;
bool at_most(uint32_t count, uint32_t more, uint32_t limit) {
    return uint64_t{count} + more <= limit;
}

uint64_t changed_head(uint64_t head, uint32_t first) {
    return ((head >> 32) + 1) << 32 | first;
}

}  // namespace

FlowTable::FlowTable(FlowTables* shared, rte_rcu_qsbr* quiescent, unsigned worker, unsigned workers)
    : shared_(shared), quiescent_(quiescent) {
    const uint64_t count = shared->entry_count;
    begin_ = static_cast<uint32_t>(count * worker / workers);
    end_ = static_cast<uint32_t>(count * (worker + 1) / workers);
    sweep_ = begin_;
}

FlowTable::Place FlowTable::place(uint64_t hash) const {
    return {&shared_->buckets[first_bucket(hash, shared_->bucket_mask)],
            &shared_->buckets[second_bucket(hash, shared_->bucket_mask)], flow_tag(hash)};
}

FlowRef FlowTable::find_in(const FlowBucket& bucket, uint16_t tag, const FlowKey& key) const {
    for (unsigned match = match_tags(bucket, tag); match != 0; match &= match - 1) {
        const auto at = static_cast<unsigned>(std::countr_zero(match));
        // Pairs with the release of put_link(): the entry is complete.
        const uint32_t link = bucket.links[at].load(std::memory_order_acquire);
        if (link == 0) continue;
        for (const unsigned direction : {0u, 1u}) {
            const FlowRef flow(shared_->entries, link, direction);
            if (flow.forward().key == key) return flow;
        }
    }
    return {};
}

FlowRef FlowTable::find(const FlowKey& key, const Place& place) const {
    const FlowRef found = find_in(*place.first, place.tag, key);
    if (found || place.first->overflow.load(std::memory_order_relaxed) == 0) [[likely]]
        return found;
    return find_in(*place.second, place.tag, key);
}

// The first entry whose tag agrees: nearly always the flow, if there is one, and then the tag's
// last bit tells the direction, but for a packet whose two ends are the same.
void FlowTable::guess_bulk(uint32_t mask, const uint64_t* hashes, FlowRef* guesses) const {
    const FlowTables& tables = *shared_;
    const FlowBucket* const buckets = tables.buckets;
    FlowEntry* const entries = tables.entries;
    const uint32_t bucket_mask = tables.bucket_mask;
    for_nearly_each_packet(mask, [&](unsigned i) {
        const FlowBucket& bucket = buckets[first_bucket(hashes[i], bucket_mask)];
        const uint16_t tag = flow_tag(hashes[i]);
        const unsigned match = match_tags(bucket, tag);
        const unsigned at = static_cast<unsigned>(std::countr_zero(match)) % FlowBucket::kLinks;
        // Pairs with the release of put_link(): the entry is complete.
        const uint32_t link = bucket.links[at].load(std::memory_order_acquire);
        if (match == 0 || link == 0) {
            guesses[i] = {};
            return;
        }
        const unsigned direction =
            (bucket.tags[at].load(std::memory_order_relaxed) ^ tag) & kTagDirection;
        const FlowRef flow(entries, link, direction);
        rte_prefetch0(&flow.forward());
        guesses[i] = flow;
    });
}

// Whether the port may have `flows` more, of its own share and of the table.
bool FlowTable::fits_share(PortId charged, uint32_t flows) const {
    const FlowLimits& limits = shared_->limits;
    const FlowShare& share = shared_->shares[charged.value()];
    const auto relaxed = std::memory_order_relaxed;
    return at_most(share.half_open.load(relaxed), flows, limits.half_open_per_port.load(relaxed)) &&
           at_most(share.flows.load(relaxed), flows, limits.flows_per_port.load(relaxed));
}
bool FlowTable::fits_table(uint32_t flows) const {
    const auto relaxed = std::memory_order_relaxed;
    return at_most(shared_->used.load(relaxed), flows, shared_->capacity) &&
           at_most(shared_->half_open.load(relaxed), flows,
                   shared_->limits.half_open.load(relaxed));
}

void FlowTable::reserve(PortId charged, uint32_t flows) {
    if (!fits_share(charged, flows) || !fits_table(flows)) return;  // then one by one
    refill(flows);
    flows = std::min(flows, cached_);
    count_flows(*shared_, charged, flows);
    count_half_open(*shared_, charged, flows);
    reserved_for_ = charged;
    reserved_ = flows;
    for (uint32_t n = 0; n < std::min(flows, kFetchedAhead); ++n)
        fetch_ahead(n);
}

void FlowTable::release() {
    if (reserved_ == 0) return;
    count_flows(*shared_, reserved_for_, -reserved_);
    count_half_open(*shared_, reserved_for_, -reserved_);
    reserved_ = 0;
}

// Counts a flow of the port, after another has made way where a limit has been reached.
bool FlowTable::charge(PortId charged, DropReason& why) {
    if (reserved_ > 0 && charged == reserved_for_) {
        if (reserved_ > kFetchedAhead && cached_ > kFetchedAhead) fetch_ahead(kFetchedAhead);
        --reserved_;
        return true;
    }
    if (!fits_share(charged, 1)) {
        why = DropReason::kFlowLimit;
        if (!evict_for(charged, false)) return false;
    } else if (!fits_table(1)) {
        why = DropReason::kFlowTableFull;
        if (!evict_for(charged, true)) return false;
    }
    count_flows(*shared_, charged, 1);
    count_half_open(*shared_, charged, 1);
    return true;
}

FlowEntry* FlowTable::allocate(PortId charged, DropReason& why) {
    if (!charge(charged, why)) return nullptr;
    uint32_t index = 0;
    if (!take_index(index)) {
        count_flows(*shared_, charged, kOneLess);
        count_half_open(*shared_, charged, kOneLess);
        why = DropReason::kFlowTableFull;
        return nullptr;
    }
    FlowEntry& entry = shared_->entries[index];
    entry.second.charged = charged;
    shared_->summaries[index].charged.store(charged, std::memory_order_relaxed);
    return &entry;
}

// The counts that allocate() made, taken back.
void FlowTable::give_back(FlowEntry& entry) {
    count_flows(*shared_, entry.second.charged, kOneLess);
    count_half_open(*shared_, entry.second.charged, kOneLess);
    release_index(index_of(entry));
}

// Brings up to `wanted` free entries to hand: those that others have given back, then some that
// nobody has used.
void FlowTable::refill(uint32_t wanted) {
    uint64_t head = shared_->free_head.load(std::memory_order_acquire);
    while (cached_ < wanted && static_cast<uint32_t>(head) != 0) {
        const uint32_t index = static_cast<uint32_t>(head) - 1;
        // It may be taken by another worker meanwhile; then the count in the head has changed.
        const uint64_t next = changed_head(
            head, shared_->entries[index].second.created.load(std::memory_order_relaxed));
        if (!shared_->free_head.compare_exchange_weak(head, next, std::memory_order_acq_rel))
            continue;
        cache_[cached_++] = index;
        head = next;
    }
    const uint32_t end = shared_->entry_count;
    if (cached_ >= wanted || shared_->fresh.load(std::memory_order_relaxed) >= end) return;
    const uint32_t more = wanted - cached_;
    const uint32_t first = shared_->fresh.fetch_add(more, std::memory_order_relaxed);
    const uint32_t got = first < end ? std::min(more, end - first) : 0;
    if (got < more) shared_->fresh.fetch_sub(more - got, std::memory_order_relaxed);
    // The lowest is taken first, so that neighbours follow each other.
    for (uint32_t n = got; n-- > 0;)
        cache_[cached_++] = first + n;
}

bool FlowTable::take_index(uint32_t& index) {
    if (cached_ == 0) refill(1);
    if (cached_ == 0) reclaim();
    if (cached_ == 0) return false;
    index = cache_[--cached_];
    return true;
}

// The entry that is allocated after `n` others.
void FlowTable::fetch_ahead(uint32_t n) const {
    const auto* entry =
        reinterpret_cast<const std::byte*>(&shared_->entries[cache_[cached_ - n - 1]]);
    for (size_t line = 0; line < sizeof(FlowEntry); line += kCacheLine)
        rte_prefetch0_write(entry + line);
}

// Half of a full cache goes to where other workers find it, as one chain.
void FlowTable::release_index(uint32_t index) {
    if (cached_ == kCacheSize) {
        const uint32_t first = kCacheSize / 2;
        const auto next_of = [&](uint32_t at) -> std::atomic<uint32_t>& {
            return shared_->entries[cache_[at]].second.created;
        };
        for (uint32_t at = first; at + 1 < kCacheSize; ++at)
            next_of(at).store(cache_[at + 1] + 1, std::memory_order_relaxed);
        uint64_t head = shared_->free_head.load(std::memory_order_relaxed);
        do {
            next_of(kCacheSize - 1).store(static_cast<uint32_t>(head), std::memory_order_relaxed);
        } while (!shared_->free_head.compare_exchange_weak(
            head, changed_head(head, cache_[first] + 1), std::memory_order_acq_rel));
        cached_ = first;
    }
    cache_[cached_++] = index;
}

// Links the entry into one of its buckets. Never waits for the second one's lock: whoever holds it
// may be waiting for the first. REQUIRES: the caller holds the first's.
bool FlowTable::put(const FlowEntry& entry, const Place& at) {
    const uint32_t link = link_of(entry);
    if (put_link(*at.first, at.tag, link)) return true;
    if (at.second == at.first || !try_lock(*at.second)) return false;
    const bool done = put_link(*at.second, at.tag, link);
    at.first->overflow.fetch_add(done, std::memory_order_relaxed);
    unlock(*at.second);
    return done;
}

void FlowTable::unlink(const FlowEntry& entry) {
    const Place at = place(hash(entry.opening.key));
    const uint32_t link = link_of(entry);
    lock(*at.first);
    if (!clear_link(*at.first, link) && at.first->overflow.load(std::memory_order_relaxed) != 0) {
        unlock(*at.first);
        lock_both(*at.first, *at.second);
        if (clear_link(*at.second, link))
            at.first->overflow.fetch_sub(1, std::memory_order_relaxed);
        unlock(*at.second);
    }
    unlock(*at.first);
}

// Whether what stands at a key is over: then its place is free. The caller holds the lock.
bool FlowTable::drop_dead(FlowRef found, const Place& place) {
    if (!is_over(found)) return false;
    const uint32_t link = link_of(found.entry());
    if (clear_link(*place.first, link)) return true;
    if (place.second == place.first || !try_lock(*place.second)) return false;
    const bool cleared = clear_link(*place.second, link);
    if (cleared) place.first->overflow.fetch_sub(1, std::memory_order_relaxed);
    unlock(*place.second);
    return cleared;
}

FlowTable::Linked FlowTable::link_locked(FlowEntry& entry, const Place& at, FlowRef& other) {
    other = find(entry.opening.key, at);
    if (other && !drop_dead(other, at)) return is_over(other) ? Linked::kFull : Linked::kExists;
    other = find(entry.answers.key, at);
    if (other && !drop_dead(other, at)) return is_over(other) ? Linked::kFull : Linked::kClash;
    return put(entry, at) ? Linked::kYes : Linked::kFull;
}

FlowTable::Linked FlowTable::link(FlowEntry& entry, uint32_t now, FlowRef& other) {
    const Place at = place(hash(entry.opening.key));
    const FlowStatus status = entry.first.status.load(std::memory_order_relaxed);
    // Before anybody can find it, since from then on anybody may change or end it.
    const bool half_open = is_half_open(status.phase);
    if (!half_open) count_half_open(*shared_, entry.second.charged, kOneLess);
    entry.second.created.store(now, std::memory_order_relaxed);
    Linked linked = Linked::kFull;
    for (unsigned attempt = 0; attempt < kLinkAttempts && linked == Linked::kFull; ++attempt) {
        lock(*at.first);
        linked = link_locked(entry, at, other);
        if (linked == Linked::kYes) {
            FlowSummary& summary = shared_->summaries[index_of(entry)];
            const auto state = static_cast<size_t>(status.state);
            const uint32_t timeout =
                shared_->limits.timeouts[state].load(std::memory_order_relaxed);
            summary.phase.store(status.phase, std::memory_order_relaxed);
            summary.expires.store(now + timeout + 1, std::memory_order_release);
        }
        unlock(*at.first);
        if (linked == Linked::kFull) rte_pause();
    }
    if (linked != Linked::kYes && !half_open) count_half_open(*shared_, entry.second.charged, 1);
    return linked;
}

// REQUIRES: this worker has moved the flow's phase to kDead from `last`.
void FlowTable::take_out(FlowEntry& entry, FlowStatus last) {
    const uint32_t index = index_of(entry);
    unlink(entry);
    // Only now: link() writes it after the flow can be found, until it lets go of the bucket.
    shared_->summaries[index].expires.store(0, std::memory_order_relaxed);
    count_flows(*shared_, entry.second.charged, kOneLess);
    if (is_half_open(last.phase)) count_half_open(*shared_, entry.second.charged, kOneLess);
    retired_[retired_tail_++ % kRetiredMax] = index;
    ++open_;
}

bool FlowTable::end(FlowEntry& entry, bool only_evictable) {
    if (retired_tail_ - retired_head_ == kRetiredMax) {
        reclaim();
        if (retired_tail_ - retired_head_ == kRetiredMax) return false;
    }
    FlowStatus last = entry.first.status.load(std::memory_order_acquire);
    for (;;) {
        if (last.phase == FlowPhase::kDead) return false;
        if (only_evictable && !is_evictable(last.phase)) return false;
        FlowStatus dead = last;
        dead.phase = FlowPhase::kDead;
        if (entry.first.status.compare_exchange_weak(last, dead, std::memory_order_acq_rel)) break;
    }
    take_out(entry, last);
    return true;
}

bool FlowTable::kill(FlowEntry& entry) {
    return end(entry, false);
}

bool FlowTable::evict(FlowEntry& entry) {
    return end(entry, true);
}

// Makes room by ending a flow that is not assured: one of the port's own, or of anybody who has
// more of them than the port.
bool FlowTable::evict_for(PortId charged, bool anybody) {
    const auto relaxed = std::memory_order_relaxed;
    const uint32_t own = shared_->shares[charged.value()].half_open.load(relaxed);
    const uint32_t touched = std::min(shared_->fresh.load(relaxed), shared_->entry_count);
    for (uint32_t n = 0; n < std::min(kEvictionScan, touched); ++n) {
        if (hand_ >= touched) hand_ = 0;
        const uint32_t index = hand_++;
        const FlowSummary& summary = shared_->summaries[index];
        if (summary.expires.load(relaxed) == 0 || !is_evictable(summary.phase.load(relaxed)))
            continue;
        const PortId of = summary.charged.load(relaxed);
        if (of != charged &&
            !(anybody && shared_->shares[of.value()].half_open.load(relaxed) > own))
            continue;
        if (evict(shared_->entries[index])) return true;
    }
    return false;
}

void FlowTable::status_changed(FlowEntry& entry, FlowStatus before, FlowStatus after,
                               uint32_t now) {
    const auto relaxed = std::memory_order_relaxed;
    const int change = int{is_half_open(after.phase)} - int{is_half_open(before.phase)};
    if (change != 0) count_half_open(*shared_, entry.second.charged, static_cast<uint32_t>(change));
    FlowSummary& summary = shared_->summaries[index_of(entry)];
    summary.phase.store(after.phase, relaxed);
    const uint32_t timeout =
        shared_->limits.timeouts[static_cast<size_t>(after.state)].load(relaxed);
    uint32_t expires = summary.expires.load(relaxed);
    // Not where somebody has ended the flow meanwhile.
    while (expires != 0 &&
           !summary.expires.compare_exchange_weak(expires, now + timeout + 1, relaxed)) {
    }
}

// The open batch begins to wait.
void FlowTable::seal_batch() {
    if (open_ == 0 || batch_tail_ - batch_head_ == kBatchesMax) return;
    batches_[batch_tail_++ % kBatchesMax] = {rte_rcu_qsbr_start(quiescent_), open_};
    open_ = 0;
}

void FlowTable::reclaim() {
    while (batch_head_ != batch_tail_) {
        const Batch& batch = batches_[batch_head_ % kBatchesMax];
        if (!is_grace_over(*quiescent_, batch.token)) break;
        for (uint32_t n = 0; n < batch.size; ++n) {
            const uint32_t index = retired_[retired_head_++ % kRetiredMax];
            FlowEntry& entry = shared_->entries[index];
            for (FlowDirection* direction : {&entry.opening, &entry.answers}) {
                direction->epoch.store(0, std::memory_order_relaxed);
                direction->marks.store(0, std::memory_order_relaxed);
            }
            entry.second.version.fetch_add(1, std::memory_order_release);
            release_index(index);
        }
        ++batch_head_;
    }
    seal_batch();
}

void FlowTable::examine(uint32_t index, uint32_t now) {
    FlowEntry& entry = shared_->entries[index];
    const auto relaxed = std::memory_order_relaxed;
    const FlowStatus status = entry.first.status.load(std::memory_order_acquire);
    if (status.phase == FlowPhase::kDead) return;
    if (status.phase == FlowPhase::kFlushed) {
        kill(entry);
        return;
    }
    const uint32_t seen =
        std::max(entry.opening.last_seen.load(relaxed), entry.answers.last_seen.load(relaxed));
    const uint32_t timeout =
        shared_->limits.timeouts[static_cast<size_t>(status.state)].load(relaxed);
    const uint32_t expires = seen + timeout + 1;
    if (expires <= now) {
        kill(entry);
        return;
    }
    uint32_t hint = shared_->summaries[index].expires.load(relaxed);
    if (hint != 0)
        shared_->summaries[index].expires.compare_exchange_strong(hint, expires, relaxed);
}

void FlowTable::sweep(uint32_t count, uint32_t now) {
    for (uint32_t n = 0; n < count && begin_ != end_; ++n) {
        const uint32_t expires = shared_->summaries[sweep_].expires.load(std::memory_order_acquire);
        if (expires != 0 && expires <= now) examine(sweep_, now);
        if (++sweep_ == end_) sweep_ = begin_;
    }
}

bool FlowTable::has_flows() const {
    return shared_->used.load(std::memory_order_relaxed) != 0 || retired_head_ != retired_tail_;
}

void FlowTable::maintain(uint64_t tsc, uint64_t hz, uint32_t now) {
    if (retired_head_ != retired_tail_) reclaim();
    if (tsc < next_step_) return;
    // The whole share once a second.
    const uint64_t interval = hz * kSweepStep / std::max(end_ - begin_, kSweepStep);
    // Who has slept does not catch up on more than a share.
    next_step_ = std::max(next_step_ + interval, tsc > hz ? tsc - hz : 0);
    sweep(kSweepStep, now);
}

bool flush_flow(FlowTables& tables, uint32_t index) {
    if (tables.summaries[index].expires.load(std::memory_order_acquire) == 0) return false;
    FlowEntry& entry = tables.entries[index];
    FlowStatus last = entry.first.status.load(std::memory_order_acquire);
    FlowStatus flushed;
    do {
        if (is_over(last.phase)) return false;
        flushed = last;
        flushed.phase = FlowPhase::kFlushed;
    } while (!entry.first.status.compare_exchange_weak(last, flushed, std::memory_order_acq_rel));
    if (is_half_open(last.phase)) count_half_open(tables, entry.second.charged, kOneLess);
    uint32_t expires = tables.summaries[index].expires.load(std::memory_order_relaxed);
    while (expires != 0 && !tables.summaries[index].expires.compare_exchange_weak(
                               expires, 1, std::memory_order_relaxed)) {
    }
    return true;
}

}  // namespace slash32
