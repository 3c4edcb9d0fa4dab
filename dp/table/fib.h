// SPDX-License-Identifier: Apache-2.0
// Route lookup: from (VRF, destination address) to a next hop id.
//
// A host route wins over every prefix, a longer prefix over a shorter one; kNoNextHop is "no
// route".
//
// Thread safety: any thread may look up while control changes the tables. A route that is present
// before and after a change is found during it, with the old or the new next hop. The caller must
// be an online reader of the grace period that the tables' Reclaimer waits for, and keep nothing
// from a lookup but the id.
//
// Limits: a burst of kBurstSize lanes. A VRF id of kMaxVrfs or more finds nothing that a valid one
// would not find (it is masked), so it reads no foreign memory.
#pragma once

#include "dp/abi/fib.h"
#include "dp/table/fib_match.h"

#include <bit>
#include <cstdint>

namespace slash32 {

// The host route of (vrf, address), whose hash is given; kNoNextHop if there is none. `between`
// runs between the looks at the two buckets: tests put there what a writer may do meanwhile.
template <typename Address, typename Between>
inline NextHopId find_host(const HostTable& table, uint64_t hash, VrfId vrf, const Address& address,
                           Between between) {
    const HostBucket& first = table.buckets[first_bucket(table, hash)];
    const HostBucket& second = table.buckets[second_bucket(table, hash)];
    for (;;) {
        const uint32_t moves = table.moves.load(std::memory_order_acquire);
        if (const NextHopId id = match_bucket(table, first, hash, vrf, address); id != kNoNextHop) {
            return id;
        }
        between();
        if (const NextHopId id = match_bucket(table, second, hash, vrf, address);
            id != kNoNextHop) {
            return id;
        }
        // Pairs with the increment of a move (dp/abi/fib.h).
        if (table.moves.load(std::memory_order_acquire) == moves) [[likely]]
            return kNoNextHop;
    }
}

template <typename Address>
inline NextHopId find_host(const HostTable& table, VrfId vrf, const Address& address) {
    return find_host(table, HostWord<Address>::hash(table.seed, vrf, address), vrf, address, [] {});
}

class FibView {
  public:
    FibView() = default;
    // `tables` stays alive and in place as long as the view is used.
    explicit FibView(const FibTables* tables) : tables_(tables) {}

    NextHopId lookup(VrfId vrf, const Ip4& address) const { return lookup_one(vrf, address); }
    NextHopId lookup(VrfId vrf, const Ip6& address) const { return lookup_one(vrf, address); }

    // Looks up the lanes whose bit is set in `mask` and writes their `out`; other lanes are neither
    // read nor written. Several lookups are in flight at once, so it costs a fraction of as many
    // single ones when the tables are not in the cache.
    void lookup_bulk(uint32_t mask, const VrfId* vrf, const Ip4* address, NextHopId* out) const;
    void lookup_bulk(uint32_t mask, const VrfId* vrf, const Ip6* address, NextHopId* out) const;

    // Host routes only: kNoNextHop if the address is reached by a prefix or not at all.
    NextHopId lookup_host(VrfId vrf, const Ip4& address) const {
        return find_host(tables_->host_ipv4, vrf, address);
    }
    NextHopId lookup_host(VrfId vrf, const Ip6& address) const {
        return find_host(tables_->host_ipv6, vrf, address);
    }
    // Prefixes only.
    NextHopId lookup_prefix(VrfId vrf, const Ip4& address) const {
        return find_prefix(vrf, address);
    }
    NextHopId lookup_prefix(VrfId vrf, const Ip6& address) const {
        return find_prefix(vrf, address);
    }

  private:
    template <typename Address>
    NextHopId lookup_one(VrfId vrf, const Address& address) const {
        const NextHopId host = find_host(tables_->host<Address>(), vrf, address);
        return host != kNoNextHop ? host : find_prefix(vrf, address);
    }
    template <typename Address>
    NextHopId find_prefix(VrfId vrf, const Address& address) const;
    template <typename Address>
    void bulk(uint32_t mask, const VrfId* vrf, const Address* address, NextHopId* out) const;
    template <typename Address>
    void bulk_prefix(uint32_t mask, const VrfId* vrf, const Address* address, NextHopId* out) const;

    const FibTables* tables_ = nullptr;
};

// A place in a trie: where a walk stands, and the best prefix it has met.
template <typename Address>
class TrieWalk {
  public:
    using Node = TrieNode<Address>;

    TrieWalk() = default;
    // REQUIRES: root is not null.
    TrieWalk(const Node* root, const Address& address)
        : key_(TrieKey<Address>::from(address)), node_(root) {}

    // Takes in the present node, if the address lies below it, and goes to the child on its way.
    // False: the walk is over. Written so that only the end is a branch.
    bool step() {
        const bool on_path = node_->covers(key_);
        const unsigned slot = node_->slot(key_);
        const uint64_t match = on_path ? node_->prefixes & kTrieAncestors[slot >> 1] : 0;
        best_ = match != 0 ? node_ : best_;
        match_ = match != 0 ? match : match_;
        const uint64_t bit = uint64_t{1} << slot;
        const uint64_t children = on_path ? node_->children : 0;
        if ((children & bit) == 0) return false;
        node_ = node_->child_array()[std::popcount(children & (bit - 1))].load(
            std::memory_order_acquire);
        return true;
    }

    const Node* node() const { return node_; }
    NextHopId next_hop() const {
        if (match_ == 0) return kNoNextHop;
        const uint64_t below = (uint64_t{1} << best_bit()) - 1;
        return NextHopId{best_->next_hop_array()[std::popcount(best_->prefixes & below)].load(
            std::memory_order_acquire)};
    }
    // Length of the best prefix. REQUIRES: next_hop() != kNoNextHop.
    unsigned length() const {
        return best_->depth + static_cast<unsigned>(std::bit_width(best_bit())) - 1 -
               TrieKey<Address>::kPad;
    }

  private:
    // Of the prefixes on the way the longest has the highest bit.
    unsigned best_bit() const { return 63 - static_cast<unsigned>(std::countl_zero(match_)); }

    typename TrieKey<Address>::Bits key_ = 0;
    const Node* node_ = nullptr;
    const Node* best_ = nullptr;
    uint64_t match_ = 0;  // prefixes of best_ that contain the address
};

template <typename Address>
inline NextHopId FibView::find_prefix(VrfId vrf, const Address& address) const {
    const auto* root =
        tables_->roots<Address>()[vrf.value() & (kMaxVrfs - 1)].load(std::memory_order_acquire);
    if (root == nullptr) return kNoNextHop;
    TrieWalk<Address> walk(root, address);
    while (walk.step()) {
    }
    return walk.next_hop();
}

}  // namespace slash32
