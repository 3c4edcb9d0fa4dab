// SPDX-License-Identifier: Apache-2.0
// The queues against a device written the naive way, over every mode that can be negotiated.
#include "tests/frontend/queues.h"

#include "tests/frontend/ring_arith.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <vector>

namespace slash32::frontend {
namespace {

using Bytes = std::vector<uint8_t>;

// A device that reads descriptors as the specification says, from the ring's own memory.
class NaiveDevice {
  public:
    NaiveDevice(GuestMemory& memory, SplitRing& ring, uint16_t base = 0)
        : memory_(memory), ring_(ring), next_(base) {}

    uint16_t waiting() const { return index_distance(next_, ring_.available_index()); }

    // Takes one chain: where its pieces are.
    struct Chain {
        uint16_t head;
        std::vector<std::span<uint8_t>> pieces;
    };
    Chain take() {
        const auto* slots =
            reinterpret_cast<const uint16_t*>(at_user(ring_.available_user_address())) + 2;
        Chain chain{slots[ring_slot(next_, ring_.size())], {}};
        next_ = index_add(next_, 1);
        const Descriptor* table = &ring_.descriptor(0);
        uint16_t i = chain.head;
        if ((table[i].flags & kDescIndirect) != 0) {
            table = reinterpret_cast<const Descriptor*>(at_guest(table[i].address));
            i = 0;
        }
        for (;;) {
            chain.pieces.emplace_back(at_guest(table[i].address), table[i].bytes);
            if ((table[i].flags & kDescNext) == 0) break;
            i = table[i].next;
        }
        return chain;
    }
    void give_back(uint16_t head, uint32_t bytes) {
        auto* elements = reinterpret_cast<UsedElement*>(at_user(ring_.used_user_address()) + 4);
        elements[ring_slot(ring_.used_index(), ring_.size())] = {head, bytes};
        ring_.set_used_index(index_add(ring_.used_index(), 1));
    }
    // One frame from a transmit ring, header first.
    Bytes read() {
        const Chain chain = take();
        Bytes all;
        for (const auto piece : chain.pieces)
            all.insert(all.end(), piece.begin(), piece.end());
        give_back(chain.head, 0);
        return all;
    }
    // One frame into a receive ring, merged over as many chains as it needs.
    void write(Bytes all, size_t header_bytes, bool mergeable) {
        size_t done = 0;
        uint16_t buffers = 0;
        std::span<uint8_t> first;
        std::vector<std::pair<uint16_t, uint32_t>> used;
        while (done < all.size()) {
            const Chain chain = take();
            buffers++;
            uint32_t here = 0;
            if (buffers == 1) first = chain.pieces[0];
            for (const auto piece : chain.pieces) {
                const size_t n = std::min(piece.size(), all.size() - done);
                std::memcpy(piece.data(), all.data() + done, n);
                done += n;
                here += static_cast<uint32_t>(n);
            }
            used.emplace_back(chain.head, here);
        }
        if (mergeable) std::memcpy(first.data() + header_bytes - 2, &buffers, 2);
        for (const auto& [head, bytes] : used)
            give_back(head, bytes);
    }

  private:
    uint8_t* at_guest(uint64_t address) { return memory_.at(address - kGuestBase); }
    uint8_t* at_user(uint64_t address) { return memory_.at(address - memory_.user_address(0)); }

    GuestMemory& memory_;
    SplitRing& ring_;
    uint16_t next_;
};

Bytes pattern(size_t n, unsigned seed) {
    Bytes bytes(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = static_cast<uint8_t>(i * 31 + seed + (i >> 8));
    return bytes;
}

class Queues : public testing::TestWithParam<int> {
  protected:
    void SetUp() override {
        auto memory = GuestMemory::create(TxQueue::bytes(tx_) + RxQueue::bytes(rx_));
        ASSERT_TRUE(memory.has_value());
        memory_ = std::move(*memory);
        mode_.indirect = (GetParam() & 1) != 0;
        mode_.mergeable = (GetParam() & 2) != 0;
        mode_.event_index = (GetParam() & 4) != 0;
        mode_.separate_header = (GetParam() & 8) != 0;
        mode_.max_rx_frame_bytes = 9018;
        if (!mode_.mergeable && (GetParam() & 16) != 0) mode_.header_bytes = kLegacyHeaderBytes;
    }

    TxQueue::Geometry tx_{.ring_size = 32, .segments = 32, .segment_bytes = 1024};
    RxQueue::Geometry rx_{.ring_size = 32, .buffer_bytes = 1024};
    GuestMemory memory_;
    QueueMode mode_;
};

TEST_P(Queues, CarryFramesOfEverySizeInOrder) {
    TxQueue tx(memory_, tx_);
    RxQueue rx(memory_, rx_);
    tx.reset(mode_);
    ASSERT_TRUE(rx.reset(mode_));
    NaiveDevice out(memory_, tx.ring());
    NaiveDevice in(memory_, rx.ring());
    unsigned seed = 0;
    for (int lap = 0; lap < 40; lap++) {  // 40 * 9 frames: the rings wrap many times
        for (const size_t n : {1, 60, 1011, 1012, 1013, 1024, 2036, 5000, 9018}) {
            const Bytes frame = pattern(n, ++seed);
            NetHeader header{};
            header.csum_start = static_cast<uint16_t>(seed);
            const TxFrame one{frame, header};
            bool kick = false;
            ASSERT_EQ(tx.send({&one, 1}, kick), 1u);
            ASSERT_EQ(out.waiting(), 1);
            const Bytes sent = out.read();
            ASSERT_EQ(sent.size(), n + mode_.header_bytes);
            in.write(sent, mode_.header_bytes, mode_.mergeable);
            size_t got = 0;
            rx.receive(
                8,
                [&](const RxFrame& r) {
                    got++;
                    EXPECT_EQ(r.header.csum_start, static_cast<uint16_t>(seed));
                    EXPECT_EQ(Bytes(r.data.begin(), r.data.end()), frame);
                },
                kick);
            ASSERT_EQ(got, 1u);
        }
    }
    EXPECT_EQ(rx.malformed() + rx.ring().implausible() + tx.ring().implausible(), 0u);
}

TEST_P(Queues, RefuseWhenFullAndRecoverWhatReturns) {
    TxQueue tx(memory_, tx_);
    tx.reset(mode_);
    NaiveDevice device(memory_, tx.ring());
    const Bytes frame = pattern(700, 1);
    const std::vector<TxFrame> many(100, TxFrame{frame, {}});
    bool kick = false;
    const size_t room = tx.send(many, kick);
    EXPECT_GT(room, 0u);
    EXPECT_LE(room, 32u);
    EXPECT_EQ(tx.send(many, kick), 0u);
    for (size_t i = 0; i < room; i++)
        device.read();
    EXPECT_EQ(tx.send(many, kick), room);
}

INSTANTIATE_TEST_SUITE_P(Modes, Queues, testing::Range(0, 32));

TEST(QueuesFixed, CountElementsThatWereNotInFlight) {
    const TxQueue::Geometry geometry{.ring_size = 8, .segments = 8, .segment_bytes = 256};
    auto memory = GuestMemory::create(TxQueue::bytes(geometry));
    ASSERT_TRUE(memory.has_value());
    TxQueue tx(*memory, geometry);
    NaiveDevice device(*memory, tx.ring());
    const Bytes frame = pattern(60, 1);
    const TxFrame one{frame, {}};
    bool kick = false;
    ASSERT_EQ(tx.send({&one, 1}, kick), 1u);
    device.give_back(5, 0);  // another head than the one that is out
    tx.reclaim();
    EXPECT_EQ(tx.ring().implausible(), 1u);
}

TEST(QueuesFixed, IgnoreAUsedIndexThatCannotBe) {
    const TxQueue::Geometry geometry{.ring_size = 8, .segments = 8, .segment_bytes = 256};
    auto memory = GuestMemory::create(TxQueue::bytes(geometry));
    ASSERT_TRUE(memory.has_value());
    TxQueue tx(*memory, geometry);
    tx.ring().set_used_index(500);
    EXPECT_EQ(tx.ring().used_count(), 0);
}

TEST(QueuesFixed, RefuseRingsTooShortForTheLargestFrame) {
    const RxQueue::Geometry geometry{.ring_size = 8, .buffer_bytes = 1024};
    auto memory = GuestMemory::create(RxQueue::bytes(geometry));
    ASSERT_TRUE(memory.has_value());
    RxQueue rx(*memory, geometry);
    QueueMode mode;
    mode.max_rx_frame_bytes = kMaxFrameBytes;
    EXPECT_FALSE(rx.reset(mode));
    mode.mergeable = true;
    EXPECT_TRUE(rx.reset(mode));
}

}  // namespace
}  // namespace slash32::frontend
