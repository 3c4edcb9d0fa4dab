// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/tcp.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace slash32::pktgen {
namespace {

constexpr uint16_t kRun = 77;
constexpr uint64_t kNow = uint64_t{1} << 40;

Options options_for(bool ipv6, uint64_t flows = 1, uint64_t destinations = 1) {
    Options options;
    options.devices.resize(2);
    options.devices[0].source_mac = *parse_mac("02:00:00:00:00:01");
    options.devices[0].destination_mac = *parse_mac("02:00:5e:00:01:01");
    options.devices[1].source_mac = *parse_mac("02:00:00:00:00:02");
    options.devices[1].destination_mac = *parse_mac("02:00:5e:00:01:01");
    options.devices[0].source_ip = *parse_ip(ipv6 ? "2001:db8:1::1" : "10.1.0.1");
    options.devices[0].destination_ip = *parse_ip(ipv6 ? "2001:db8:2::ff" : "10.2.0.255");
    options.devices[1].source_ip = *parse_ip(ipv6 ? "2001:db8:2::ff" : "10.2.0.255");
    options.devices[1].destination_ip = options.devices[0].source_ip;
    options.flows = flows;
    options.destinations = destinations;
    options.tcp = true;
    return options;
}

uint32_t big(const uint8_t* at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

uint32_t full_sum(const uint8_t* at, size_t bytes, uint32_t sum = 0) {
    for (size_t i = 0; i < bytes; i += 2)
        sum += big(at + i, 2);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

struct Segment {
    std::string flags;
    uint32_t sequence = 0;
    uint32_t acknowledged = 0;
};

using Buffer = std::vector<uint8_t>;

class PktgenTcp : public testing::TestWithParam<bool> {
  protected:
    // Checks lengths, checksums and addresses, and reads the rest.
    Segment read(const Buffer& frame, bool from_opening) const {
        const size_t ip = 14;
        const size_t tcp = ipv6() ? 54 : 34;
        const size_t address_bytes = ipv6() ? 16 : 4;
        const size_t addresses = ip + (ipv6() ? 8 : 12);
        if (ipv6()) {
            EXPECT_EQ(big(&frame[12], 2), 0x86ddU);
            EXPECT_EQ(big(&frame[ip + 4], 2), 20U);
        } else {
            EXPECT_EQ(big(&frame[12], 2), 0x0800U);
            EXPECT_EQ(big(&frame[ip + 2], 2), 40U);
            EXPECT_EQ(full_sum(&frame[ip], 20), 0xffffU);
        }
        // RFC 9293 section 3.1: addresses, protocol, length and the segment.
        EXPECT_EQ(full_sum(&frame[tcp], 20, full_sum(&frame[addresses], 2 * address_bytes, 6 + 20)),
                  0xffffU);
        const auto& opening = options_.devices[0].source_ip.bytes;
        const uint8_t* own = &frame[addresses + (from_opening ? 0 : address_bytes)];
        EXPECT_TRUE(std::equal(own, own + address_bytes, opening.begin()));
        EXPECT_EQ(big(&frame[tcp + (from_opening ? 2 : 0)], 2), 5000U);
        EXPECT_EQ(frame[11], from_opening ? 1 : 2) << "of the own MAC";
        std::string flags;
        for (const auto& [bit, letter] : {std::pair{0x02, 'S'}, {0x01, 'F'}, {0x10, 'A'}}) {
            if ((frame[tcp + 13] & bit) != 0) flags += letter;
        }
        return {flags, big(&frame[tcp + 4], 4), big(&frame[tcp + 8], 4)};
    }
    bool ipv6() const { return GetParam(); }
    size_t frame_bytes() const { return ipv6() ? kTcpFrameBytes6 : kTcpFrameBytes; }

    Options options_ = options_for(GetParam());
    TcpEnd opening_{options_, options_.devices[0], true, kRun};
    TcpEnd asked_{options_, options_.devices[1], false, kRun};
};

TEST_P(PktgenTcp, OpensAndClosesAConnection) {
    Buffer frame(128, 0xaa);
    Buffer second(128, 0xaa);
    const auto answer = [&](TcpEnd& end, uint64_t now) {
        return end.answer(frame.data(), frame_bytes(), now, {frame.data(), second.data()});
    };
    ASSERT_EQ(opening_.open(frame.data(), kNow), frame_bytes());
    const Segment syn = read(frame, true);
    EXPECT_EQ(syn.flags, "S");
    ASSERT_EQ(answer(asked_, kNow), 1U);
    const Segment syn_ack = read(frame, false);
    EXPECT_EQ(syn_ack.flags, "SA");
    EXPECT_EQ(syn_ack.acknowledged, syn.sequence + 1);
    ASSERT_EQ(answer(opening_, kNow + 6400), 2U);
    const Segment ack = read(frame, true);
    const Segment fin = read(second, true);
    EXPECT_EQ(ack.flags, "A");
    EXPECT_EQ(fin.flags, "FA");
    for (const Segment& segment : {ack, fin}) {
        EXPECT_EQ(segment.sequence, syn.sequence + 1);
        EXPECT_EQ(segment.acknowledged, syn_ack.sequence + 1);
    }
    EXPECT_EQ(answer(asked_, kNow), 0U) << "to the handshake's last";
    EXPECT_EQ(asked_.connections().closed, 0U);
    frame = second;
    ASSERT_EQ(answer(asked_, kNow), 1U);
    const Segment fin_back = read(frame, false);
    EXPECT_EQ(fin_back.flags, "FA");
    EXPECT_EQ(fin_back.sequence, syn_ack.sequence + 1);
    EXPECT_EQ(fin_back.acknowledged, fin.sequence + 1);
    ASSERT_EQ(answer(opening_, kNow), 1U);
    const Segment last = read(frame, true);
    EXPECT_EQ(last.flags, "A");
    EXPECT_EQ(last.sequence, fin.sequence + 1);
    EXPECT_EQ(last.acknowledged, fin_back.sequence + 1);
    EXPECT_EQ(answer(asked_, kNow), 0U);
    EXPECT_EQ(opening_.connections().begun, 1U);
    EXPECT_EQ(opening_.connections().opened, 1U);
    EXPECT_EQ(asked_.connections().closed, 1U);
    EXPECT_EQ(opening_.latency().count(), 1U);
    EXPECT_EQ(opening_.latency().max(), 6400U);
}

TEST_P(PktgenTcp, CountsResetsAndLeavesStrangersAlone) {
    Buffer frame(128);
    Buffer second(128);
    opening_.open(frame.data(), kNow);
    const size_t flags_at = (ipv6() ? 54 : 34) + 13;
    frame[flags_at] = 0x14;  // RST+ACK
    const std::array<uint8_t*, 2> answers = {frame.data(), second.data()};
    EXPECT_EQ(asked_.answer(frame.data(), frame_bytes(), kNow, answers), 0U);
    EXPECT_EQ(asked_.connections().reset, 1U);
    frame[flags_at] = 0x12;  // SYN+ACK of a server that is not ours
    EXPECT_EQ(opening_.answer(frame.data(), frame_bytes(), kNow, answers), 0U);
    EXPECT_EQ(opening_.connections().opened, 0U);
    for (size_t bytes = 0; bytes < flags_at + 7; bytes++)
        EXPECT_EQ(asked_.answer(frame.data(), bytes, kNow, answers), 0U) << bytes;
    frame[ipv6() ? 20 : 23] = 17;  // UDP
    EXPECT_EQ(asked_.answer(frame.data(), frame_bytes(), kNow, answers), 0U);
    EXPECT_EQ(asked_.counts().packets, 1U);
    EXPECT_EQ(asked_.counts().other, flags_at + 8);
}

TEST_P(PktgenTcp, OpensEveryFlowOnceARound) {
    options_ = options_for(ipv6(), 300, 10);
    TcpEnd opening(options_, options_.devices[0], true, kRun);
    std::set<std::string> flows;
    Buffer frame(128);
    for (int i = 0; i < 600; i++) {
        opening.open(frame.data(), kNow);
        read(frame, true);
        flows.emplace(frame.begin() + (ipv6() ? 22 : 26), frame.begin() + (ipv6() ? 58 : 38));
    }
    EXPECT_EQ(flows.size(), 300U);
}

INSTANTIATE_TEST_SUITE_P(Families, PktgenTcp, testing::Bool(),
                         [](const auto& test) { return test.param ? "Ipv6" : "Ipv4"; });

}  // namespace
}  // namespace slash32::pktgen
