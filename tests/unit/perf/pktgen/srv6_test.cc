// SPDX-License-Identifier: Apache-2.0
// Frames that the generator encapsulates (RFC 8986, H.Encaps and H.Encaps.Red with one SID).
#include "perf/pktgen/traffic.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace slash32::pktgen {
namespace {

constexpr uint16_t kRun = 77;
constexpr size_t kInnerBytes = 100;

uint32_t big16(const uint8_t* at) {
    return static_cast<uint32_t>(at[0]) << 8 | at[1];
}

using Shape = std::tuple<bool, bool>;  // IPv6 inside, SRH

class PktgenSrv6 : public testing::TestWithParam<Shape> {
  protected:
    PktgenSrv6() {
        options_.devices.resize(2);
        DeviceOptions& device = options_.devices[0];
        device.source_mac = *parse_mac("02:00:00:00:00:01");
        device.destination_mac = *parse_mac("02:00:5e:00:01:01");
        device.source_ip = *parse_ip(ipv6() ? "2001:db8:1::1" : "10.1.0.1");
        device.destination_ip = *parse_ip(ipv6() ? "2001:db8:2::1" : "10.2.0.1");
        options_.devices[1].source_ip = device.destination_ip;
        options_.devices[1].destination_ip = device.source_ip;
        options_.flows = 50;
        options_.destinations = 5;
        options_.frame_bytes = kInnerBytes;
        options_.check = Check::kAll;
        options_.srh = srh();
        plain_ = options_;
        device.sid = *parse_ip("fc00:0:1::100");
        device.encapsulation_source = *parse_ip("fc00:0:9::1");
    }
    bool ipv6() const { return std::get<0>(GetParam()); }
    bool srh() const { return std::get<1>(GetParam()); }
    size_t added() const { return kEncapsulationBytes + (srh() ? kSrhBytes : 0); }

    Options options_;
    Options plain_;  // the same without encapsulation
};

TEST_P(PktgenSrv6, IsThePlainFrameInAnOuterHeader) {
    FrameMaker maker(options_, options_.devices[0], 0, kRun);
    FrameMaker plain(plain_, plain_.devices[0], 0, kRun);
    std::set<std::string> labels;
    for (uint64_t i = 0; i < 50; i++) {
        std::vector<uint8_t> frame(256);
        std::vector<uint8_t> inner(256);
        ASSERT_EQ(maker.fill(frame.data(), i, 99), kInnerBytes + added());
        ASSERT_EQ(plain.fill(inner.data(), i, 99), kInnerBytes);
        EXPECT_TRUE(std::equal(frame.begin(), frame.begin() + 12, inner.begin())) << "MACs";
        EXPECT_EQ(big16(&frame[12]), 0x86ddU);
        EXPECT_EQ(frame[14] >> 4, 6);
        EXPECT_EQ(big16(&frame[18]), kInnerBytes - 14 + added() - 40) << "payload length";
        const uint8_t inside = ipv6() ? 41 : 4;
        EXPECT_EQ(frame[20], srh() ? 43 : inside);
        EXPECT_EQ(IpAddress(Ip6{options_.devices[0].sid->bytes}), *parse_ip("fc00:0:1::100"));
        EXPECT_TRUE(std::equal(&frame[38], &frame[54], options_.devices[0].sid->bytes.begin()));
        if (srh()) {
            // RFC 8754 section 2: next header, length, type, segments left, last entry, flags, tag.
            const std::vector<uint8_t> fixed = {inside, 2, 4, 0, 0, 0, 0, 0};
            EXPECT_TRUE(std::equal(fixed.begin(), fixed.end(), &frame[54]));
            EXPECT_TRUE(std::equal(&frame[62], &frame[78], options_.devices[0].sid->bytes.begin()));
        }
        EXPECT_TRUE(std::equal(inner.begin() + 14, inner.begin() + kInnerBytes,
                               frame.begin() + 14 + static_cast<ptrdiff_t>(added())));
        labels.emplace(frame.begin() + 14, frame.begin() + 18);
    }
    EXPECT_EQ(labels.size(), 50U) << "a flow label each";
}

TEST_P(PktgenSrv6, IsCountedWithAndWithoutTheOuterHeader) {
    FrameMaker maker(options_, options_.devices[0], 0, kRun);
    FrameMaker plain(plain_, plain_.devices[0], 0, kRun);
    for (const Check check : {Check::kBurst, Check::kAll}) {
        options_.check = check;
        FrameCounter counter(options_, 0, kRun);
        uint64_t sequence = 0;
        for (FrameMaker* one : {&maker, &plain}) {
            std::vector<uint8_t> frame(256);
            rte_mbuf mbuf{};
            mbuf.buf_addr = frame.data();
            mbuf.pkt_len = mbuf.data_len =
                static_cast<uint16_t>(one->fill(frame.data(), sequence++));
            rte_mbuf* burst[] = {&mbuf};
            counter.count(burst, 1);
        }
        EXPECT_EQ(counter.counts().packets, 2U);
        EXPECT_EQ(counter.counts().expected, 2U);
        EXPECT_EQ(counter.counts().cut, 0U);
        EXPECT_EQ(counter.counts().other, 0U);
    }
}

TEST_P(PktgenSrv6, IsNotReadBeyondTheData) {
    FrameMaker maker(options_, options_.devices[0], 0, kRun);
    std::vector<uint8_t> whole(256);
    const size_t inner_min = ipv6() ? kMinFrameBytes6 : kMinFrameBytes;
    maker.fill(whole.data(), 3);
    for (size_t bytes = 0; bytes <= inner_min + added(); bytes++) {
        const std::vector<uint8_t> exact(whole.begin(),
                                         whole.begin() + static_cast<ptrdiff_t>(bytes));
        rte_mbuf mbuf{};
        mbuf.buf_addr = const_cast<uint8_t*>(exact.data());
        mbuf.pkt_len = mbuf.data_len = static_cast<uint16_t>(bytes);
        Stamp stamp;
        EXPECT_EQ(read_stamp(&mbuf, stamp), bytes == inner_min + added()) << bytes;
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PktgenSrv6, testing::Combine(testing::Bool(), testing::Bool()));

}  // namespace
}  // namespace slash32::pktgen
