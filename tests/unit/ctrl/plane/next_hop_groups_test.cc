// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/next_hop_groups.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace slash32 {
namespace {

std::map<uint32_t, size_t> counts_of(const NextHopGroup& group) {
    std::map<uint32_t, size_t> counts;
    for (const NextHopId hop : group.buckets)
        ++counts[hop.value()];
    return counts;
}

size_t moved(const NextHopGroup& before, const NextHopGroup& after) {
    size_t count = 0;
    for (size_t i = 0; i < kGroupBuckets; ++i)
        count += before.buckets[i] != after.buckets[i];
    return count;
}

std::vector<GroupMember> equal(std::initializer_list<uint32_t> hops) {
    std::vector<GroupMember> members;
    for (const uint32_t hop : hops)
        members.push_back({NextHopId{hop}, 1});
    return members;
}

TEST(ShareBuckets, GivesEachItsShareByWeight) {
    const std::vector<GroupMember> members = {{NextHopId{1}, 3}, {NextHopId{2}, 1}};
    EXPECT_EQ(counts_of(share_buckets({}, members)),
              (std::map<uint32_t, size_t>{{1, 192}, {2, 64}}));
    EXPECT_EQ(counts_of(share_buckets({}, equal({7}))), (std::map<uint32_t, size_t>{{7, 256}}));
    EXPECT_EQ(counts_of(share_buckets({}, {})), (std::map<uint32_t, size_t>{{0, 256}}));
}

TEST(ShareBuckets, LostMemberMovesItsOwnBucketsAlone) {
    const NextHopGroup four = share_buckets({}, equal({1, 2, 3, 4}));
    const NextHopGroup three = share_buckets(four, equal({1, 2, 4}));
    for (size_t i = 0; i < kGroupBuckets; ++i) {
        if (four.buckets[i] != NextHopId{3}) {
            EXPECT_EQ(three.buckets[i], four.buckets[i]);
        }
    }
    // What it had is spread over all others.
    EXPECT_EQ(counts_of(three), (std::map<uint32_t, size_t>{{1, 86}, {2, 85}, {4, 85}}));
}

TEST(ShareBuckets, NewMemberTakesItsShareAndNoMore) {
    const NextHopGroup three = share_buckets({}, equal({1, 2, 3}));
    const NextHopGroup four = share_buckets(three, equal({1, 2, 3, 4}));
    EXPECT_EQ(moved(three, four), 64u);
    EXPECT_EQ(counts_of(four).at(4), 64u);
}

TEST(ShareBuckets, ReplacedMemberIsTheOnlyChange) {
    const NextHopGroup before = share_buckets({}, equal({1, 2}));
    const NextHopGroup after = share_buckets(before, equal({1, 9}));
    EXPECT_EQ(moved(before, after), 128u);
}

// Whatever the members were before: shares within one bucket of their weight, and none moved that
// need not.
TEST(ShareBuckets, KeepsSharesOverRandomChanges) {
    std::mt19937 random(1);
    NextHopGroup group{};
    for (int turn = 0; turn < 2000; ++turn) {
        std::vector<GroupMember> members;
        unsigned total = 0;
        for (uint32_t hop = 1; hop <= 12; ++hop) {
            if (random() % 3 == 0) continue;
            members.push_back({NextHopId{hop}, static_cast<uint16_t>(1 + random() % 8)});
            total += members.back().weight;
        }
        const NextHopGroup next = share_buckets(group, members);
        const auto had = counts_of(group);
        const auto have = counts_of(next);
        size_t must_move = kGroupBuckets;
        for (const GroupMember& member : members) {
            const double share = static_cast<double>(kGroupBuckets) * member.weight / total;
            const size_t count =
                have.contains(member.hop.value()) ? have.at(member.hop.value()) : 0;
            EXPECT_NEAR(static_cast<double>(count), share, 1.0);
            if (had.contains(member.hop.value()))
                must_move -= std::min(count, had.at(member.hop.value()));
        }
        if (!members.empty()) {
            EXPECT_EQ(moved(group, next), must_move);
        }
        group = next;
    }
}

}  // namespace
}  // namespace slash32
