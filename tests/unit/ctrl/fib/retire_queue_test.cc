// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/retire_queue.h"

#include "tests/unit/ctrl/fib/reclaimers.h"

#include <gtest/gtest.h>

#include <vector>

namespace slash32::test {
namespace {

std::vector<int> g_released;

void release(void* owner, void* object) {
    EXPECT_EQ(owner, &g_released);
    g_released.push_back(*static_cast<int*>(object));
}

class RetireQueueTest : public testing::Test {
  protected:
    void SetUp() override { g_released.clear(); }
    void retire(RetireQueue& queue, int& object) { queue.retire(release, &g_released, &object); }

    ManualReclaimer reclaimer_;
    int objects_[3] = {1, 2, 3};
};

TEST_F(RetireQueueTest, ReleasesNothingBeforeTheGracePeriod) {
    RetireQueue queue(reclaimer_);
    retire(queue, objects_[0]);
    EXPECT_TRUE(g_released.empty());
    EXPECT_EQ(queue.pending(), 1U);
    reclaimer_.drain();
    EXPECT_EQ(g_released, std::vector{1});
    EXPECT_EQ(queue.pending(), 0U);
}

// What is retired while a batch waits may still be seen by a reader that came after the batch.
TEST_F(RetireQueueTest, LaterObjectsWaitForAGracePeriodOfTheirOwn) {
    RetireQueue queue(reclaimer_);
    for (int& object : objects_)
        retire(queue, object);
    EXPECT_EQ(reclaimer_.deferred(), 1U);
    reclaimer_.drain();
    EXPECT_EQ(g_released, std::vector{1});
    EXPECT_EQ(reclaimer_.deferred(), 1U);
    reclaimer_.drain();
    EXPECT_EQ(g_released, (std::vector{1, 2, 3}));
    EXPECT_EQ(reclaimer_.deferred(), 0U);
}

TEST_F(RetireQueueTest, DrainReleasesAll) {
    RetireQueue queue(reclaimer_);
    for (int& object : objects_)
        retire(queue, object);
    queue.drain();
    EXPECT_EQ(g_released.size(), 3U);
    EXPECT_EQ(queue.pending(), 0U);
}

TEST_F(RetireQueueTest, MayGoBeforeItsGracePeriodIsOver) {
    {
        RetireQueue queue(reclaimer_);
        for (int& object : objects_)
            retire(queue, object);
    }
    reclaimer_.run_all();
    EXPECT_TRUE(g_released.empty());
}

}  // namespace
}  // namespace slash32::test
