// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/node_pool.h"

#include "ctrl/fib/poison.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

namespace slash32::test {
namespace {

TEST(NodePool, BlocksAreAlignedAndDisjoint) {
    NodePool pool(mapped_memory(), 32, 800);
    std::set<uintptr_t> starts;
    for (size_t i = 0; i < 20000; ++i) {
        const size_t bytes = 1 + i * 7919 % 800;
        void* block = pool.allocate(bytes);
        ASSERT_NE(block, nullptr);
        std::memset(block, 0xff, bytes);
        const auto start = reinterpret_cast<uintptr_t>(block);
        ASSERT_EQ(start % 32, 0U);
        const auto next = starts.lower_bound(start);
        if (next != starts.end()) {
            ASSERT_GE(*next, start + bytes);
        }
        starts.insert(start);
    }
    EXPECT_LE(pool.bytes_used(), pool.bytes_reserved());
}

TEST(NodePool, ReusesReleasedBlocks) {
    NodePool pool(mapped_memory(), 64, 800);
    for (int i = 0; i < 100000; ++i)
        pool.release(pool.allocate(100), 100);
    EXPECT_EQ(pool.bytes_used(), 0U);
    EXPECT_LE(pool.bytes_reserved(), size_t{64} << 10);
}

TEST(NodePool, SaysWhenThereIsNoMemory) {
    const TableMemory none{.allocate = [](size_t, size_t) -> void* { return nullptr; },
                           .release = [](void*, size_t) {}};
    NodePool pool(none, 32, 800);
    EXPECT_EQ(pool.allocate(32), nullptr);
    EXPECT_EQ(pool.bytes_used(), 0U);
}

#if defined(S32_POISON)
TEST(NodePool, AReleasedBlockIsPoisonedUntilItIsUsedAgain) {
    NodePool pool(mapped_memory(), 32, 800);
    void* block = pool.allocate(64);
    EXPECT_FALSE(__asan_address_is_poisoned(block));
    pool.release(block, 64);
    EXPECT_TRUE(__asan_address_is_poisoned(block));
    EXPECT_EQ(pool.allocate(64), block);
    EXPECT_FALSE(__asan_address_is_poisoned(block));
}
#endif

}  // namespace
}  // namespace slash32::test
