// SPDX-License-Identifier: Apache-2.0
// Writes one family's prefix tries, one a VRF (layout and memory orders: dp/abi/fib.h).
//
// The trie stores every prefix exactly once and pushes nothing down, so it is its own RIB: an
// addition or removal replaces the one node that holds the prefix, and at most its parent, whatever
// the size of the table; a new next hop is one store. The shape depends on the set of prefixes
// only, not on the order in which they came.
//
// Thread safety: the writer's thread only; readers may look up at any time.
#pragma once

#include "ctrl/fib/host_writer.h"
#include "ctrl/fib/node_pool.h"
#include "ctrl/fib/retire_queue.h"
#include "dp/abi/fib.h"

#include <cstddef>
#include <functional>

namespace slash32 {

template <typename Address>
class TrieWriter {
  public:
    using Visitor = std::function<void(VrfId, const Address&, unsigned length, NextHopId)>;

    // `roots` (kMaxVrfs of them, null) is read by workers.
    TrieWriter(TrieRoot<Address>* roots, size_t capacity, const TableMemory& memory,
               RetireQueue& retired);

    // Inserts or replaces. Bits of the address beyond the length are ignored. Nothing has changed
    // when it returns kFull. REQUIRES: length <= kTrieMaxLength<Address>.
    FibOutcome set(VrfId vrf, const Address& address, unsigned length, NextHopId next_hop);

    // kFull: there is no memory for the smaller node; nothing has changed.
    enum class Removal : uint8_t { kRemoved, kAbsent, kFull };
    Removal erase(VrfId vrf, const Address& address, unsigned length);
    // Returns the number of prefixes removed.
    size_t erase_vrf(VrfId vrf);

    // Exactly this prefix; kNoNextHop if absent.
    NextHopId get(VrfId vrf, const Address& address, unsigned length) const;
    void for_each(VrfId vrf, const Visitor& visit) const;

    size_t size() const { return size_; }
    size_t capacity() const { return capacity_; }
    size_t bytes_used() const { return pool_.bytes_used(); }
    size_t bytes_reserved() const { return pool_.bytes_reserved(); }

  private:
    using Node = TrieNode<Address>;
    using Key = TrieKey<Address>;
    using Bits = typename Key::Bits;
    using Place = TrieRoot<Address>;  // where a pointer to a node is stored

    // A prefix as the trie sees it.
    struct Target {
        Target(const Address& address, unsigned length);
        Bits key;
        unsigned home;  // depth of the node that holds it
        uint64_t bit;   // its bit there
    };

    FibOutcome insert(Place& root, const Target& target, NextHopId next_hop);
    bool insert_first(Place& root, const Target& target, NextHopId next_hop);
    bool split(Place& place, Node* child, unsigned depth, const Target& target, NextHopId next_hop);
    bool take_out(Place& parent_place, Node* parent, Node* node, bool parent_is_root);
    Node* find(VrfId vrf, const Target& target) const;
    size_t retire_below(Node* node);
    void visit_below(VrfId vrf, const Node* node, const Visitor& visit) const;

    Node* allocate(uint64_t prefixes, uint64_t children, Bits key, unsigned depth);
    Node* make_leaf(const Target& target, NextHopId next_hop);
    Node* copy(const Node* from, uint64_t prefixes, NextHopId next_hop, uint64_t children,
               Node* child);
    static void publish(Place& place, Node* node) { place.store(node, std::memory_order_release); }
    void retire(Node* node);
    static void node_released(void* owner, void* node);
    void release(Node* node);

    TrieRoot<Address>* roots_;
    size_t capacity_;
    RetireQueue& retired_;
    NodePool pool_;
    size_t size_ = 0;
};

extern template class TrieWriter<Ip4>;
extern template class TrieWriter<Ip6>;

}  // namespace slash32
