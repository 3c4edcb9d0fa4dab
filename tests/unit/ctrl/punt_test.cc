// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/announcement.h"

#include <gtest/gtest.h>

#include <vector>

namespace slash32 {
namespace {

std::vector<uint8_t> gratuitous_arp() {
    return {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0,    0, 1, 0x08, 0x06,  //
            0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x54, 0, 0, 0,    1,
            10,   0,    0,    100,  //
            0,    0,    0,    0,    0,    0,    10,   0,    0,    100};
}

std::vector<uint8_t> advertisement() {
    std::vector<uint8_t> frame(14 + 40 + 24);
    frame[12] = 0x86;
    frame[13] = 0xdd;
    frame[14] = 0x60;
    frame[20] = 58;
    frame[54] = 136;
    const auto target = parse_ip("2001:db8::100")->bytes;
    std::copy(target.begin(), target.end(), frame.begin() + 62);
    return frame;
}

TEST(Announcement, NamesTheSenderOfArpAndTheTargetOfAnAdvertisement) {
    EXPECT_EQ(announced_address(gratuitous_arp()), parse_ip("10.0.0.100"));
    EXPECT_EQ(announced_address(advertisement()), parse_ip("2001:db8::100"));
}

TEST(Announcement, RefusesEveryTruncation) {
    for (const auto& whole : {gratuitous_arp(), advertisement()}) {
        for (size_t n = 0; n < whole.size(); ++n)
            EXPECT_FALSE(announced_address(std::span(whole).first(n))) << n;
    }
}

TEST(Announcement, RefusesOtherPackets) {
    auto frame = advertisement();
    frame[54] = 135;
    EXPECT_FALSE(announced_address(frame));
    frame = gratuitous_arp();
    frame[13] = 0x00;
    EXPECT_FALSE(announced_address(frame));
}

}  // namespace
}  // namespace slash32
