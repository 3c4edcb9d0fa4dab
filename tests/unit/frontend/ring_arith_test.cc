// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/ring_arith.h"

#include <gtest/gtest.h>

#include <vector>

namespace slash32::frontend {
namespace {

TEST(RingArith, WrapsAt65536) {
    EXPECT_EQ(index_add(65535, 1), 0);
    EXPECT_EQ(index_distance(65530, 4), 10);
    EXPECT_EQ(index_distance(7, 7), 0);
    EXPECT_EQ(ring_slot(65535, 256), 255);
    EXPECT_EQ(ring_slot(0, 256), 0);
    EXPECT_EQ(ring_slot(300, 1), 0);
}

TEST(RingArith, AcceptsOnlyPowersOfTwoUpTo32768) {
    for (const uint32_t size : {1u, 2u, 64u, 256u, 32768u})
        EXPECT_TRUE(valid_ring_size(size));
    for (const uint32_t size : {0u, 3u, 63u, 65535u, 65536u})
        EXPECT_FALSE(valid_ring_size(size));
}

// The oracle walks from `before` to `after` and asks whether the entry at `event` was added.
bool passed_by_walking(uint16_t event, uint16_t before, uint16_t after) {
    for (uint16_t i = before; i != after; i = index_add(i, 1)) {
        if (i == event) return true;
    }
    return false;
}

TEST(RingArith, NotifiesExactlyWhenTheEventEntryWasAdded) {
    const std::vector<uint16_t> corners{0, 1, 2, 255, 256, 32767, 32768, 65533, 65534, 65535};
    for (const uint16_t before : corners) {
        for (const uint16_t n : std::vector<uint16_t>{0, 1, 2, 3, 64, 256}) {
            const uint16_t after = index_add(before, n);
            for (int event = -4; event <= 260; event++) {
                const uint16_t e = static_cast<uint16_t>(before + event);
                EXPECT_EQ(passed_event(e, before, after), passed_by_walking(e, before, after))
                    << e << ' ' << before << ' ' << after;
            }
        }
    }
}

TEST(RingArith, DoubtsAUsedIndexBeyondWhatWasAvailable) {
    EXPECT_TRUE(plausible_used(10, 10, 20));
    EXPECT_TRUE(plausible_used(10, 20, 20));
    EXPECT_FALSE(plausible_used(10, 21, 20));
    EXPECT_FALSE(plausible_used(10, 9, 20));
    EXPECT_TRUE(plausible_used(65530, 3, 5));
    EXPECT_FALSE(plausible_used(65530, 6, 5));
}

}  // namespace
}  // namespace slash32::frontend
