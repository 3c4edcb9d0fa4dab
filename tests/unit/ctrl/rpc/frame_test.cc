// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/frame.h"

#include <gtest/gtest.h>

#include <cstring>

namespace slash32::rpc {
namespace {

using State = FrameReader::State;

void feed(FrameReader& reader, std::string_view bytes) {
    while (!bytes.empty()) {
        const std::span<char> room = reader.prepare();
        const size_t part = std::min(room.size(), bytes.size());
        std::memcpy(room.data(), bytes.data(), part);
        reader.commit(part);
        bytes.remove_prefix(part);
    }
}

TEST(Frame, LengthIsBigEndian) {
    const std::string frame = make_frame(std::string(0x010203, 'x'));
    EXPECT_EQ(frame.substr(0, 4), std::string("\x00\x01\x02\x03", 4));
}

TEST(Frame, ReaderTakesFramesByteByByte) {
    FrameReader reader(100);
    const std::string bytes = make_frame("one") + make_frame("two");
    std::vector<std::string> frames;
    for (const char byte : bytes) {
        feed(reader, {&byte, 1});
        const auto next = reader.next();
        if (next.state == State::kFrame) frames.emplace_back(next.body);
    }
    EXPECT_EQ(frames, (std::vector<std::string>{"one", "two"}));
    EXPECT_EQ(reader.next().state, State::kNeedMore);
}

TEST(Frame, ReaderTakesManyFramesFromOneRead) {
    FrameReader reader(100);
    std::string bytes;
    for (int i = 0; i < 1000; ++i)
        bytes += make_frame(std::to_string(i));
    feed(reader, bytes);
    for (int i = 0; i < 1000; ++i) {
        const auto next = reader.next();
        ASSERT_EQ(next.state, State::kFrame);
        EXPECT_EQ(next.body, std::to_string(i));
    }
    EXPECT_EQ(reader.next().state, State::kNeedMore);
}

TEST(Frame, FrameAtTheLimitPassesAndOneOverLosesFraming) {
    FrameReader at(10);
    feed(at, make_frame(std::string(10, 'x')));
    EXPECT_EQ(at.next().state, State::kFrame);
    FrameReader over(10);
    feed(over, make_frame(std::string(11, 'x')));
    EXPECT_EQ(over.next().state, State::kLost);
    EXPECT_EQ(over.next().state, State::kLost);
}

TEST(Frame, LengthZeroLosesFraming) {
    FrameReader reader(10);
    feed(reader, std::string_view("\0\0\0\0", 4));
    EXPECT_EQ(reader.next().state, State::kLost);
}

TEST(Frame, PromisedLengthAllocatesNothing) {
    FrameReader reader(size_t{16} << 20);
    feed(reader, std::string_view("\x00\xff\xff\xff", 4));
    EXPECT_EQ(reader.next().state, State::kNeedMore);
    EXPECT_LE(reader.prepare().size(), size_t{128} << 10);
}

TEST(Frame, LargeFramesArriveWhole) {
    FrameReader reader(size_t{16} << 20);
    const std::string big(5'000'000, 'y');
    for (int round = 0; round < 3; ++round) {
        feed(reader, make_frame("small") + make_frame(big));
        EXPECT_EQ(reader.next().body, "small");
        EXPECT_EQ(reader.next().body.size(), big.size());
        EXPECT_EQ(reader.next().state, State::kNeedMore);
    }
}

}  // namespace
}  // namespace slash32::rpc
