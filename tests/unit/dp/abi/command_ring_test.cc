// SPDX-License-Identifier: Apache-2.0
#include "dp/abi/command_ring.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace slash32 {
namespace {

Command numbered(uint32_t n) {
    return Command::set_adjacency(NextHopId{n}, Adjacency{});
}

TEST(CommandRing, DeliversInOrderWithGrowingSequences) {
    auto ring = std::make_unique<CommandRing>();
    EXPECT_EQ(ring->push(numbered(7)), 1u);
    EXPECT_EQ(ring->push(numbered(8)), 2u);
    Command out;
    ASSERT_TRUE(ring->pop(out));
    EXPECT_EQ(out.sequence, 1u);
    EXPECT_EQ(out.version, kCommandVersion);
    EXPECT_EQ(out.payload.adjacency.id, NextHopId{7});
    ASSERT_TRUE(ring->pop(out));
    EXPECT_EQ(out.payload.adjacency.id, NextHopId{8});
    EXPECT_FALSE(ring->pop(out));
}

TEST(CommandRing, FullRingRefusesAndLosesNothing) {
    auto ring = std::make_unique<CommandRing>();
    for (uint32_t n = 0; n < CommandRing::kCapacity; ++n)
        ASSERT_NE(ring->push(numbered(n)), 0u);
    EXPECT_EQ(ring->push(numbered(9999)), 0u);
    EXPECT_EQ(ring->depth(), CommandRing::kCapacity);
    Command out;
    for (uint32_t n = 0; n < CommandRing::kCapacity; ++n) {
        ASSERT_TRUE(ring->pop(out));
        ASSERT_EQ(out.payload.adjacency.id.value(), n);
    }
    EXPECT_TRUE(ring->empty());
    EXPECT_EQ(ring->push(numbered(1)), CommandRing::kCapacity + 1);
}

TEST(CommandRing, AcknowledgementFollowsExecutionAndNotReceipt) {
    auto ring = std::make_unique<CommandRing>();
    ring->push(numbered(1));
    Command out;
    ring->pop(out);
    EXPECT_EQ(ring->acknowledged(), 0u);
    ring->acknowledge(out.sequence);
    EXPECT_EQ(ring->acknowledged(), 1u);
}

TEST(CommandRing, WorkerDoesNotSleepOverACommand) {
    auto ring = std::make_unique<CommandRing>();
    ring->push(numbered(1));
    EXPECT_FALSE(ring->announce_sleep());
    EXPECT_FALSE(ring->asleep());
    Command out;
    ring->pop(out);
    EXPECT_TRUE(ring->announce_sleep());
    ring->push(numbered(2));
    EXPECT_TRUE(ring->needs_doorbell());
    ring->announce_awake();
    EXPECT_FALSE(ring->needs_doorbell());
}

// Every wrap of the indices, both ends at full speed; run under TSan too.
TEST(CommandRing, ConcurrentEndsSeeEveryCommandOnce) {
    auto ring = std::make_unique<CommandRing>();
    constexpr uint32_t kCommands = 20 * CommandRing::kCapacity;
    std::thread worker([&] {
        Command out;
        for (uint32_t expected = 0; expected < kCommands;) {
            if (!ring->pop(out)) {
                std::this_thread::yield();
                continue;
            }
            ASSERT_EQ(out.payload.adjacency.id.value(), expected);
            ASSERT_EQ(out.sequence, expected + 1);
            ring->acknowledge(out.sequence);
            ++expected;
        }
    });
    for (uint32_t n = 0; n < kCommands;) {
        if (ring->push(numbered(n)) != 0)
            ++n;
        else
            std::this_thread::yield();
    }
    worker.join();
    EXPECT_EQ(ring->acknowledged(), kCommands);
}

// The sleep protocol: a sleeper that waits only for the doorbell is always woken.
TEST(CommandRing, NoWakeUpIsLost) {
    auto ring = std::make_unique<CommandRing>();
    std::atomic<uint64_t> doorbells{0};
    constexpr uint32_t kCommands = 20000;
    std::thread worker([&] {
        Command out;
        uint64_t heard = 0;
        for (uint32_t received = 0; received < kCommands;) {
            while (ring->pop(out))
                ++received;
            if (received == kCommands || !ring->announce_sleep()) continue;
            while (doorbells.load(std::memory_order_acquire) == heard)
                std::this_thread::yield();
            heard = doorbells.load(std::memory_order_acquire);
            ring->announce_awake();
        }
    });
    for (uint32_t n = 0; n < kCommands;) {
        if (ring->push(numbered(n)) == 0) {
            std::this_thread::yield();
            continue;
        }
        ++n;
        if (ring->needs_doorbell()) doorbells.fetch_add(1, std::memory_order_release);
    }
    worker.join();
}

}  // namespace
}  // namespace slash32
