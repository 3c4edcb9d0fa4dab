// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/traffic.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace slash32::pktgen {
namespace {

constexpr uint16_t kRun = 77;

Options options_for(uint64_t flows, uint64_t destinations) {
    Options options;
    options.devices.resize(2);
    options.devices[0].source_mac = *parse_mac("02:00:00:00:00:01");
    options.devices[0].destination_mac = *parse_mac("02:00:5e:00:01:01");
    options.devices[0].source_ip = *parse_ip("10.254.255.1");
    options.devices[0].destination_ip = *parse_ip("10.253.255.200");
    options.flows = flows;
    options.destinations = destinations;
    return options;
}

// RFC 1071 over any bytes, the slow way: folded, not inverted.
uint32_t full_sum(const uint8_t* at, size_t bytes, uint32_t sum = 0) {
    for (size_t i = 0; i < bytes; i++)
        sum += static_cast<uint32_t>(at[i]) << (i % 2 == 0 ? 8 : 0);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

uint32_t big16(const uint8_t* at) {
    return static_cast<uint32_t>(at[0]) << 8 | at[1];
}

// A frame in a buffer of its own, as a driver would hand it over.
struct Packet {
    std::vector<uint8_t> bytes = std::vector<uint8_t>(256);
    std::unique_ptr<rte_mbuf> mbuf = std::make_unique<rte_mbuf>();

    Packet(FrameMaker& maker, uint64_t sequence, size_t length, uint64_t now = 0) {
        maker.fill(bytes.data(), sequence, now);
        mbuf->buf_addr = bytes.data();
        mbuf->data_len = static_cast<uint16_t>(std::min(length, bytes.size()));
        mbuf->pkt_len = static_cast<uint32_t>(length);
    }
};

TEST(PktgenFrameMaker, MakesEveryFlowOnceARoundWithAValidChecksum) {
    Options options = options_for(3000, 100);
    FrameMaker maker(options, options.devices[0], 0, kRun);
    std::set<std::tuple<uint32_t, uint32_t, uint32_t>> flows;
    std::set<uint32_t> destinations;
    std::vector<uint8_t> frame(256);
    for (uint64_t i = 0; i < 6000; i++) {
        maker.fill(frame.data(), i);
        EXPECT_EQ(full_sum(frame.data() + 14, 20), 0xffffU);
        const uint32_t destination = big16(&frame[30]) << 16 | big16(&frame[32]);
        destinations.insert(destination);
        flows.emplace(destination, big16(&frame[34]), big16(&frame[36]));
    }
    EXPECT_EQ(flows.size(), 3000U);
    EXPECT_EQ(destinations.size(), 100U);
    EXPECT_EQ(*destinations.begin(), 0x0afdffc8U);
    EXPECT_EQ(*destinations.rbegin(), 0x0afdffc8U + 99) << "carries into the next byte";
}

TEST(PktgenFrameMaker, AnswersWithThePeersFlowsReversed) {
    Options options = options_for(100, 10);
    options.two_way = true;
    FrameMaker asking(options, options.devices[0], 0, kRun);
    FrameMaker answering(options, options.devices[1], 1, kRun);
    for (uint64_t n = 0; n < 200; ++n) {
        const Packet question(asking, n, 64);
        const Packet answer(answering, n, 64);
        const uint8_t* q = question.bytes.data();
        const uint8_t* a = answer.bytes.data();
        EXPECT_TRUE(std::equal(q + 26, q + 30, a + 30));
        EXPECT_TRUE(std::equal(q + 30, q + 34, a + 26));
        EXPECT_EQ(big16(q + 34), big16(a + 36));
        EXPECT_EQ(big16(q + 36), big16(a + 34));
        EXPECT_EQ(full_sum(a + 14, 20), 0xffffu);
    }
}

TEST(PktgenFrameMaker, StatesTheLengths) {
    Options options = options_for(1, 1);
    options.frame_bytes = 64;
    FrameMaker maker(options, options.devices[0], 0, kRun);
    Packet packet(maker, 0, 64);
    EXPECT_EQ(big16(&packet.bytes[16]), 50U);
    EXPECT_EQ(big16(&packet.bytes[38]), 30U);
    EXPECT_EQ(big16(&packet.bytes[40]), 0U) << "RFC 768: no UDP checksum";
}

TEST(PktgenFrameMaker, LeavesTheTcpChecksumToTheOffload) {
    Options options = options_for(5, 5);
    options.tso = true;
    options.frame_bytes = 65214;
    FrameMaker maker(options, options.devices[0], 0, kRun);
    for (uint64_t i = 0; i < 5; i++) {
        Packet packet(maker, i, options.frame_bytes);
        maker.describe(packet.mbuf.get());
        // The pseudo-header of RFC 9293 section 3.1.
        const uint32_t expected = full_sum(&packet.bytes[26], 8, 6 + 65214 - 34);
        EXPECT_EQ(big16(&packet.bytes[50]), expected);
        EXPECT_NE(packet.mbuf->ol_flags & RTE_MBUF_F_TX_TCP_SEG, 0U);
        EXPECT_EQ(packet.mbuf->l2_len + packet.mbuf->l3_len + packet.mbuf->l4_len, 54);
    }
}

Options ipv6_options(uint64_t flows, uint64_t destinations) {
    Options options = options_for(flows, destinations);
    options.devices[0].source_ip = *parse_ip("2001:db8:ffff::1");
    options.devices[0].destination_ip = *parse_ip("2001:db8::ffff:fffe");
    options.frame_bytes = 100;
    return options;
}

TEST(PktgenFrameMaker, MakesIpv6FlowsWithValidChecksums) {
    Options options = ipv6_options(300, 10);
    options.two_way = true;
    for (const bool answers : {false, true}) {
        FrameMaker maker(options, options.devices[0], 0, kRun);
        FrameMaker answering(options, options.devices[0], 1, kRun);
        std::set<std::string> flows;
        for (uint64_t i = 0; i < 600; i++) {
            std::vector<uint8_t> frame(256);
            const uint64_t now = 0xfedcba987654 + i * 77777;
            ASSERT_EQ((answers ? answering : maker).fill(frame.data(), i * i, now), 100U);
            EXPECT_EQ(big16(&frame[12]), 0x86ddU);
            EXPECT_EQ(frame[14] >> 4, 6);
            EXPECT_EQ(big16(&frame[18]), 100U - 54) << "payload length";
            // RFC 8200 section 8.1: addresses, length, next header, and the datagram itself.
            const uint32_t pseudo = full_sum(&frame[22], 32) + (100 - 54) + 17;
            EXPECT_EQ(full_sum(&frame[54], 100 - 54, pseudo), 0xffffU) << i;
            EXPECT_NE(big16(&frame[60]), 0U);
            flows.emplace(frame.begin() + 22, frame.begin() + 58);
        }
        EXPECT_EQ(flows.size(), 300U);
    }
}

TEST(PktgenFrameMaker, MixesSizesByTheirWeights) {
    Options options = options_for(1, 1);
    options.mix = {{64, 7}, {590, 4}, {1514, 1}};
    options.frame_bytes = 1514;
    FrameMaker maker(options, options.devices[0], 0, kRun);
    FrameCounter counter(options, 0, kRun);
    std::map<size_t, unsigned> lengths;
    size_t repeated = 0;
    size_t last = 0;
    uint64_t bytes = 0;
    std::vector<uint8_t> frame(2048);
    for (uint64_t i = 0; i < 1200; ++i) {
        const size_t length = maker.fill(frame.data(), i);
        EXPECT_EQ(big16(&frame[16]), length - 14) << "total length";
        EXPECT_EQ(big16(&frame[38]), length - 34) << "UDP length";
        EXPECT_EQ(full_sum(&frame[14], 20), 0xffffU);
        ++lengths[length];
        repeated = length == last ? repeated + 1 : 0;
        EXPECT_LT(repeated, 3U) << "the sizes are spread";
        last = length;
        bytes += length;
        rte_mbuf mbuf{};
        mbuf.buf_addr = frame.data();
        mbuf.data_len = static_cast<uint16_t>(length);
        mbuf.pkt_len = static_cast<uint32_t>(length);
        rte_mbuf* burst[] = {&mbuf};
        counter.count(burst, 1);
    }
    EXPECT_EQ(lengths, (std::map<size_t, unsigned>{{64, 700}, {590, 400}, {1514, 100}}));
    EXPECT_EQ(counter.counts().packets, 1200U);
    EXPECT_EQ(counter.counts().bytes, bytes);
}

TEST(PktgenFrameCounter, CountsIpv6FramesByTheirStamp) {
    Options options = ipv6_options(1, 1);
    options.check = Check::kAll;
    FrameMaker maker(options, options.devices[0], 0, kRun);
    FrameCounter counter(options, 0, kRun);
    for (const uint64_t sequence : {0, 1, 3}) {
        Packet packet(maker, sequence, 100);
        rte_mbuf* burst[] = {packet.mbuf.get()};
        counter.count(burst, 1);
    }
    EXPECT_EQ(counter.counts().packets, 3U);
    EXPECT_EQ(counter.counts().expected, 4U);
    EXPECT_EQ(counter.counts().other, 0U);
}

TEST(PktgenFrameCounter, CountsLossesBySequence) {
    Options options = options_for(1, 1);
    FrameMaker maker(options, options.devices[0], 0, kRun);
    for (const Check check : {Check::kBurst, Check::kAll}) {
        options.check = check;
        FrameCounter counter(options, 0, kRun);
        for (const uint64_t sequence : {0, 1, 2, 5, 6}) {
            Packet packet(maker, sequence, 64);
            rte_mbuf* burst[] = {packet.mbuf.get()};
            counter.count(burst, 1);
        }
        EXPECT_EQ(counter.counts().packets, 5U);
        EXPECT_EQ(counter.counts().expected, 7U);
        EXPECT_EQ(counter.counts().bytes, 5U * 64);
    }
}

TEST(PktgenFrameCounter, SeesDuplicatesAndReordering) {
    Options options = options_for(1, 1);
    options.check = Check::kAll;
    FrameMaker maker(options, options.devices[0], 0, kRun);
    FrameCounter counter(options, 0, kRun);
    for (const uint64_t sequence : {0, 2, 1, 1, 3}) {
        Packet packet(maker, sequence, 64);
        rte_mbuf* burst[] = {packet.mbuf.get()};
        counter.count(burst, 1);
    }
    EXPECT_EQ(counter.counts().duplicated, 1U);
    EXPECT_EQ(counter.counts().reordered, 2U);
}

TEST(PktgenFrameCounter, CountsNeitherAnotherRunNorStrangers) {
    Options options = options_for(1, 1);
    FrameMaker earlier(options, options.devices[0], 0, kRun - 1);
    FrameMaker self(options, options.devices[0], 1, kRun);
    for (const Check check : {Check::kBurst, Check::kAll}) {
        options.check = check;
        FrameCounter counter(options, 0, kRun);
        for (FrameMaker* maker : {&earlier, &self}) {
            Packet packet(*maker, 9, 64);
            rte_mbuf* burst[] = {packet.mbuf.get()};
            counter.count(burst, 1);
        }
        EXPECT_EQ(counter.counts().packets, 0U);
        EXPECT_EQ(counter.counts().other, 2U);
        EXPECT_EQ(counter.counts().expected, 0U);
    }
}

TEST(PktgenFrameCounter, CountsASegmentThatWasCut) {
    Options options = options_for(1, 1);
    options.tso = true;
    options.frame_bytes = 65214;
    FrameMaker maker(options, options.devices[0], 0, kRun);
    FrameCounter counter(options, 0, kRun);
    Packet whole(maker, 0, 65214);
    Packet piece(maker, 1, 1502);
    rte_mbuf* burst[] = {whole.mbuf.get(), piece.mbuf.get()};
    counter.count(burst, 2);
    EXPECT_EQ(counter.counts().packets, 2U);
    EXPECT_EQ(counter.counts().cut, 1U);
}

TEST(PktgenFrameCounter, MeasuresLatencyOfThePacketsItLooksAt) {
    Options options = options_for(1, 1);
    options.frame_bytes = kMinFrameBytes;
    const uint64_t wraps = (uint64_t{5} << 48) - 100;  // the stamp has 48 bits
    for (const Check check : {Check::kBurst, Check::kAll}) {
        options.check = check;
        FrameMaker maker(options, options.devices[0], 0, kRun);
        FrameCounter counter(options, 0, kRun);
        Packet first(maker, 0, kMinFrameBytes, wraps);
        Packet second(maker, 1, kMinFrameBytes, wraps + 50);
        rte_mbuf* burst[] = {first.mbuf.get(), second.mbuf.get()};
        counter.count(burst, 2, wraps + 1000);
        counter.count(burst, 2);  // without the clock
        EXPECT_EQ(counter.latency().count(), check == Check::kAll ? 2U : 1U);
        EXPECT_EQ(counter.latency().min(), 950U);
        EXPECT_EQ(counter.latency().max(), check == Check::kAll ? 1000U : 950U);
    }
}

TEST(PktgenArp, AnswersWhoAsked) {
    const Mac router = *parse_mac("02:00:5e:00:01:01");
    const Mac own = *parse_mac("02:00:00:00:00:01");
    std::vector<uint8_t> frame(64);
    rte_mbuf mbuf{};
    mbuf.buf_addr = frame.data();
    mbuf.pkt_len = mbuf.data_len = static_cast<uint16_t>(write_arp_request(
        frame.data(), router, parse_ip("10.0.0.254")->ipv4(), parse_ip("10.0.0.1")->ipv4()));
    const auto request = read_arp_request(&mbuf);
    ASSERT_TRUE(request.has_value());
    EXPECT_EQ(request->wanted, parse_ip("10.0.0.1")->ipv4());
    Mac found;
    EXPECT_FALSE(read_arp_reply(&mbuf, request->wanted, found)) << "a request";
    std::vector<uint8_t> reply(64);
    mbuf.buf_addr = reply.data();
    write_arp_reply(reply.data(), own, *request);
    EXPECT_TRUE(std::equal(router.bytes.begin(), router.bytes.end(), reply.begin()));
    ASSERT_TRUE(read_arp_reply(&mbuf, request->wanted, found));
    EXPECT_EQ(found, own);
    EXPECT_FALSE(read_arp_request(&mbuf).has_value()) << "a reply";
    mbuf.data_len = 41;
    EXPECT_FALSE(read_arp_reply(&mbuf, request->wanted, found));
}

TEST(PktgenStamp, IsNotReadBeyondTheData) {
    Options options = options_for(1, 1);
    FrameMaker maker(options, options.devices[0], 0, kRun);
    Stamp stamp;
    for (uint16_t length = 0; length < kMinFrameBytes; length++) {
        Packet packet(maker, 0, length);
        EXPECT_FALSE(read_stamp(packet.mbuf.get(), stamp)) << length;
    }
    Packet packet(maker, 3, kMinFrameBytes);
    ASSERT_TRUE(read_stamp(packet.mbuf.get(), stamp));
    EXPECT_EQ(stamp.sequence, 3U);
}

}  // namespace
}  // namespace slash32::pktgen
