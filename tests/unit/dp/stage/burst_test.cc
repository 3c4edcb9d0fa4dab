// SPDX-License-Identifier: Apache-2.0
// What only shows with more than one packet or more than one buffer: grouping, order, split
// headers, rates, captures.
#include "dp/abi/capture.h"
#include "tests/unit/dp/stage/oracle.h"

#include <gtest/gtest.h>
#include <pcap/pcap.h>

namespace slash32::test {
namespace {

Packet to(int vm, uint16_t port) {
    return eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0." + std::to_string(vm)) /
           udp(port, 9);
}

TEST(Bursts, GoOutWithOneCallAPortInOrder) {
    Lab lab;
    std::vector<Input> inputs;
    for (uint16_t i = 0; i < kBurstSize; ++i)
        inputs.push_back(Input{.bytes = to(i % 2 == 0 ? 2 : 4, i).bytes()});
    const RunResult result = lab.run(kVm1, inputs);
    EXPECT_EQ(lab.tx(kVm2).calls, 1u);
    EXPECT_EQ(lab.tx(kVm4).calls, 1u);
    ASSERT_EQ(result.outputs.size(), kBurstSize);
    uint16_t last = 0;
    for (size_t i = 0; i < 16; ++i) {
        EXPECT_EQ(result.outputs[i].port, kVm2);
        const uint16_t port = get16(result.outputs[i].bytes, 34);
        EXPECT_TRUE(i == 0 || port > last);
        last = port;
    }
}

TEST(Bursts, SurviveEveryOutcomeTogether) {
    Lab lab;
    std::vector<Input> inputs;
    for (uint16_t i = 0; i < 4; ++i) {
        inputs.push_back({.bytes = to(2, i).bytes()});
        inputs.push_back({.bytes = to(77, i).bytes()});
        inputs.push_back({.bytes = Bytes(i + 1u)});
        inputs.push_back({.bytes = (eth(kVm1Mac, kBroadcastMac) /
                                    arp(1, kVm1Mac, "10.0.0.1", kZeroMac, "10.0.0.254"))
                                       .bytes()});
        inputs.push_back({.bytes = (eth(kVm1Mac, kBroadcastMac) /
                                    arp(1, kVm1Mac, "10.0.0.100", kZeroMac, "10.0.0.100"))
                                       .bytes()});
        inputs.push_back(
            {.bytes = (eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2") / udp(1, 2))
                          .bytes()});
        inputs.push_back({.bytes = (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.4").df() /
                                    tcp(1, 2) / raw(counting(5000)))
                                       .bytes(),
                          .rx_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO,
                          .tso_segsz = 1000});
    }
    const RunResult result = lab.run(kVm1, inputs);
    EXPECT_EQ(result.punted.size(), 4u);
    EXPECT_EQ(result.consumed, 4u);
    EXPECT_EQ(result.drops.at(DropReason::kNoRoute), 4u);
    EXPECT_EQ(result.drops.at(DropReason::kTruncatedEthernet), 4u);
    // 2 forwarded, 1 ARP answer, 1 ICMP error, 5 segments
    EXPECT_EQ(result.outputs.size(), 4u * (2 + 1 + 1 + 5));
}

TEST(Bursts, CountReceivedAndSent) {
    Lab lab;
    const Bytes packet = to(2, 1).bytes();
    lab.run(kVm1, {Input{.bytes = packet}, Input{.bytes = packet}});
    const PortCounters& in = lab.context().port_counters(kVm1);
    const PortCounters& out = lab.context().port_counters(kVm2);
    EXPECT_EQ(in.rx_packets.get(), 2u);
    EXPECT_EQ(in.rx_bytes.get(), 2 * packet.size());
    EXPECT_EQ(in.forwarded.get(), 2u);
    EXPECT_EQ(out.tx_packets.get(), 2u);
    EXPECT_EQ(out.tx_bytes.get(), 2 * packet.size());
    EXPECT_EQ(out.rx_packets.get(), 0u);
}

TEST(Bursts, CountWhatTheReceiverDidNotTakeAtTheSender) {
    Lab lab;
    lab.tx(kVm2).room = 1;
    const RunResult result =
        lab.run(kVm1, {Input{.bytes = to(2, 1).bytes()}, Input{.bytes = to(2, 2).bytes()},
                       Input{.bytes = to(2, 3).bytes()}});
    EXPECT_EQ(result.forwarded, 1u);
    EXPECT_EQ(result.drops.at(DropReason::kTxFull), 2u);
}

TEST(Rates, OfErrorsComeBackWithTime) {
    Lab lab;
    lab.set_icmp_rate(2, 2);
    const std::vector<Input> inputs(5, Input{.bytes = to(77, 1).bytes()});
    RunResult result = lab.run(kVm1, inputs);
    EXPECT_EQ(result.outputs.size(), 2u);
    EXPECT_EQ(result.drops.at(DropReason::kIcmpRateLimited), 3u);
    lab.advance_seconds(1);
    EXPECT_EQ(lab.run(kVm1, inputs).outputs.size(), 2u);
    lab.advance_seconds(100);
    EXPECT_EQ(lab.run(kVm1, inputs).outputs.size(), 2u);
}

TEST(Punts, BeyondTheRingAreDropped) {
    Lab lab;
    const Packet announcement =
        eth(kVm1Mac, kBroadcastMac) / arp(1, kVm1Mac, "10.0.0.100", kZeroMac, "10.0.0.100");
    const RunResult result =
        lab.run(kVm1, std::vector<Input>(20, Input{.bytes = announcement.bytes()}));
    EXPECT_EQ(result.punted.size(), 15u);  // a ring of 16 entries
    EXPECT_EQ(result.drops.at(DropReason::kPuntFull), 5u);
    EXPECT_TRUE(lab.context().doorbell_due);
}

// Each packet split after every one of its first bytes, in two and in three buffers, comes out as
// if it had been whole.
TEST(SplitHeaders, MakeNoDifference) {
    const Bytes packets[] = {
        (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.2") / tcp(1, 2, {1, 1, 1, 1}) /
         raw(counting(30)))
            .bytes(),
        (eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2") / options6(0) /
         options6(60) / udp(1, 2) / raw(counting(30)))
            .bytes(),
        (eth(kVm1Mac, kBroadcastMac) / arp(1, kVm1Mac, "10.0.0.1", kZeroMac, "10.0.0.254")).bytes(),
        (eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2").ttl(255) / icmp6(135, 0) /
         raw(address("2001:db8::2") + link_layer_option(1, kVm1Mac)))
            .bytes(),
        (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.254") / icmp4(8, 0, 7) /
         raw(counting(30)))
            .bytes(),
        (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.77.0.1") / udp(1, 2) / raw(counting(900)))
            .bytes(),
        (eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8:77::1") / udp(1, 2) /
         raw(counting(1400)))
            .bytes(),
    };
    Lab lab;
    for (const Bytes& packet : packets) {
        const RunResult whole = lab.run(kVm1, packet);
        ASSERT_EQ(whole.outputs.size(), 1u);
        for (size_t n = 0; n < std::min<size_t>(packet.size(), 120); ++n) {
            for (const std::vector<size_t>& segments :
                 {std::vector<size_t>{n}, {n, 1}, {n, 0, 5}, {n / 2, n - n / 2}}) {
                const RunResult split =
                    lab.run(kVm1, {Input{.bytes = packet, .segments = segments}});
                ASSERT_EQ(split.outputs.size(), 1u) << "split at " << n << describe(split);
                ASSERT_EQ(hex(split.outputs[0].bytes), hex(whole.outputs[0].bytes)) << n;
            }
        }
    }
}

TEST(SplitHeaders, ThatDoNotFitOneBufferAreRefused) {
    Lab lab;
    const Bytes packet = to(2, 1).bytes();
    for (size_t n = 0; n < packet.size(); ++n) {
        rte_mbuf* mbuf = lab.make_mbuf(Input{.bytes = packet, .segments = {n}});
        // A first buffer that ends where its bytes end.
        const uint16_t whole = mbuf->buf_len;
        mbuf->buf_len = static_cast<uint16_t>(mbuf->data_off + n);
        rte_mbuf* packets[] = {mbuf};
        lab.run_mbufs(kVm1, packets, 1);
        mbuf->buf_len = whole;
        EXPECT_EQ(lab.context()
                      .port_counters(kVm1)
                      .drops[static_cast<size_t>(DropReason::kSplitHeader)]
                      .get(),
                  n + 1);
    }
}

TEST(IcmpErrors, AreNotSentWhereTheBufferHasNoHeadroom) {
    Lab lab;
    rte_mbuf* mbuf = lab.make_mbuf(Input{.bytes = to(77, 1).bytes()});
    std::memmove(static_cast<uint8_t*>(mbuf->buf_addr) + 27, rte_pktmbuf_mtod(mbuf, void*),
                 mbuf->data_len);
    mbuf->data_off = 27;
    rte_mbuf* packets[] = {mbuf};
    lab.run_mbufs(kVm1, packets, 1);
    const PortCounters& counters = lab.context().port_counters(kVm1);
    EXPECT_EQ(counters.drops[static_cast<size_t>(DropReason::kNoHeadroom)].get(), 1u);
    EXPECT_EQ(counters.injected.get(), 0u);
}

class Captures : public testing::Test {
  protected:
    void start(uint8_t directions) {
        capture_.directions = directions;
        lab_.start_capture(kVm1, capture_);
    }
    static constexpr uint8_t kIn = static_cast<uint8_t>(CaptureDirection::kIn);
    static constexpr uint8_t kOut = static_cast<uint8_t>(CaptureDirection::kOut);
    static constexpr uint8_t kDropped = static_cast<uint8_t>(CaptureDirection::kDropped);
    Lab lab_;
    Capture capture_;
};

TEST_F(Captures, ShowWhatCameInUntouched) {
    start(kIn);
    const Bytes packet = to(2, 1).bytes();
    const RunResult result = lab_.run(kVm1, packet);
    ASSERT_EQ(result.captured.size(), 1u);
    EXPECT_EQ(result.captured[0].second, packet);
    EXPECT_EQ(result.captured[0].first.direction, CaptureDirection::kIn);
    EXPECT_EQ(result.captured[0].first.original_length, packet.size());
    EXPECT_EQ(result.outputs.size(), 1u);
}

TEST_F(Captures, ShowWhatGoesOut) {
    start(kIn | kOut);
    const RunResult result = lab_.run(
        kVm1, (eth(kVm1Mac, kBroadcastMac) / arp(1, kVm1Mac, "10.0.0.1", kZeroMac, "10.0.0.254"))
                  .bytes());
    ASSERT_EQ(result.captured.size(), 2u);
    EXPECT_EQ(result.captured[1].first.direction, CaptureDirection::kOut);
    EXPECT_EQ(result.captured[1].second, result.outputs.at(0).bytes);
}

TEST_F(Captures, ShowWhyAPacketWasDropped) {
    start(kDropped);
    const Bytes spoofed =
        (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.9", "10.0.0.2") / udp(1, 2)).bytes();
    const Bytes expired =
        (eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.2").ttl(1) / udp(1, 2)).bytes();
    const RunResult result = lab_.run(kVm1, {Input{.bytes = spoofed}, Input{.bytes = expired}});
    ASSERT_EQ(result.captured.size(), 2u);
    EXPECT_EQ(result.captured[0].first.drop_reason, DropReason::kSpoofedSource);
    EXPECT_EQ(result.captured[0].second, spoofed);
    EXPECT_EQ(result.captured[1].first.drop_reason, DropReason::kHopLimit);
    EXPECT_EQ(result.captured[1].second, expired);
}

TEST_F(Captures, KeepOnlyTheSnapLength) {
    start(kIn);
    capture_.snap_length = 20;
    const Bytes packet = to(2, 1).bytes();
    const RunResult result = lab_.run(kVm1, {Input{.bytes = packet, .segments = {3, 5}}});
    ASSERT_EQ(result.captured.size(), 1u);
    EXPECT_EQ(result.captured[0].second, slice(packet, 0, 20));
    EXPECT_EQ(result.captured[0].first.original_length, packet.size());
}

TEST_F(Captures, TakeWhatTheFilterTakes) {
    bpf_program program;
    pcap_t* handle = pcap_open_dead(DLT_EN10MB, 65535);
    ASSERT_EQ(pcap_compile(handle, &program, "udp src port 7", 1, PCAP_NETMASK_UNKNOWN), 0);
    start(kIn);
    capture_.filter = program.bf_insns;
    const RunResult result =
        lab_.run(kVm1, {Input{.bytes = to(2, 7).bytes()}, Input{.bytes = to(2, 8).bytes()}});
    EXPECT_EQ(result.captured.size(), 1u);
    pcap_freecode(&program);
    pcap_close(handle);
}

TEST_F(Captures, MissWhatFindsNoRoomAndForwardItAllTheSame) {
    start(kIn);
    const RunResult result =
        lab_.run(kVm1, std::vector<Input>(kBurstSize, Input{.bytes = to(2, 1).bytes()}));
    EXPECT_EQ(result.outputs.size(), kBurstSize);
    EXPECT_EQ(result.captured.size(), 31u);  // a ring of 32 entries
    EXPECT_EQ(capture_.missed.load(), 1u);
}

TEST_F(Captures, OfOnePortShowNothingOfAnother) {
    start(kIn | kOut | kDropped);
    const RunResult result = lab_.run(
        kVm2, (eth(kVm2Mac, kGatewayMac) / ip4("10.0.0.2", "10.0.0.4") / udp(1, 2)).bytes());
    EXPECT_EQ(result.outputs.size(), 1u);
    EXPECT_TRUE(result.captured.empty());
}

}  // namespace
}  // namespace slash32::test
