// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/announcement.h"
#include "ctrl/punt/denied.h"

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

std::vector<uint8_t> udp4() {
    std::vector<uint8_t> frame(14 + 20 + 8);
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[23] = 17;
    const auto source = parse_ip("10.0.0.1")->bytes;
    const auto destination = parse_ip("10.0.0.2")->bytes;
    std::copy_n(source.begin(), 4, frame.begin() + 26);
    std::copy_n(destination.begin(), 4, frame.begin() + 30);
    frame[35] = 9;   // source port
    frame[37] = 53;  // destination port
    return frame;
}

// UDP behind a hop-by-hop header of eight bytes.
std::vector<uint8_t> udp6() {
    std::vector<uint8_t> frame(14 + 40 + 8 + 8);
    frame[12] = 0x86;
    frame[13] = 0xdd;
    frame[14] = 0x60;
    frame[20] = 0;
    const auto source = parse_ip("2001:db8::1")->bytes;
    std::copy(source.begin(), source.end(), frame.begin() + 22);
    frame[54] = 17;
    frame[63] = 9;
    frame[65] = 53;
    return frame;
}

const PuntInfo kRefused{.port = PortId{7},
                        .reason = PuntReason::kDenied,
                        .direction = CaptureDirection::kDropped,
                        .drop_reason = DropReason::kDeniedIngress,
                        .vrf = {},
                        .original_length = 0,
                        .tsc = 0};

TEST(Denied, ReadsTheTupleOfBothFamilies) {
    const auto four = read_denied(udp4(), kRefused);
    ASSERT_TRUE(four.has_value());
    EXPECT_EQ(four->port, PortId{7});
    EXPECT_EQ(four->src, *parse_ip("10.0.0.1"));
    EXPECT_EQ(four->dst, *parse_ip("10.0.0.2"));
    EXPECT_EQ(four->protocol, 17);
    EXPECT_EQ(four->sport, 9);
    EXPECT_EQ(four->dport, 53);
    const auto six = read_denied(udp6(), kRefused);
    ASSERT_TRUE(six.has_value());
    EXPECT_EQ(six->src, *parse_ip("2001:db8::1"));
    EXPECT_EQ(six->protocol, 17);
    EXPECT_EQ(six->dport, 53);
}

TEST(Denied, LaterFragmentHasNoPorts) {
    auto frame = udp4();
    frame[21] = 1;  // offset 8
    EXPECT_FALSE(read_denied(frame, kRefused)->dport.has_value());
}

TEST(Denied, TruncationsHaveNoPortsOrNothing) {
    for (const auto& whole : {udp4(), udp6()}) {
        for (size_t n = 0; n < whole.size(); ++n) {
            const auto read = read_denied(std::span(whole).first(n), kRefused);
            EXPECT_FALSE(read && read->dport && n < whole.size() - 4) << n;
        }
    }
}

}  // namespace
}  // namespace slash32
