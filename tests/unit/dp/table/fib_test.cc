// SPDX-License-Identifier: Apache-2.0
#include "dp/table/fib.h"

#include "ctrl/fib/fib.h"
#include "tests/unit/ctrl/fib/naive_fib.h"
#include "tests/unit/ctrl/fib/reclaimers.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <type_traits>

namespace slash32::test {
namespace {

static_assert(std::is_trivially_copyable_v<FibView>);

template <typename Address>
class FibViewTest : public testing::Test {
  protected:
    static constexpr Family kFamily = std::is_same_v<Address, Ip4> ? Family::kIpv4 : Family::kIpv6;
    static Address of(const IpAddress& address) {
        if constexpr (std::is_same_v<Address, Ip4>) {
            return address.ipv4();
        } else {
            return address.ipv6();
        }
    }

    // 500 prefixes and 2,000 host routes in three VRFs, close to each other.
    void SetUp() override {
        auto made = Fib::create(
            {.hosts_ipv4 = 4096, .hosts_ipv6 = 4096, .prefixes_ipv4 = 4096, .prefixes_ipv6 = 4096},
            mapped_memory(), reclaimer_);
        ASSERT_TRUE(made);
        fib_ = std::move(*made);
        for (uint32_t n = 0; n < 2500; ++n) {
            const IpPrefix route =
                n % 5 == 0 ? close_.prefix() : IpPrefix{close_.address(), bits()};
            ASSERT_TRUE(fib_->add(vrf(), route, NextHopId{n + 1}));
        }
    }
    static uint8_t bits() { return IpAddress(Address{}).bits(); }
    VrfId vrf() { return VrfId{static_cast<uint16_t>(close_.below(3))}; }

    CloseAddresses close_{kFamily, 31};
    ManualReclaimer reclaimer_;
    std::unique_ptr<Fib> fib_;
};

using Families = testing::Types<Ip4, Ip6>;
TYPED_TEST_SUITE(FibViewTest, Families);

TYPED_TEST(FibViewTest, BulkIsSingleAndLeavesOtherLanesAlone) {
    constexpr NextHopId kUntouched{0xffffffff};
    const FibView view = this->fib_->view();
    std::array<VrfId, kBurstSize> vrfs;
    std::array<TypeParam, kBurstSize> addresses;
    std::array<NextHopId, kBurstSize> found;
    unsigned hosts = 0;
    unsigned prefixes = 0;
    unsigned none = 0;
    for (uint32_t round = 0; round < 2000; ++round) {
        // All, none, one lane, and any.
        uint32_t mask = this->close_.below(UINT32_MAX);
        if (round < 34) mask = round < 32 ? uint32_t{1} << round : 0U - (round & 1U);
        for (unsigned i = 0; i < kBurstSize; ++i) {
            vrfs[i] = VrfId{static_cast<uint16_t>(this->close_.below(4))};  // 3 is empty
            addresses[i] = this->of(this->close_.address());
        }
        found.fill(kUntouched);
        view.lookup_bulk(mask, vrfs.data(), addresses.data(), found.data());
        for (unsigned i = 0; i < kBurstSize; ++i) {
            if ((mask >> i & 1) == 0) {
                ASSERT_EQ(found[i], kUntouched);
                continue;
            }
            ASSERT_EQ(found[i], view.lookup(vrfs[i], addresses[i]));
            if (view.lookup_host(vrfs[i], addresses[i]) != kNoNextHop) {
                ASSERT_EQ(found[i], view.lookup_host(vrfs[i], addresses[i]));
                ++hosts;
            } else {
                ASSERT_EQ(found[i], view.lookup_prefix(vrfs[i], addresses[i]));
                ++(found[i] == kNoNextHop ? none : prefixes);
            }
        }
    }
    EXPECT_GT(hosts, 1000U);
    EXPECT_GT(prefixes, 1000U);
    EXPECT_GT(none, 100U);
}

TYPED_TEST(FibViewTest, AVrfOutOfRangeReadsNoForeignMemory) {
    const FibView view = this->fib_->view();
    std::array<VrfId, kBurstSize> vrfs;
    std::array<TypeParam, kBurstSize> addresses;
    std::array<NextHopId, kBurstSize> found;
    vrfs.fill(VrfId{UINT16_MAX});
    for (TypeParam& address : addresses)
        address = this->of(this->close_.address());
    view.lookup_bulk(UINT32_MAX, vrfs.data(), addresses.data(), found.data());
    for (const NextHopId id : found)
        EXPECT_EQ(id, kNoNextHop);
}

#if !defined(S32_FIB_SCALAR)
TEST(FibMatch, VectorAndScalarAgree) {
    std::mt19937_64 random(7);
    HostBucket bucket{};
    unsigned matches = 0;
    for (const uint64_t mask :
         {HostWord<Ip4>::kCompareMask, HostWord<Ip6>::kCompareMask, ~uint64_t{0}}) {
        for (int round = 0; round < 20000; ++round) {
            // Words that differ from the pattern in one bit, in none, or are empty.
            const uint64_t pattern = round % 7 == 0 ? 0 : random() & mask;
            for (auto& word : bucket.words) {
                const uint64_t kind = random() % 4;
                const uint64_t flipped = pattern ^ (uint64_t{1} << (random() % 64));
                word.store(kind == 0 ? 0 : kind == 1 ? pattern | (random() & ~mask) : flipped);
            }
            const unsigned scalar = match_words_scalar(bucket, mask, pattern);
            ASSERT_EQ(match_words_vector(bucket, mask, pattern), scalar);
            matches += static_cast<unsigned>(std::popcount(scalar));
        }
    }
    EXPECT_GT(matches, 1000U);
}
#endif

TEST(FibMatch, FindsEachWordOfABucket) {
    HostBucket bucket{};
    for (unsigned i = 0; i < kHostBucketWords; ++i) {
        bucket.words[i].store(HostWord<Ip4>::make(VrfId{4095}, Ip4{Be32{i}}, NextHopId{i + 1}));
    }
    const HostTable table;
    for (unsigned i = 0; i < kHostBucketWords; ++i) {
        EXPECT_EQ(match_bucket(table, bucket, 0, VrfId{4095}, Ip4{Be32{i}}), NextHopId{i + 1});
        EXPECT_EQ(match_bucket(table, bucket, 0, VrfId{4094}, Ip4{Be32{i}}), kNoNextHop);
    }
}

// The worst moment for a move: the search has seen the word's new bucket before the copy, and sees
// the old one after it was overwritten.
TEST(FindHost, AWordThatMovesBehindTheSearchIsFound) {
    using Word = HostWord<Ip4>;
    std::array<HostBucket, 2> buckets{};
    HostTable table;
    table.buckets = buckets.data();
    table.bucket_mask = 1;
    table.seed = {.a = 1, .b = 3, .c = 5};
    const VrfId vrf{7};
    const Ip4 address{Be32{0x0a000001}};
    const uint64_t hash = Word::hash(table.seed, vrf, address);
    auto& now = buckets[second_bucket(table, hash)].words[3];
    auto& then = buckets[first_bucket(table, hash)].words[5];
    now.store(Word::make(vrf, address, NextHopId{9}));
    unsigned looks = 0;
    const auto move = [&] {
        if (++looks > 1) return;
        then.store(now.load());
        table.moves.fetch_add(1);
        now.store(Word::make(vrf, Ip4{Be32{1}}, NextHopId{1}));
    };
    EXPECT_EQ(find_host(table, hash, vrf, address, move), NextHopId{9});
    EXPECT_EQ(looks, 1U);
    // What is absent is searched for again only if something moved.
    looks = 0;
    then.store(0);
    now.store(0);
    EXPECT_EQ(find_host(table, hash, vrf, address, [&] { ++looks; }), kNoNextHop);
    EXPECT_EQ(looks, 1U);
}

TEST(HostWord, KeepsItsThreeParts) {
    using Word = HostWord<Ip4>;
    const Ip4 address{Be32{0xc0a80101}};
    const uint64_t word = Word::make(VrfId{4095}, address, NextHopId{kMaxNextHops - 1});
    EXPECT_EQ(word, 0xfffc0a80101fffffULL);
    EXPECT_EQ(Word::vrf(word), VrfId{4095});
    EXPECT_EQ(Word::address(word), address);
    EXPECT_EQ(Word::next_hop(word), NextHopId{kMaxNextHops - 1});
}

}  // namespace
}  // namespace slash32::test
