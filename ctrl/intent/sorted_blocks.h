// SPDX-License-Identifier: Apache-2.0
// An ordered map for millions of small trivially copyable keys and values: sorted blocks of up to
// 256 entries under a sorted directory. It costs 12 to 24 bytes a 12-byte entry, keeps order for
// paging, and an insertion near the last one needs no search in the directory.
//
// Thread safety: none. Invariants: no block is empty; keys ascend within a block and across blocks.
// Limits: an insertion that splits a block moves the directory behind it, which is 16 bytes for
// every 128 to 256 entries.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace slash32 {

template <typename Key, typename Value>
class SortedBlocks {
    static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<Value>);

  public:
    static constexpr size_t kBlockEntries = 256;

    size_t size() const { return size_; }
    size_t memory_bytes() const {
        return blocks_.capacity() * sizeof(Entry) + blocks_.size() * sizeof(Block);
    }

    // The value, or nullptr; valid until the next change.
    const Value* find(const Key& key) const {
        if (blocks_.empty()) return nullptr;
        const Block& block = *blocks_[block_of(key)].block;
        const size_t at = block.lower_bound(key);
        return at < block.count && block.keys[at] == key ? &block.values[at] : nullptr;
    }
    Value* find(const Key& key) { return const_cast<Value*>(std::as_const(*this).find(key)); }

    // Inserts or replaces.
    void set(const Key& key, const Value& value) {
        if (blocks_.empty()) {
            blocks_.push_back({key, std::make_unique<Block>()});
            blocks_[0].block->insert(0, key, value);
            size_ = 1;
            return;
        }
        size_t index = block_of(key);
        size_t at = blocks_[index].block->lower_bound(key);
        if (at < blocks_[index].block->count && blocks_[index].block->keys[at] == key) {
            blocks_[index].block->values[at] = value;
            return;
        }
        if (blocks_[index].block->count == kBlockEntries) {
            split(index, at);
            if (at > blocks_[index].block->count) {
                at -= blocks_[index].block->count;
                ++index;
            }
        }
        blocks_[index].block->insert(at, key, value);
        if (at == 0) blocks_[index].first = key;
        last_ = index;
        ++size_;
    }

    // Returns whether it was there.
    bool erase(const Key& key) {
        if (blocks_.empty()) return false;
        const size_t index = block_of(key);
        Block& block = *blocks_[index].block;
        const size_t at = block.lower_bound(key);
        if (at == block.count || block.keys[at] != key) return false;
        block.erase(at);
        --size_;
        if (block.count == 0) {
            blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(index));
        } else {
            blocks_[index].first = block.keys[0];
            if (block.count < kBlockEntries / 4) merge(index);
        }
        return true;
    }

    void clear() {
        blocks_.clear();
        size_ = 0;
    }

    // Calls visit(key, value) for the entries at and after `from`, in order, while it returns true.
    // The table must not change meanwhile, but for values.
    template <typename Visit>
    void visit_from(const Key& from, Visit&& visit) const {
        if (blocks_.empty()) return;
        size_t index = block_of(from);
        size_t at = blocks_[index].block->lower_bound(from);
        for (; index < blocks_.size(); ++index, at = 0) {
            const Block& block = *blocks_[index].block;
            for (; at < block.count; ++at) {
                if (!visit(block.keys[at], block.values[at])) return;
            }
        }
    }
    // Every value, to be changed in place.
    template <typename Visit>
    void update_all(Visit&& visit) {
        for (Entry& entry : blocks_) {
            Block& block = *entry.block;
            for (size_t at = 0; at < block.count; ++at)
                visit(block.keys[at], block.values[at]);
        }
    }

  private:
    struct Block {
        uint32_t count = 0;
        std::array<Key, kBlockEntries> keys;
        std::array<Value, kBlockEntries> values;

        size_t lower_bound(const Key& key) const {
            const auto end = keys.begin() + count;
            return static_cast<size_t>(std::lower_bound(keys.begin(), end, key) - keys.begin());
        }
        void insert(size_t at, const Key& key, const Value& value) {
            std::copy_backward(keys.begin() + at, keys.begin() + count, keys.begin() + count + 1);
            std::copy_backward(values.begin() + at, values.begin() + count,
                               values.begin() + count + 1);
            keys[at] = key;
            values[at] = value;
            ++count;
        }
        void erase(size_t at) {
            std::copy(keys.begin() + at + 1, keys.begin() + count, keys.begin() + at);
            std::copy(values.begin() + at + 1, values.begin() + count, values.begin() + at);
            --count;
        }
        void take_tail(Block& from, size_t at) {
            std::copy(from.keys.begin() + at, from.keys.begin() + from.count, keys.begin() + count);
            std::copy(from.values.begin() + at, from.values.begin() + from.count,
                      values.begin() + count);
            count += from.count - static_cast<uint32_t>(at);
            from.count = static_cast<uint32_t>(at);
        }
    };
    struct Entry {
        Key first;
        std::unique_ptr<Block> block;
    };

    // The block in which `key` is, or would be inserted.
    size_t block_of(const Key& key) const {
        // Bulk changes come in order: look where the last one was, and one further.
        for (size_t index = last_; index < std::min(last_ + 2, blocks_.size()); ++index) {
            const bool starts = !(key < blocks_[index].first);
            const bool ends = index + 1 == blocks_.size() || key < blocks_[index + 1].first;
            if (starts && ends) return last_ = index;
        }
        const auto after = std::upper_bound(
            blocks_.begin(), blocks_.end(), key,
            [](const Key& wanted, const Entry& entry) { return wanted < entry.first; });
        return last_ =
                   after == blocks_.begin() ? 0 : static_cast<size_t>(after - blocks_.begin()) - 1;
    }

    // Makes two of a full block. Appending at the very end leaves the old block full, so that keys
    // which come in order fill blocks whole.
    void split(size_t index, size_t insert_at) {
        const bool append = index + 1 == blocks_.size() && insert_at == kBlockEntries;
        const size_t keep = append ? kBlockEntries - 1 : kBlockEntries / 2;
        auto right = std::make_unique<Block>();
        right->take_tail(*blocks_[index].block, keep);
        const Key first = right->keys[0];
        blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(index) + 1,
                       Entry{first, std::move(right)});
    }

    void merge(size_t index) {
        if (index + 1 == blocks_.size()) {
            if (index == 0) return;
            --index;
        }
        Block& left = *blocks_[index].block;
        Block& right = *blocks_[index + 1].block;
        if (left.count + right.count > kBlockEntries / 2) return;
        left.take_tail(right, 0);
        blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(index) + 1);
    }

    std::vector<Entry> blocks_;
    size_t size_ = 0;
    mutable size_t last_ = 0;  // where the last search ended: a hint, checked before use
};

}  // namespace slash32
