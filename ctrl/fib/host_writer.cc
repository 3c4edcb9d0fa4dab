// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/host_writer.h"

#include "ctrl/fib/poison.h"
#include "dp/table/fib_match.h"

#include <algorithm>
#include <array>
#include <type_traits>

namespace slash32 {

template <typename Address>
void HostWriter<Address>::destroy() {
    if (table_.buckets != nullptr) memory_.release(table_.buckets, bucket_bytes());
    if (table_.entries != nullptr) {
        unpoison(table_.entries, entry_bytes());
        memory_.release(table_.entries, entry_bytes());
    }
    table_.buckets = nullptr;
    table_.entries = nullptr;
}

template <typename Address>
bool HostWriter<Address>::create(size_t capacity, const HashSeed& seed) {
    capacity_ = capacity;
    const size_t words = std::max<size_t>(capacity + (capacity + 6) / 7, 2 * kHostBucketWords);
    table_.bucket_mask = std::bit_ceil((words + kHostBucketWords - 1) / kHostBucketWords) - 1;
    table_.seed = seed;
    // The memory is zero and stays untouched: 0 is an empty word.
    table_.buckets =
        static_cast<HostBucket*>(memory_.allocate(bucket_bytes(), alignof(HostBucket)));
    if (table_.buckets == nullptr) return false;
    if constexpr (std::is_same_v<Address, Ip6>) {
        // Removed entries wait for their grace period while others are added.
        entries_max_ = capacity + capacity / 4 + 1024;
        table_.entries =
            static_cast<HostEntry6*>(memory_.allocate(entry_bytes(), alignof(HostEntry6)));
        if (table_.entries == nullptr) {
            entries_max_ = 0;
            return false;
        }
    }
    return true;
}

template <typename Address>
FibOutcome HostWriter<Address>::set(VrfId vrf, const Address& address, NextHopId next_hop) {
    const uint64_t hash = Word::hash(table_.seed, vrf, address);
    if (WordPlace* place = find(hash, vrf, address); place != nullptr) {
        if constexpr (std::is_same_v<Address, Ip4>) {
            place->store(Word::make(vrf, address, next_hop), std::memory_order_release);
        } else {
            const uint64_t word = place->load(std::memory_order_relaxed);
            table_.entries[Word::index(word)].next_hop.store(next_hop.value(),
                                                             std::memory_order_release);
        }
        return FibOutcome::kReplaced;
    }
    if (size() >= capacity_) return FibOutcome::kFull;

    uint64_t word = 0;
    if (!make_word(hash, vrf, address, next_hop, word)) return FibOutcome::kFull;
    WordPlace* place = empty_place(table_.buckets[first_bucket(table_, hash)]);
    if (place == nullptr) place = empty_place(table_.buckets[second_bucket(table_, hash)]);
    if (place == nullptr) place = make_room(hash);
    if (place == nullptr) {
        unmake_word(word);
        return FibOutcome::kFull;
    }
    place->store(word, std::memory_order_release);
    table_.used.store(static_cast<uint32_t>(size() + 1), std::memory_order_relaxed);
    ++used_by_vrf_[vrf.value()];
    return FibOutcome::kAdded;
}

template <typename Address>
bool HostWriter<Address>::erase(VrfId vrf, const Address& address) {
    const uint64_t hash = Word::hash(table_.seed, vrf, address);
    WordPlace* place = find(hash, vrf, address);
    if (place == nullptr) return false;
    clear(*place, vrf);
    return true;
}

template <typename Address>
void HostWriter<Address>::prefetch(VrfId vrf, const Address& address) const {
    const uint64_t hash = Word::hash(table_.seed, vrf, address);
    __builtin_prefetch(&table_.buckets[first_bucket(table_, hash)], 1);
    __builtin_prefetch(&table_.buckets[second_bucket(table_, hash)], 1);
}

template <typename Address>
size_t HostWriter<Address>::erase_vrf(VrfId vrf) {
    const size_t erased = used_by_vrf_[vrf.value()];
    for (size_t b = 0; used_by_vrf_[vrf.value()] != 0; ++b) {
        for (WordPlace& place : table_.buckets[b].words) {
            const uint64_t word = place.load(std::memory_order_relaxed);
            if (word != 0 && vrf_of(word) == vrf) clear(place, vrf);
        }
    }
    return erased;
}

template <typename Address>
void HostWriter<Address>::for_each(const Visitor& visit) const {
    for (size_t b = 0; b < bucket_count(); ++b) {
        for (const WordPlace& place : table_.buckets[b].words) {
            const uint64_t word = place.load(std::memory_order_relaxed);
            if (word == 0) continue;
            if constexpr (std::is_same_v<Address, Ip4>) {
                visit(Word::vrf(word), Word::address(word), Word::next_hop(word));
            } else {
                const HostEntry6& entry = table_.entries[Word::index(word)];
                visit(entry.vrf, entry.address,
                      NextHopId{entry.next_hop.load(std::memory_order_relaxed)});
            }
        }
    }
}

template <typename Address>
auto HostWriter<Address>::find(uint64_t hash, VrfId vrf, const Address& address) const
    -> WordPlace* {
    WordPlace* place = find_in(table_.buckets[first_bucket(table_, hash)], hash, vrf, address);
    if (place != nullptr) return place;
    return find_in(table_.buckets[second_bucket(table_, hash)], hash, vrf, address);
}

template <typename Address>
auto HostWriter<Address>::find_in(HostBucket& bucket, uint64_t hash, VrfId vrf,
                                  const Address& address) const -> WordPlace* {
    unsigned found = match_words(bucket, Word::kCompareMask, Word::pattern(hash, vrf, address));
    for (; found != 0; found &= found - 1) {
        WordPlace& place = bucket.words[static_cast<unsigned>(std::countr_zero(found))];
        const uint64_t word = place.load(std::memory_order_relaxed);
        if (word == 0) continue;
        if constexpr (std::is_same_v<Address, Ip4>) {
            return &place;
        } else {
            const HostEntry6& entry = table_.entries[Word::index(word)];
            if (entry.address == address && entry.vrf == vrf) return &place;
        }
    }
    return nullptr;
}

template <typename Address>
auto HostWriter<Address>::empty_place(HostBucket& bucket) -> WordPlace* {
    const unsigned empty = match_words(bucket, ~uint64_t{0}, 0);
    return empty == 0 ? nullptr : &bucket.words[static_cast<unsigned>(std::countr_zero(empty))];
}

// Breadth first from the two buckets of `hash` to the nearest one with an empty place, then the
// moves from there back. Returns the emptied place, or nullptr with nothing changed.
template <typename Address>
auto HostWriter<Address>::make_room(uint64_t hash) -> WordPlace* {
    struct Step {
        uint64_t bucket;
        uint32_t parent;  // step whose word may move here
        uint8_t word;     // which one of the parent's bucket
        uint8_t depth;
    };
    std::vector<Step> steps;
    steps.reserve(kSearchMax + kHostBucketWords);
    steps.push_back({first_bucket(table_, hash), 0, 0, 0});
    steps.push_back({second_bucket(table_, hash), 0, 0, 0});

    // A bucket twice on one path would move a word that is no longer there.
    const auto on_path = [&steps](uint32_t at, uint64_t bucket) {
        for (;; at = steps[at].parent) {
            if (steps[at].bucket == bucket) return true;
            if (steps[at].depth == 0) return false;
        }
    };

    for (uint32_t at = 0; at < steps.size() && steps.size() < kSearchMax; ++at) {
        if (steps[at].depth == kPathMax) break;
        for (uint8_t w = 0; w < kHostBucketWords; ++w) {
            const uint64_t from = steps[at].bucket;
            const uint64_t to =
                other_bucket(from, table_.buckets[from].words[w].load(std::memory_order_relaxed));
            if (on_path(at, to)) continue;
            steps.push_back({to, at, w, static_cast<uint8_t>(steps[at].depth + 1)});
            WordPlace* place = empty_place(table_.buckets[to]);
            if (place == nullptr) continue;

            for (Step step = steps.back(); step.depth > 0; step = steps[step.parent]) {
                WordPlace& source = table_.buckets[steps[step.parent].bucket].words[step.word];
                place->store(source.load(std::memory_order_relaxed), std::memory_order_release);
                // The copy is visible before the count, the count before the old place changes.
                table_.moves.store(table_.moves.load(std::memory_order_relaxed) + 1,
                                   std::memory_order_release);
                place = &source;
            }
            return place;
        }
    }
    return nullptr;
}

template <typename Address>
uint64_t HostWriter<Address>::other_bucket(uint64_t bucket, uint64_t word) const {
    uint64_t hash = 0;
    if constexpr (std::is_same_v<Address, Ip4>) {
        hash = Word::hash(table_.seed, Word::vrf(word), Word::address(word));
    } else {
        const HostEntry6& entry = table_.entries[Word::index(word)];
        hash = Word::hash(table_.seed, entry.vrf, entry.address);
    }
    const uint64_t first = first_bucket(table_, hash);
    return first == bucket ? second_bucket(table_, hash) : first;
}

template <typename Address>
VrfId HostWriter<Address>::vrf_of(uint64_t word) const {
    if constexpr (std::is_same_v<Address, Ip4>) {
        return Word::vrf(word);
    } else {
        return table_.entries[Word::index(word)].vrf;
    }
}

template <typename Address>
bool HostWriter<Address>::make_word(uint64_t hash, VrfId vrf, const Address& address,
                                    NextHopId next_hop, uint64_t& word) {
    if constexpr (std::is_same_v<Address, Ip4>) {
        word = Word::make(vrf, address, next_hop);
    } else {
        uint32_t index = 0;
        if (!take_entry(index)) return false;
        HostEntry6& entry = table_.entries[index];
        entry.address = address;
        entry.vrf = vrf;
        entry.next_hop.store(next_hop.value(), std::memory_order_relaxed);
        word = Word::make(hash, index);
    }
    return true;
}

// Takes back a word that was never stored.
template <typename Address>
void HostWriter<Address>::unmake_word(uint64_t word) {
    if constexpr (std::is_same_v<Address, Ip6>) entries_free_.push_back(Word::index(word));
}

template <typename Address>
void HostWriter<Address>::clear(WordPlace& place, VrfId vrf) {
    const uint64_t word = place.load(std::memory_order_relaxed);
    place.store(0, std::memory_order_release);
    table_.used.store(static_cast<uint32_t>(size() - 1), std::memory_order_relaxed);
    --used_by_vrf_[vrf.value()];
    if constexpr (std::is_same_v<Address, Ip6>) {
        retired_.retire(&HostWriter::entry_released, this, &table_.entries[Word::index(word)]);
    }
}

template <typename Address>
bool HostWriter<Address>::take_entry(uint32_t& index) {
    if (entries_free_.empty() && entries_cut_ == entries_max_) retired_.drain();
    if (!entries_free_.empty()) {
        index = entries_free_.back();
        unpoison(&table_.entries[index], sizeof(HostEntry6));
        entries_free_.pop_back();
        return true;
    }
    if (entries_cut_ == entries_max_) return false;
    index = entries_cut_++;
    return true;
}

template <typename Address>
void HostWriter<Address>::entry_released(void* owner, void* entry) {
    auto* writer = static_cast<HostWriter*>(owner);
    poison(entry, sizeof(HostEntry6));
    writer->entries_free_.push_back(
        static_cast<uint32_t>(static_cast<HostEntry6*>(entry) - writer->table_.entries));
}

template class HostWriter<Ip4>;
template class HostWriter<Ip6>;

}  // namespace slash32
