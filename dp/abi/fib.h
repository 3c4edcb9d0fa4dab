// SPDX-License-Identifier: Apache-2.0
// The layout of the forwarding tables: what control builds (ctrl/fib) and workers look up
// (dp/table/fib.h).
//
// Host routes are exact matches on (VRF, address) in one cuckoo hash table a family, shared by all
// VRFs: buckets of one cache line, two candidate buckets a key. Shorter prefixes stand in one
// compressed multibit trie a VRF (a tree bitmap: strides of 6 bits, each prefix stored once in the
// node that its length falls into, strides that decide nothing left out).
//
// Thread safety: one writer (control), any number of readers, no locks. Everything that changes
// under a reader is an atomic; what a reader reaches through one is immutable and reused only after
// a grace period. The pairing of the memory orders:
//  - publish: the writer fills an object, then stores its pointer or word (release); a reader loads
//    it (acquire) and sees the object complete;
//  - move: the writer copies a host word to its new bucket, increments `moves` (release), then
//    overwrites the old place (release). A reader that found nothing loaded `moves` (acquire)
//    before its search and loads it again after. If it met the overwritten place, the second load
//    sees the increment and it searches again; if the first load saw it, it sees the copy.
//
// Limits: VRF ids of 12 bits, next hop ids of 20 bits, host tables of at most 2^32 words.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/limits.h"
#include "dp/base/net.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace slash32 {

__extension__ using Uint128 = unsigned __int128;

// ---- Host routes -------------------------------------------------------------------------------

inline constexpr size_t kHostBucketWords = 8;

struct alignas(kCacheLine) HostBucket {
    std::array<std::atomic<uint64_t>, kHostBucketWords> words;  // ctrl: rw, worker: ro; 0 = empty
};
static_assert(sizeof(HostBucket) == kCacheLine);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// The rest of an IPv6 host route, whose word has no room for the address. The key is immutable
// while a word refers to the entry.
struct alignas(32) HostEntry6 {
    Ip6 address;
    VrfId vrf;
    std::atomic<uint32_t> next_hop;  // ctrl: rw, worker: ro
};
static_assert(sizeof(HostEntry6) == 32);

// Random per table, so that whoever chooses addresses cannot choose buckets.
struct HashSeed {
    uint64_t a = 0;
    uint64_t b = 0;
    uint64_t c = 0;
};

inline uint64_t multiply_fold(uint64_t a, uint64_t b) {
    const Uint128 product = static_cast<Uint128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

struct HostTable {
    HostBucket* buckets = nullptr;
    uint64_t bucket_mask = 0;  // number of buckets (a power of two, at least 2) - 1
    HashSeed seed;
    HostEntry6* entries = nullptr;                        // IPv6 only
    alignas(kCacheLine) std::atomic<uint32_t> moves = 0;  // ctrl: rw, worker: ro
    std::atomic<uint32_t> used = 0;                       // routes; ctrl: rw, worker: ro
};

// The two candidate buckets of a hash; they always differ.
inline uint64_t first_bucket(const HostTable& table, uint64_t hash) {
    return hash & table.bucket_mask;
}
inline uint64_t second_bucket(const HostTable& table, uint64_t hash) {
    return first_bucket(table, hash) ^ (((hash >> 32) & table.bucket_mask) | 1);
}

// How a family's words are made. `kCompareMask` selects the bits of a word that a lookup compares
// with `pattern`; an empty word may equal a pattern, so a match also needs `word != 0`.
template <typename Address>
struct HostWord;

// vrf:12 | address:32 | next hop:20
template <>
struct HostWord<Ip4> {
    static constexpr uint64_t kCompareMask = ~uint64_t{kMaxNextHops - 1};

    static uint64_t hash(const HashSeed& seed, VrfId vrf, const Ip4& address) {
        return multiply_fold(key(vrf, address) ^ seed.a, seed.b);
    }
    static uint64_t pattern(uint64_t /*hash*/, VrfId vrf, const Ip4& address) {
        return key(vrf, address) << kNextHopBits;
    }
    static uint64_t make(VrfId vrf, const Ip4& address, NextHopId next_hop) {
        return key(vrf, address) << kNextHopBits | next_hop.value();
    }
    static NextHopId next_hop(uint64_t word) {
        return NextHopId{static_cast<uint32_t>(word & (kMaxNextHops - 1))};
    }
    static VrfId vrf(uint64_t word) {
        return VrfId{static_cast<uint16_t>(word >> (32 + kNextHopBits))};
    }
    static Ip4 address(uint64_t word) {
        return Ip4{Be32{static_cast<uint32_t>(word >> kNextHopBits)}};
    }

  private:
    static uint64_t key(VrfId vrf, const Ip4& address) {
        return uint64_t{vrf.value()} << 32 | address.value.to_host();
    }
};

// tag:32 | index of the entry + 1:32
template <>
struct HostWord<Ip6> {
    static constexpr uint64_t kCompareMask = ~uint64_t{UINT32_MAX};

    static uint64_t hash(const HashSeed& seed, VrfId vrf, const Ip6& address) {
        uint64_t half[2];
        std::memcpy(half, address.bytes.data(), sizeof(half));
        return multiply_fold(multiply_fold(half[0] ^ seed.a, half[1] ^ seed.b) ^ vrf.value(),
                             seed.c);
    }
    static uint64_t pattern(uint64_t hash, VrfId /*vrf*/, const Ip6& /*address*/) {
        return (hash >> 28) << 32;
    }
    static uint64_t make(uint64_t hash, uint32_t index) {
        return (hash >> 28) << 32 | (uint64_t{index} + 1);
    }
    // REQUIRES: word != 0.
    static uint32_t index(uint64_t word) { return static_cast<uint32_t>(word) - 1; }
};

// ---- Prefixes ----------------------------------------------------------------------------------

inline constexpr unsigned kTrieStride = 6;

// Addresses as the trie sees them: left-aligned behind `kPad` zero bits. The padding shifts the
// strides so that the usual lengths (IPv4 /24 and /16; IPv6 /32, /40, /48, /56 and /64) are not the
// first of a stride, where each prefix would need a node of its own.
template <typename Address>
struct TrieKey;

template <>
struct TrieKey<Ip4> {
    using Bits = uint64_t;
    static constexpr unsigned kPad = 2;
    static constexpr unsigned kWidth = 64;
    static constexpr unsigned kAddressBits = 32;

    static Bits from(const Ip4& address) {
        return Bits{address.value.to_host()} << (kWidth - kPad - kAddressBits);
    }
    static Ip4 to(Bits bits) {
        return Ip4{Be32{static_cast<uint32_t>(bits >> (kWidth - kPad - kAddressBits))}};
    }
};

// The last bit of the address is lost: only a /128 needs it, which is a host route.
template <>
struct TrieKey<Ip6> {
    using Bits = Uint128;
    static constexpr unsigned kPad = 1;
    static constexpr unsigned kWidth = 128;
    static constexpr unsigned kAddressBits = 128;

    static Bits from(const Ip6& address) {
        Be64 half[2];
        std::memcpy(half, address.bytes.data(), sizeof(half));
        return (Bits{half[0].to_host()} << 64 | half[1].to_host()) >> kPad;
    }
    static Ip6 to(Bits bits) {
        bits <<= kPad;
        const Be64 half[2] = {Be64{static_cast<uint64_t>(bits >> 64)},
                              Be64{static_cast<uint64_t>(bits)}};
        Ip6 address;
        std::memcpy(address.bytes.data(), half, sizeof(half));
        return address;
    }
};

// The longest prefix that a trie holds; longer ones are host routes.
template <typename Address>
inline constexpr unsigned kTrieMaxLength = TrieKey<Address>::kAddressBits - 1;

// One stride. The bit of a prefix that ends `n` bits (0 to 5) into the stride with the value `v` is
// (1 << n) + v, so a longer prefix has the higher bit. The bit of a child is its 6-bit slot. Behind
// the struct stand one pointer a child, then one next hop a prefix, each in the order of the bits.
//
// All but the children and next hops is immutable from the moment the node is published. A node
// below the root holds a prefix or at least two children.
template <typename Address>
struct alignas(sizeof(Address) == 4 ? 32 : 64) TrieNode {
    using Key = TrieKey<Address>;
    using Bits = typename Key::Bits;
    using Half = std::conditional_t<sizeof(Address) == 4, uint32_t, uint64_t>;

    uint64_t prefixes = 0;
    uint64_t children = 0;
    // The first `depth` bits of the key of everything below; the rest is zero. IPv4: the upper
    // half of the key is enough, since no node is deeper than 30.
    std::array<Half, sizeof(Address) == 4 ? 1 : 2> key{};
    uint8_t depth = 0;  // a multiple of kTrieStride, padding included

    // Writer: store with release. Reader: load with acquire.
    std::atomic<TrieNode*>* child_array() {
        return reinterpret_cast<std::atomic<TrieNode*>*>(reinterpret_cast<std::byte*>(this) +
                                                         kHeaderBytes);
    }
    const std::atomic<TrieNode*>* child_array() const {
        return const_cast<TrieNode*>(this)->child_array();
    }
    std::atomic<uint32_t>* next_hop_array() {
        return reinterpret_cast<std::atomic<uint32_t>*>(child_array() + std::popcount(children));
    }
    const std::atomic<uint32_t>* next_hop_array() const {
        return const_cast<TrieNode*>(this)->next_hop_array();
    }

    Bits key_bits() const {
        if constexpr (sizeof(Address) == 4) {
            return Bits{key[0]} << 32;
        } else {
            return Bits{key[0]} << 64 | key[1];
        }
    }
    // Whether `bits` lies below this node. (Two shifts, since the root's would be the full width.)
    bool covers(Bits bits) const {
        return ((bits ^ key_bits()) >> 1 >> (Key::kWidth - 1 - depth)) == 0;
    }
    // The stride of `bits` that this node decides.
    unsigned slot(Bits bits) const {
        return static_cast<unsigned>((bits << depth) >> (Key::kWidth - kTrieStride));
    }
    size_t bytes() const {
        return bytes_for(static_cast<unsigned>(std::popcount(children)),
                         static_cast<unsigned>(std::popcount(prefixes)));
    }
    static constexpr size_t bytes_for(unsigned child_count, unsigned prefix_count) {
        return kHeaderBytes + child_count * sizeof(std::atomic<TrieNode*>) +
               prefix_count * sizeof(std::atomic<uint32_t>);
    }

    static constexpr size_t kHeaderBytes = sizeof(Address) == 4 ? 24 : 40;
};
static_assert(offsetof(TrieNode<Ip4>, depth) < TrieNode<Ip4>::kHeaderBytes);
static_assert(offsetof(TrieNode<Ip6>, depth) < TrieNode<Ip6>::kHeaderBytes);
static_assert(TrieNode<Ip4>::kHeaderBytes <= sizeof(TrieNode<Ip4>));
static_assert(TrieNode<Ip6>::kHeaderBytes <= sizeof(TrieNode<Ip6>));

template <typename Address>
using TrieRoot = std::atomic<TrieNode<Address>*>;

// For each 5-bit half slot, the prefix bits that lie on the way to it. (The last bit of a slot
// decides the child only.)
inline constexpr std::array<uint64_t, 32> kTrieAncestors = [] {
    std::array<uint64_t, 32> table{};
    for (unsigned half_slot = 0; half_slot < table.size(); ++half_slot) {
        for (unsigned n = 0; n < kTrieStride; ++n) {
            table[half_slot] |= uint64_t{1} << ((1U << n) + (half_slot >> (5 - n)));
        }
    }
    return table;
}();

// ---- All ---------------------------------------------------------------------------------------

// Placed by control in memory that all workers read; neither copied nor moved.
struct FibTables {
    HostTable host_ipv4;
    HostTable host_ipv6;
    TrieRoot<Ip4>* roots_ipv4 = nullptr;  // kMaxVrfs each; nullptr: no prefix in this VRF
    TrieRoot<Ip6>* roots_ipv6 = nullptr;

    template <typename Address>
    const HostTable& host() const {
        if constexpr (std::is_same_v<Address, Ip4>) {
            return host_ipv4;
        } else {
            return host_ipv6;
        }
    }
    template <typename Address>
    TrieRoot<Address>* roots() const {
        if constexpr (std::is_same_v<Address, Ip4>) {
            return roots_ipv4;
        } else {
            return roots_ipv6;
        }
    }
};

}  // namespace slash32
