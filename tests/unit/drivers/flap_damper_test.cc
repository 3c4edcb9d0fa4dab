// SPDX-License-Identifier: Apache-2.0
#include "drivers/ethdev/flap_damper.h"

#include <gtest/gtest.h>

namespace slash32::testing {
namespace {

using namespace std::chrono_literals;

constexpr FlapDamper::Clock::time_point kStart{1000s};

TEST(FlapDamper, LinkThatIsLostNowAndThenIsNeverHeld) {
    FlapDamper damper;
    for (int i = 0; i < 100; ++i) {
        damper.lost(kStart + i * 6s);
        EXPECT_FALSE(damper.suppressed(kStart + i * 6s)) << i;
    }
}

TEST(FlapDamper, ThirdLossWithinASecondHoldsIt) {
    FlapDamper damper;
    damper.lost(kStart);
    damper.lost(kStart + 400ms);
    EXPECT_FALSE(damper.suppressed(kStart + 400ms));
    damper.lost(kStart + 800ms);
    EXPECT_TRUE(damper.suppressed(kStart + 800ms));
}

TEST(FlapDamper, HeldUntilThePenaltyHasDecayed) {
    FlapDamper damper;
    for (int i = 0; i < 4; ++i)
        damper.lost(kStart);
    // 4,000 to 1,000: two half-lives of 5 s.
    EXPECT_EQ(damper.remaining(kStart), 10s);
    EXPECT_EQ(damper.remaining(kStart + 4s), 6s);
    EXPECT_TRUE(damper.suppressed(kStart + 9999ms));
    EXPECT_FALSE(damper.suppressed(kStart + 10001ms));
}

TEST(FlapDamper, NeverHeldForLongerThanTwentySeconds) {
    FlapDamper damper;
    for (int i = 0; i < 1000; ++i)
        damper.lost(kStart);
    EXPECT_EQ(damper.remaining(kStart), 20s);
    EXPECT_FALSE(damper.suppressed(kStart + 20001ms));
}

}  // namespace
}  // namespace slash32::testing
