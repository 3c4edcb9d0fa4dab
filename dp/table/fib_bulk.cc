// SPDX-License-Identifier: Apache-2.0
// The bulk forms of route lookup, in phases, so that the cache misses of up to 32 lookups overlap:
// hash all, prefetch all buckets, compare all; then the lanes without a host route walk their tries
// one level at a time together.
#include "dp/base/burst_array.h"
#include "dp/table/fib.h"

#include <array>

namespace slash32 {
namespace {

// The lanes of a mask, lowest first: for (Lanes i(mask); i; ++i) use(*i).
class Lanes {
  public:
    explicit Lanes(uint32_t mask) : mask_(mask) {}
    explicit operator bool() const { return mask_ != 0; }
    Lanes& operator++() {
        mask_ &= mask_ - 1;
        return *this;
    }
    unsigned operator*() const { return static_cast<unsigned>(std::countr_zero(mask_)); }

  private:
    uint32_t mask_;
};

}  // namespace

// As find_host() does it, for all lanes together. Most routes stand in their first bucket: the
// second ones are brought in only for the lanes that are not found there.
template <typename Address>
void FibView::bulk(uint32_t mask, const VrfId* vrf, const Address* address, NextHopId* out) const {
    const HostTable& table = tables_->host<Address>();
    std::array<uint64_t, kBurstSize> hash;
    for (Lanes i(mask); i; ++i) {
        hash[*i] = HostWord<Address>::hash(table.seed, vrf[*i], address[*i]);
        __builtin_prefetch(&table.buckets[first_bucket(table, hash[*i])]);
    }

    const uint32_t moves = table.moves.load(std::memory_order_acquire);
    uint32_t missed = 0;
    for (Lanes i(mask); i; ++i) {
        const HostBucket& first = table.buckets[first_bucket(table, hash[*i])];
        out[*i] = match_bucket(table, first, hash[*i], vrf[*i], address[*i]);
        if (out[*i] != kNoNextHop) continue;
        __builtin_prefetch(&table.buckets[second_bucket(table, hash[*i])]);
        missed |= uint32_t{1} << *i;
    }
    if (missed == 0) return;

    for (Lanes i(missed); i; ++i) {
        const HostBucket& second = table.buckets[second_bucket(table, hash[*i])];
        out[*i] = match_bucket(table, second, hash[*i], vrf[*i], address[*i]);
        if (out[*i] != kNoNextHop) missed &= ~(uint32_t{1} << *i);
    }
    // Pairs with the increment of a move (dp/abi/fib.h).
    if (table.moves.load(std::memory_order_acquire) != moves) [[unlikely]] {
        for (Lanes i(missed); i; ++i) {
            out[*i] = find_host(table, hash[*i], vrf[*i], address[*i], [] {});
            if (out[*i] != kNoNextHop) missed &= ~(uint32_t{1} << *i);
        }
    }
    if (missed != 0) bulk_prefix(missed, vrf, address, out);
}

template <typename Address>
void FibView::bulk_prefix(uint32_t mask, const VrfId* vrf, const Address* address,
                          NextHopId* out) const {
    BurstArray<TrieWalk<Address>> walks;
    const TrieRoot<Address>* roots = tables_->roots<Address>();
    uint32_t walking = 0;
    for (Lanes i(mask); i; ++i) {
        const auto* root = roots[vrf[*i].value() & (kMaxVrfs - 1)].load(std::memory_order_acquire);
        if (root == nullptr) continue;
        walks[*i] = TrieWalk<Address>(root, address[*i]);
        walking |= uint32_t{1} << *i;
    }
    const uint32_t rooted = walking;
    while (walking != 0) {
        for (Lanes i(walking); i; ++i) {
            if (walks[*i].step()) {
                __builtin_prefetch(walks[*i].node());
            } else {
                walking &= ~(uint32_t{1} << *i);
            }
        }
    }
    for (Lanes i(rooted); i; ++i)
        out[*i] = walks[*i].next_hop();
}

void FibView::lookup_bulk(uint32_t mask, const VrfId* vrf, const Ip4* address,
                          NextHopId* out) const {
    bulk(mask, vrf, address, out);
}
void FibView::lookup_bulk(uint32_t mask, const VrfId* vrf, const Ip6* address,
                          NextHopId* out) const {
    bulk(mask, vrf, address, out);
}

}  // namespace slash32
