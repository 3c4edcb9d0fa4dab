// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace slash32::pktgen {
namespace {

TEST(Histogram, OfNothingIsZero) {
    const Histogram histogram;
    EXPECT_EQ(histogram.count(), 0U);
    EXPECT_EQ(histogram.min(), 0U);
    EXPECT_EQ(histogram.max(), 0U);
    EXPECT_EQ(histogram.mean(), 0);
    EXPECT_EQ(histogram.percentile(50), 0U);
}

TEST(Histogram, SmallValuesAreExact) {
    Histogram histogram;
    for (uint64_t value = 1; value <= 1000; ++value)
        histogram.add(value);
    EXPECT_EQ(histogram.percentile(50), 500U);
    EXPECT_EQ(histogram.percentile(99.5), 995U);
    EXPECT_EQ(histogram.percentile(100), 1000U);
    EXPECT_EQ(histogram.percentile(0.01), 1U);
    EXPECT_EQ(histogram.mean(), 500.5);
}

// The oracle is a sorted list.
TEST(Histogram, IsAtMostAThousandthOff) {
    std::mt19937_64 random(5);
    for (const unsigned bits : {8U, 12U, 20U, 30U, 40U}) {
        Histogram histogram;
        std::vector<uint64_t> values;
        for (int i = 0; i < 20000; ++i) {
            const uint64_t value = (random() & ((uint64_t{1} << bits) - 1)) >> (random() % bits);
            values.push_back(value);
            histogram.add(value);
        }
        std::ranges::sort(values);
        for (const double percent : {0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
            const auto rank = static_cast<size_t>(std::ceil(percent / 100 * 20000.0));
            const auto right = static_cast<double>(values[std::max<size_t>(rank, 1) - 1]);
            const auto read = static_cast<double>(histogram.percentile(percent));
            EXPECT_GE(read, right) << bits << " bits, " << percent << " %";
            EXPECT_LE(read, right * 1.001 + 0.001) << bits << " bits, " << percent << " %";
        }
        EXPECT_EQ(histogram.min(), values.front());
        EXPECT_EQ(histogram.max(), values.back());
    }
}

TEST(Histogram, ValuesBeyondTheLastBucketCountAsTheLargest) {
    Histogram histogram;
    histogram.add(UINT64_MAX);
    EXPECT_EQ(histogram.max(), Histogram::kMax);
    EXPECT_EQ(histogram.percentile(100), Histogram::kMax);
}

TEST(Histogram, AddsAnotherAndIsCleared) {
    Histogram a;
    Histogram b;
    a.add(10);
    b.add(30);
    b.add(5000);
    a.add(b);
    EXPECT_EQ(a.count(), 3U);
    EXPECT_EQ(a.min(), 10U);
    EXPECT_EQ(a.max(), 5000U);
    EXPECT_EQ(a.percentile(60), 30U);
    a.clear();
    EXPECT_EQ(a.count(), 0U);
    EXPECT_EQ(a.min(), 0U);
}

}  // namespace
}  // namespace slash32::pktgen
