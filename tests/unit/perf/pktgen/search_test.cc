// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

namespace slash32::pktgen {
namespace {

// A router that takes `capacity` packets a second, behind a generator that sends `ceiling` at most.
Trial through(double wanted, double capacity, double ceiling) {
    const double offered = std::min(wanted, ceiling);
    return {wanted, offered, std::max(0.0, 1 - capacity / offered)};
}

void run(RateSearch& search, const std::function<Trial(double)>& trial) {
    while (const auto rate = search.next())
        search.add(trial(*rate));
}

TEST(RateSearch, FindsTheCapacityOfARouter) {
    for (const double capacity : {1e3, 123'456.0, 6.9e6, 9.9e6}) {
        RateSearch search({.loss = 0, .width = 0.01, .trials = 5}, 10e6);
        run(search, [&](double rate) { return through(rate, capacity, 20e6); });
        EXPECT_LE(search.holds(), capacity);
        ASSERT_TRUE(search.fails().has_value());
        EXPECT_GT(*search.fails(), capacity);
        EXPECT_LE(*search.fails() - search.holds(), 0.01 * *search.fails() + 1);
        EXPECT_FALSE(search.bounded());
        EXPECT_LT(search.trials(), 150U);
    }
}

TEST(RateSearch, AllowsTheLossOfItsGoal) {
    RateSearch search({.loss = 0.005, .width = 0.001, .trials = 3}, 10e6);
    run(search, [&](double rate) { return through(rate, 5e6, 20e6); });
    EXPECT_GT(search.holds(), 5e6);
    EXPECT_LT(search.holds(), 5.03e6);
}

TEST(RateSearch, MostOfItsTrialsDecide) {
    // One trial in five is disturbed, and loses some.
    std::mt19937 random(3);
    RateSearch search({.loss = 0, .width = 0.01, .trials = 5}, 10e6);
    run(search, [&](double rate) {
        Trial trial = through(rate, 5e6, 20e6);
        if (random() % 5 == 0) trial.loss = std::max(trial.loss, 1e-4);
        return trial;
    });
    EXPECT_GT(search.holds(), 4.8e6);
    EXPECT_LE(search.holds(), 5e6);
}

TEST(RateSearch, SaysWhenTheGeneratorWasTheLimit) {
    RateSearch search({.loss = 0, .width = 0.01, .trials = 3}, 10e6);
    run(search, [&](double rate) { return through(rate, 50e6, 8e6); });
    EXPECT_TRUE(search.bounded());
    EXPECT_EQ(search.holds(), 8e6);
    EXPECT_EQ(search.trials(), 2U);
}

TEST(RateSearch, EndsWhereNothingHolds) {
    RateSearch search({.loss = 0, .width = 0.01, .trials = 3}, 1e6);
    run(search, [&](double rate) { return Trial{rate, rate, 0.5}; });
    EXPECT_EQ(search.holds(), 0);
    EXPECT_LT(search.trials(), 100U);
}

}  // namespace
}  // namespace slash32::pktgen
