// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/split_ring.h"

#include "dp/base/assert.h"
#include "tests/frontend/ring_arith.h"

#include <atomic>
#include <cstring>

namespace slash32::frontend {

namespace {

constexpr size_t kAlign = 64;

constexpr size_t aligned(size_t bytes) {
    return (bytes + kAlign - 1) / kAlign * kAlign;
}
constexpr size_t descriptor_bytes(uint16_t size) {
    return aligned(sizeof(Descriptor) * size);
}
constexpr size_t available_bytes(uint16_t size) {
    return aligned(sizeof(uint16_t) * (size + size_t{3}));
}
constexpr size_t used_bytes(uint16_t size) {
    return aligned(sizeof(uint16_t) * 3 + sizeof(UsedElement) * size);
}

uint16_t load(uint16_t* word, std::memory_order order) {
    return std::atomic_ref<uint16_t>(*word).load(order);
}
void store(uint16_t* word, uint16_t value, std::memory_order order) {
    std::atomic_ref<uint16_t>(*word).store(value, order);
}

}  // namespace

size_t SplitRing::bytes(uint16_t size) {
    return descriptor_bytes(size) + available_bytes(size) + used_bytes(size) + 3 * kAlign;
}

SplitRing::SplitRing(GuestMemory& memory, uint16_t size)
    : memory_(&memory),
      size_(size),
      descriptors_at_(memory.allocate(descriptor_bytes(size), kAlign)),
      available_at_(memory.allocate(available_bytes(size), kAlign)),
      used_at_(memory.allocate(used_bytes(size), kAlign)),
      head_in_flight_(size) {
    S32_ASSERT(valid_ring_size(size));
}

void SplitRing::reset() {
    std::memset(memory_->at(available_at_), 0, available_bytes(size_));
    std::memset(memory_->at(used_at_), 0, used_bytes(size_));
    staged_ = published_ = last_used_ = 0;
    head_in_flight_.assign(size_, false);
}

uint16_t* SplitRing::available_word(size_t i) const {
    return reinterpret_cast<uint16_t*>(memory_->at(available_at_)) + i;
}

uint16_t* SplitRing::used_word(size_t i) const {
    return reinterpret_cast<uint16_t*>(memory_->at(used_at_)) + i;
}

uint16_t* SplitRing::available_event() const {
    return reinterpret_cast<uint16_t*>(memory_->at(used_at_) + 4 + sizeof(UsedElement) * size_);
}

Descriptor& SplitRing::descriptor(uint16_t i) {
    return reinterpret_cast<Descriptor*>(memory_->at(descriptors_at_))[i];
}

void SplitRing::stage(uint16_t head) {
    S32_ASSERT(head < size_ && !head_in_flight_[head]);
    head_in_flight_[head] = true;
    set_available_slot(staged_, head);
    staged_ = index_add(staged_, 1);
}

bool SplitRing::publish() {
    if (staged_ == published_) return false;
    const uint16_t before = published_;
    published_ = staged_;
    // Release: the device's acquire of the index sees the slots and descriptors before it.
    store(available_word(1), published_, std::memory_order_release);
    // Our index before their wish not to be kicked: pairs with the device's fence between
    // enabling kicks and looking at the ring once more.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (event_index_) {
        return passed_event(load(available_event(), std::memory_order_relaxed), before, published_);
    }
    return (load(used_word(0), std::memory_order_relaxed) & kUsedNoNotify) == 0;
}

uint16_t SplitRing::used_count() const {
    const uint16_t used = load(used_word(1), std::memory_order_acquire);
    if (!plausible_used(last_used_, used, published_)) return 0;
    return index_distance(last_used_, used);
}

bool SplitRing::peek_used(uint16_t ahead, Used& used) const {
    UsedElement element;
    const uint16_t slot = ring_slot(index_add(last_used_, ahead), size_);
    std::memcpy(&element, memory_->at(used_at_) + 4 + sizeof(element) * slot, sizeof(element));
    used.head = static_cast<uint16_t>(element.head);
    used.bytes = element.bytes;
    return element.head < size_ && head_in_flight_[element.head];
}

void SplitRing::pop_used(uint16_t n) {
    for (uint16_t i = 0; i < n; i++) {
        Used used{};
        if (peek_used(0, used)) {
            head_in_flight_[used.head] = false;
        } else {
            implausible_++;
        }
        last_used_ = index_add(last_used_, 1);
    }
}

bool SplitRing::enable_calls() {
    if (event_index_) {
        store(available_word(2 + size_t{size_}), last_used_, std::memory_order_relaxed);
    }
    store(available_word(0), 0, std::memory_order_relaxed);
    // The wish before the last look: pairs with the device's fence between its used index and
    // its reading of the wish.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return used_count() != 0;
}

void SplitRing::disable_calls() {
    if (event_index_) {
        // An index that the device passes last, a whole turn of the 16 bits from here.
        store(available_word(2 + size_t{size_}), static_cast<uint16_t>(last_used_ - 1),
              std::memory_order_relaxed);
    }
    store(available_word(0), kAvailableNoInterrupt, std::memory_order_relaxed);
}

uint16_t SplitRing::available_index() const {
    return load(available_word(1), std::memory_order_relaxed);
}

uint16_t SplitRing::used_index() const {
    return load(used_word(1), std::memory_order_acquire);
}

uint16_t SplitRing::in_flight() const {
    return index_distance(used_index(), available_index());
}

void SplitRing::stage_unchecked(uint16_t head) {
    set_available_slot(staged_, head);
    staged_ = index_add(staged_, 1);
}

void SplitRing::set_available_slot(uint16_t index, uint16_t head) {
    store(available_word(2 + size_t{ring_slot(index, size_)}), head, std::memory_order_relaxed);
}

void SplitRing::set_available_index(uint16_t index) {
    store(available_word(1), index, std::memory_order_release);
}

void SplitRing::set_used_index(uint16_t index) {
    store(used_word(1), index, std::memory_order_release);
}

}  // namespace slash32::frontend
