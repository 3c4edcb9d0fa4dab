// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/token_bucket.h"

#include <gtest/gtest.h>

namespace slash32 {
namespace {

constexpr uint64_t kHz = 1000;

unsigned taken(TokenBucket& bucket, uint64_t now) {
    unsigned n = 0;
    while (bucket.take(now))
        ++n;
    return n;
}

TEST(TokenBucket, GivesABurstAndThenItsRate) {
    TokenBucket bucket(10, 3, kHz);
    EXPECT_EQ(taken(bucket, 0), 3u);
    EXPECT_EQ(taken(bucket, 99), 0u);
    EXPECT_EQ(taken(bucket, 100), 1u);
    EXPECT_EQ(taken(bucket, 300), 2u);
}

TEST(TokenBucket, SavesNoMoreThanABurst) {
    TokenBucket bucket(10, 3, kHz);
    EXPECT_EQ(taken(bucket, 1'000'000), 3u);
    EXPECT_EQ(taken(bucket, UINT64_MAX), 3u);
}

TEST(TokenBucket, GivesNothingForAStepBack) {
    TokenBucket bucket(10, 1, kHz);
    EXPECT_EQ(taken(bucket, 1000), 1u);
    EXPECT_EQ(taken(bucket, 10), 0u);
    EXPECT_EQ(taken(bucket, 1050), 0u);
    EXPECT_EQ(taken(bucket, 1100), 1u);
}

TEST(TokenBucket, GivesNothingUnlessMade) {
    TokenBucket bucket;
    EXPECT_EQ(taken(bucket, 1'000'000), 0u);
}

TEST(TokenBucket, GivesNothingWithoutABurst) {
    TokenBucket bucket(1, 0, kHz);
    EXPECT_EQ(taken(bucket, 1'000'000), 0u);
}

}  // namespace
}  // namespace slash32
