// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/trie_writer.h"

#include <algorithm>
#include <new>

namespace slash32 {
namespace {

// How many leading bits two keys share; kWidth if they are equal.
unsigned common_bits(uint64_t a, uint64_t b) {
    return static_cast<unsigned>(std::countl_zero(a ^ b));
}
unsigned common_bits(Uint128 a, Uint128 b) {
    const Uint128 differ = a ^ b;
    const auto high = static_cast<uint64_t>(differ >> 64);
    if (high != 0) return static_cast<unsigned>(std::countl_zero(high));
    return 64 + static_cast<unsigned>(std::countl_zero(static_cast<uint64_t>(differ)));
}

template <typename Bits>
Bits leading(Bits bits, unsigned count) {
    constexpr unsigned kWidth = sizeof(Bits) * 8;
    return count == 0 ? Bits{0} : (bits >> (kWidth - count)) << (kWidth - count);
}

// Index of a bit's object in the array that follows a node.
unsigned rank(uint64_t bitmap, uint64_t bit) {
    return static_cast<unsigned>(std::popcount(bitmap & (bit - 1)));
}

uint64_t lowest(uint64_t bitmap) {
    return bitmap & (~bitmap + 1);
}

uint64_t slot_bit(unsigned slot) {
    return uint64_t{1} << slot;
}

constexpr unsigned kChildrenMax = 1U << kTrieStride;
constexpr unsigned kPrefixesMax = kChildrenMax - 1;

}  // namespace

template <typename Address>
TrieWriter<Address>::Target::Target(const Address& address, unsigned length) {
    const unsigned end = length + Key::kPad;
    key = leading(Key::from(address), end);
    home = end / kTrieStride * kTrieStride;
    const unsigned into = end - home;
    const auto value = into == 0 ? 0 : static_cast<uint64_t>((key << home) >> (Key::kWidth - into));
    bit = slot_bit((1U << into) + static_cast<unsigned>(value));
}

template <typename Address>
TrieWriter<Address>::TrieWriter(TrieRoot<Address>* roots, size_t capacity,
                                const TableMemory& memory, RetireQueue& retired)
    : roots_(roots),
      capacity_(capacity),
      retired_(retired),
      pool_(memory, alignof(Node), Node::bytes_for(kChildrenMax, kPrefixesMax)) {}

template <typename Address>
FibOutcome TrieWriter<Address>::set(VrfId vrf, const Address& address, unsigned length,
                                    NextHopId next_hop) {
    const Target target(address, length);
    if (size_ >= capacity_) {
        // Still room for a replacement.
        if (find(vrf, target) == nullptr) return FibOutcome::kFull;
    }
    FibOutcome outcome = insert(roots_[vrf.value()], target, next_hop);
    if (outcome == FibOutcome::kFull) {
        retired_.drain();
        outcome = insert(roots_[vrf.value()], target, next_hop);
    }
    if (outcome == FibOutcome::kAdded) ++size_;
    return outcome;
}

template <typename Address>
FibOutcome TrieWriter<Address>::insert(Place& root, const Target& target, NextHopId next_hop) {
    const auto added = [](bool done) { return done ? FibOutcome::kAdded : FibOutcome::kFull; };
    if (root.load(std::memory_order_relaxed) == nullptr) {
        return added(insert_first(root, target, next_hop));
    }
    // Invariant: the node at *place covers the target, and is not deeper than its home.
    for (Place* place = &root;;) {
        Node* node = place->load(std::memory_order_relaxed);
        Node* changed = nullptr;
        if (node->depth == target.home) {
            if ((node->prefixes & target.bit) != 0) {
                node->next_hop_array()[rank(node->prefixes, target.bit)].store(
                    next_hop.value(), std::memory_order_release);
                return FibOutcome::kReplaced;
            }
            changed = copy(node, node->prefixes | target.bit, next_hop, node->children, nullptr);
            if (changed == nullptr) return FibOutcome::kFull;
        } else {
            const uint64_t bit = slot_bit(node->slot(target.key));
            if ((node->children & bit) != 0) {
                place = &node->child_array()[rank(node->children, bit)];
                Node* child = place->load(std::memory_order_relaxed);
                const unsigned limit = std::min<unsigned>(child->depth, target.home);
                const unsigned shared = std::min(common_bits(target.key, child->key_bits()), limit);
                if (shared == child->depth) continue;
                return added(
                    split(*place, child, shared / kTrieStride * kTrieStride, target, next_hop));
            }
            Node* leaf = make_leaf(target, next_hop);
            if (leaf == nullptr) return FibOutcome::kFull;
            changed = copy(node, node->prefixes, kNoNextHop, node->children | bit, leaf);
            if (changed == nullptr) {
                release(leaf);
                return FibOutcome::kFull;
            }
        }
        publish(*place, changed);
        retire(node);
        return FibOutcome::kAdded;
    }
}

// The first prefix of a VRF: a root, and a leaf below it unless the root is its home.
template <typename Address>
bool TrieWriter<Address>::insert_first(Place& root, const Target& target, NextHopId next_hop) {
    Node* leaf = make_leaf(target, next_hop);
    if (leaf == nullptr) return false;
    if (target.home == 0) {
        publish(root, leaf);
        return true;
    }
    const auto slot = static_cast<unsigned>(target.key >> (Key::kWidth - kTrieStride));
    Node* top = allocate(0, slot_bit(slot), 0, 0);
    if (top == nullptr) {
        release(leaf);
        return false;
    }
    top->child_array()[0].store(leaf, std::memory_order_relaxed);
    publish(root, top);
    return true;
}

// Puts a node of `depth`, where the target leaves the way to `child`, above `child`: the target's
// home itself, or a fork to it. `child` stays as it is.
template <typename Address>
bool TrieWriter<Address>::split(Place& place, Node* child, unsigned depth, const Target& target,
                                NextHopId next_hop) {
    const auto slot_of = [depth](Bits key) {
        return static_cast<unsigned>((key << depth) >> (Key::kWidth - kTrieStride));
    };
    const uint64_t child_bit = slot_bit(slot_of(child->key_bits()));
    if (depth == target.home) {
        Node* node = allocate(target.bit, child_bit, target.key, depth);
        if (node == nullptr) return false;
        node->child_array()[0].store(child, std::memory_order_relaxed);
        node->next_hop_array()[0].store(next_hop.value(), std::memory_order_relaxed);
        publish(place, node);
        return true;
    }
    Node* leaf = make_leaf(target, next_hop);
    if (leaf == nullptr) return false;
    const uint64_t leaf_bit = slot_bit(slot_of(target.key));
    Node* fork = allocate(0, child_bit | leaf_bit, target.key, depth);
    if (fork == nullptr) {
        release(leaf);
        return false;
    }
    fork->child_array()[rank(fork->children, child_bit)].store(child, std::memory_order_relaxed);
    fork->child_array()[rank(fork->children, leaf_bit)].store(leaf, std::memory_order_relaxed);
    publish(place, fork);
    return true;
}

template <typename Address>
auto TrieWriter<Address>::erase(VrfId vrf, const Address& address, unsigned length) -> Removal {
    const Target target(address, length);
    const auto attempt = [&]() -> Removal {
        Place* parent_place = nullptr;
        Node* parent = nullptr;
        Place* place = &roots_[vrf.value()];
        Node* node = place->load(std::memory_order_relaxed);
        while (node != nullptr && node->depth < target.home) {
            const uint64_t bit = slot_bit(node->slot(target.key));
            if ((node->children & bit) == 0) return Removal::kAbsent;
            parent_place = place;
            parent = node;
            place = &node->child_array()[rank(node->children, bit)];
            node = place->load(std::memory_order_relaxed);
            if (!node->covers(target.key)) return Removal::kAbsent;
        }
        if (node == nullptr || node->depth != target.home) return Removal::kAbsent;
        if ((node->prefixes & target.bit) == 0) return Removal::kAbsent;

        const uint64_t prefixes = node->prefixes & ~target.bit;
        const int children = std::popcount(node->children);
        if (prefixes == 0 && children == 0 && parent != nullptr) {
            const bool parent_is_root = parent_place == &roots_[vrf.value()];
            if (!take_out(*parent_place, parent, node, parent_is_root)) return Removal::kFull;
        } else if (prefixes == 0 && children == 0) {
            publish(*place, nullptr);
        } else if (prefixes == 0 && children == 1 && parent != nullptr) {
            publish(*place, node->child_array()[0].load(std::memory_order_relaxed));
        } else {
            Node* changed = copy(node, prefixes, kNoNextHop, node->children, nullptr);
            if (changed == nullptr) return Removal::kFull;
            publish(*place, changed);
        }
        retire(node);
        return Removal::kRemoved;
    };

    Removal removal = attempt();
    if (removal == Removal::kFull) {
        retired_.drain();
        removal = attempt();
    }
    if (removal == Removal::kRemoved) --size_;
    return removal;
}

// Removes the reference to `node` from its parent, which may have no reason to stay either.
template <typename Address>
bool TrieWriter<Address>::take_out(Place& parent_place, Node* parent, Node* node,
                                   bool parent_is_root) {
    const uint64_t gone = slot_bit(parent->slot(node->key_bits()));
    const uint64_t children = parent->children & ~gone;
    if (parent->prefixes == 0 && children == 0) {
        publish(parent_place, nullptr);  // only a root has a single child and no prefix
    } else if (parent->prefixes == 0 && std::popcount(children) == 1 && !parent_is_root) {
        const unsigned index = rank(parent->children, children);
        publish(parent_place, parent->child_array()[index].load(std::memory_order_relaxed));
    } else {
        Node* changed = copy(parent, parent->prefixes, kNoNextHop, children, nullptr);
        if (changed == nullptr) return false;
        publish(parent_place, changed);
    }
    retire(parent);
    return true;
}

template <typename Address>
size_t TrieWriter<Address>::erase_vrf(VrfId vrf) {
    Node* root = roots_[vrf.value()].load(std::memory_order_relaxed);
    if (root == nullptr) return 0;
    publish(roots_[vrf.value()], nullptr);
    const size_t erased = retire_below(root);
    size_ -= erased;
    return erased;
}

template <typename Address>
NextHopId TrieWriter<Address>::get(VrfId vrf, const Address& address, unsigned length) const {
    const Target target(address, length);
    Node* node = find(vrf, target);
    if (node == nullptr) return kNoNextHop;
    return NextHopId{
        node->next_hop_array()[rank(node->prefixes, target.bit)].load(std::memory_order_relaxed)};
}

template <typename Address>
void TrieWriter<Address>::for_each(VrfId vrf, const Visitor& visit) const {
    const Node* root = roots_[vrf.value()].load(std::memory_order_relaxed);
    if (root != nullptr) visit_below(vrf, root, visit);
}

// The node that holds the target, or nullptr if the target is absent.
template <typename Address>
auto TrieWriter<Address>::find(VrfId vrf, const Target& target) const -> Node* {
    Node* node = roots_[vrf.value()].load(std::memory_order_relaxed);
    while (node != nullptr && node->depth < target.home) {
        const uint64_t bit = slot_bit(node->slot(target.key));
        if ((node->children & bit) == 0) return nullptr;
        node = node->child_array()[rank(node->children, bit)].load(std::memory_order_relaxed);
        if (!node->covers(target.key)) return nullptr;
    }
    if (node == nullptr || node->depth != target.home) return nullptr;
    return (node->prefixes & target.bit) != 0 ? node : nullptr;
}

// Recursion is as deep as the trie: at most 22 nodes.
template <typename Address>
size_t TrieWriter<Address>::retire_below(Node* node) {
    auto erased = static_cast<size_t>(std::popcount(node->prefixes));
    for (int i = 0; i < std::popcount(node->children); ++i) {
        erased += retire_below(node->child_array()[i].load(std::memory_order_relaxed));
    }
    retire(node);
    return erased;
}

template <typename Address>
void TrieWriter<Address>::visit_below(VrfId vrf, const Node* node, const Visitor& visit) const {
    unsigned index = 0;
    for (uint64_t left = node->prefixes; left != 0; left &= left - 1, ++index) {
        const auto position = static_cast<unsigned>(std::countr_zero(left));
        const unsigned into = static_cast<unsigned>(std::bit_width(position)) - 1;
        const unsigned end = node->depth + into;
        Bits key = node->key_bits();
        if (end > 0) key |= Bits{position - (1U << into)} << (Key::kWidth - end);
        visit(vrf, Key::to(key), end - Key::kPad,
              NextHopId{node->next_hop_array()[index].load(std::memory_order_relaxed)});
    }
    for (int i = 0; i < std::popcount(node->children); ++i) {
        visit_below(vrf, node->child_array()[i].load(std::memory_order_relaxed), visit);
    }
}

template <typename Address>
auto TrieWriter<Address>::allocate(uint64_t prefixes, uint64_t children, Bits key, unsigned depth)
    -> Node* {
    void* memory = pool_.allocate(Node::bytes_for(static_cast<unsigned>(std::popcount(children)),
                                                  static_cast<unsigned>(std::popcount(prefixes))));
    if (memory == nullptr) return nullptr;
    Node* node = new (memory) Node;
    node->prefixes = prefixes;
    node->children = children;
    const Bits upper = leading(key, depth);
    if constexpr (sizeof(Address) == 4) {
        node->key[0] = static_cast<uint32_t>(upper >> 32);
    } else {
        node->key[0] = static_cast<uint64_t>(upper >> 64);
        node->key[1] = static_cast<uint64_t>(upper);
    }
    node->depth = static_cast<uint8_t>(depth);
    return node;
}

template <typename Address>
auto TrieWriter<Address>::make_leaf(const Target& target, NextHopId next_hop) -> Node* {
    Node* node = allocate(target.bit, 0, target.key, target.home);
    if (node != nullptr) {
        node->next_hop_array()[0].store(next_hop.value(), std::memory_order_relaxed);
    }
    return node;
}

// A node like `from` with other sets of prefixes and children. Those that `from` lacks get
// `next_hop` and `child`.
template <typename Address>
auto TrieWriter<Address>::copy(const Node* from, uint64_t prefixes, NextHopId next_hop,
                               uint64_t children, Node* child) -> Node* {
    Node* node = allocate(prefixes, children, from->key_bits(), from->depth);
    if (node == nullptr) return nullptr;
    unsigned index = 0;
    for (uint64_t left = children; left != 0; left &= left - 1, ++index) {
        const uint64_t bit = lowest(left);
        Node* below = child;
        if ((from->children & bit) != 0) {
            below = from->child_array()[rank(from->children, bit)].load(std::memory_order_relaxed);
        }
        node->child_array()[index].store(below, std::memory_order_relaxed);
    }
    index = 0;
    for (uint64_t left = prefixes; left != 0; left &= left - 1, ++index) {
        const uint64_t bit = lowest(left);
        uint32_t id = next_hop.value();
        if ((from->prefixes & bit) != 0) {
            id = from->next_hop_array()[rank(from->prefixes, bit)].load(std::memory_order_relaxed);
        }
        node->next_hop_array()[index].store(id, std::memory_order_relaxed);
    }
    return node;
}

template <typename Address>
void TrieWriter<Address>::retire(Node* node) {
    retired_.retire(&TrieWriter::node_released, this, node);
}

template <typename Address>
void TrieWriter<Address>::node_released(void* owner, void* node) {
    static_cast<TrieWriter*>(owner)->release(static_cast<Node*>(node));
}

template <typename Address>
void TrieWriter<Address>::release(Node* node) {
    pool_.release(node, node->bytes());
}

template class TrieWriter<Ip4>;
template class TrieWriter<Ip6>;

}  // namespace slash32
