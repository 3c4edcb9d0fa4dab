// SPDX-License-Identifier: Apache-2.0
// Offload requests: passed on where the receiver takes them, carried out where it does not.
// vm2 takes everything, vm4 nothing.
#include "tests/unit/dp/stage/oracle.h"

#include <gtest/gtest.h>

namespace slash32::test {
namespace {

constexpr uint64_t kPartial = RTE_MBUF_F_RX_L4_CKSUM_NONE;
constexpr uint64_t kLarge = RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO;
constexpr uint8_t kFin = 0x01, kPsh = 0x08, kAck = 0x10, kEce = 0x40, kCwr = 0x80;

Layer link() {
    return eth(kVm1Mac, kGatewayMac);
}
Layer ip_to(bool ipv6, int vm) {
    const std::string host = std::to_string(vm);
    return ipv6 ? ip6("2001:db8::1", "2001:db8::" + host)
                : ip4("10.0.0.1", "10.0.0." + host).df().id(0xfffe);
}
class Offloads : public testing::TestWithParam<bool> {
  protected:
    bool ipv6() const { return GetParam(); }
    uint16_t ip_header() const { return ipv6() ? 40 : 20; }
    uint64_t family_flag() const { return ipv6() ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4; }

    void expect_drop(const Input& input, DropReason reason) {
        const RunResult result = lab_.run(kVm1, {input});
        EXPECT_EQ(result.drops.size(), 1u) << describe(result);
        EXPECT_EQ(result.drops.count(reason), 1u) << describe(result);
        EXPECT_TRUE(result.outputs.empty());
    }
    Input large(int vm, size_t payload, uint16_t size, const Bytes& options = {},
                uint8_t flags = kAck) {
        return Input{.bytes = (link() / ip_to(ipv6(), vm) /
                               tcp(1000, 80, options).seq(0xfffffff0).flags(flags).partial() /
                               raw(counting(payload)))
                                  .bytes(),
                     .rx_flags = kLarge,
                     .tso_segsz = size};
    }
    // Reads the segments of `input` back into one packet, and checks each on its way.
    void expect_segments(const RunResult& result, const Input& input, size_t l3_length,
                         size_t tcp_header, uint16_t size);

    Lab lab_;
};

void Offloads::expect_segments(const RunResult& result, const Input& input, size_t l3_length,
                               size_t tcp_header, uint16_t size) {
    const size_t header = 14 + l3_length + tcp_header;
    const size_t payload = input.bytes.size() - header;
    const size_t l4 = 14 + l3_length;
    ASSERT_TRUE(result.drops.empty()) << describe(result);
    ASSERT_EQ(result.outputs.size(), (payload + size - 1) / size);
    EXPECT_EQ(result.forwarded, result.outputs.size());
    EXPECT_EQ(result.injected, result.outputs.size() - 1);
    Bytes reassembled;
    for (size_t i = 0; i < result.outputs.size(); ++i) {
        SCOPED_TRACE("segment " + std::to_string(i));
        const Bytes& frame = result.outputs[i].bytes;
        const bool last = i + 1 == result.outputs.size();
        EXPECT_EQ(result.outputs[i].tx_flags, 0u);
        EXPECT_EQ(frame.size() - header, last ? payload - i * size : size);
        if (ipv6()) {
            EXPECT_EQ(get16(frame, 18), frame.size() - 54);
        } else {
            EXPECT_EQ(get16(frame, 16), frame.size() - 14);
            EXPECT_EQ(get16(frame, 18), static_cast<uint16_t>(0xfffe + i));
            EXPECT_TRUE(ipv4_checksum_holds(frame));
        }
        EXPECT_EQ(get32(frame, l4 + 4), static_cast<uint32_t>(0xfffffff0 + i * size));
        uint8_t flags = input.bytes[l4 + 13];
        if (!last) flags &= static_cast<uint8_t>(~(kFin | kPsh));
        if (i != 0) flags &= static_cast<uint8_t>(~kCwr);
        EXPECT_EQ(frame[l4 + 13], flags);
        EXPECT_EQ(slice(frame, l4 + 20, header), slice(input.bytes, l4 + 20, header));
        EXPECT_TRUE(transport_checksum_holds(frame, l3_length, 6));
        reassembled = reassembled + slice(frame, header, frame.size());
    }
    EXPECT_TRUE(reassembled == slice(input.bytes, header, input.bytes.size()));
}

TEST_P(Offloads, PassesAPartialUdpChecksumOn) {
    const Packet packet = link() / ip_to(ipv6(), 2) / udp(1, 2).partial() / raw(counting(99));
    const RunResult result = lab_.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = kPartial}});
    ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
    const Output& out = result.outputs[0];
    EXPECT_EQ(out.tx_flags, RTE_MBUF_F_TX_UDP_CKSUM | family_flag());
    EXPECT_EQ(out.l2_length, 14);
    EXPECT_EQ(out.l3_length, ip_header());
    EXPECT_EQ(out.l4_length, 8);
    EXPECT_EQ(out.bytes, (eth(kGatewayMac, kVm2Mac) / ip_to(ipv6(), 2).ttl(63) /
                          udp(1, 2).partial() / raw(counting(99)))
                             .bytes());
}

TEST_P(Offloads, PassesAPartialTcpChecksumOn) {
    const Packet packet =
        link() / ip_to(ipv6(), 2) / tcp(1, 2, {1, 1, 1, 1}).partial() / raw(counting(99));
    const RunResult result = lab_.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = kPartial}});
    ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
    EXPECT_EQ(result.outputs[0].tx_flags, RTE_MBUF_F_TX_TCP_CKSUM | family_flag());
    EXPECT_EQ(result.outputs[0].l3_length, ip_header());
    EXPECT_EQ(result.outputs[0].l4_length, 24);
}

TEST_P(Offloads, FillsAChecksumForAReceiverThatDoesNot) {
    for (const bool is_tcp : {false, true}) {
        for (const size_t payload : {0, 1, 2, 7, 64, 1401}) {
            for (const std::vector<size_t>& segments :
                 {std::vector<size_t>{}, {61}, {1, 2, 3, 5, 60}, {100, 1, 1, 1}}) {
                const auto transport = [&] { return is_tcp ? tcp(1, 2) : udp(1, 2); };
                const Packet packet =
                    link() / ip_to(ipv6(), 4) / transport().partial() / raw(counting(payload));
                const RunResult result = lab_.run(
                    kVm1,
                    {Input{.bytes = packet.bytes(), .rx_flags = kPartial, .segments = segments}});
                ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
                EXPECT_EQ(result.outputs[0].tx_flags, 0u);
                EXPECT_EQ(result.outputs[0].buffers, 1u);
                EXPECT_EQ(hex(result.outputs[0].bytes),
                          hex((eth(kGatewayMac, kVm4Mac) / ip_to(ipv6(), 4).ttl(63) / transport() /
                               raw(counting(payload)))
                                  .bytes()));
            }
        }
    }
}

TEST_P(Offloads, NeverTrustsWhatStandsInAPartialChecksum) {
    const Packet packet = link() / ip_to(ipv6(), 4) / udp(1, 2).checksum(0xdead);
    const RunResult result = lab_.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = kPartial}});
    ASSERT_EQ(result.outputs.size(), 1u);
    EXPECT_TRUE(transport_checksum_holds(result.outputs[0].bytes, ip_header(), 17));
}

TEST_P(Offloads, FillsAUdpChecksumOfZeroWithOnes) {
    // Two payload bytes that make the sum come out as zero.
    for (uint32_t value = 0; value <= 0xffff; ++value) {
        const Bytes payload = be16(static_cast<uint16_t>(value));
        const Bytes whole = (link() / ip_to(ipv6(), 4) / udp(1, 2) / raw(payload)).bytes();
        if (get16(whole, 14u + ip_header() + 6u) != 0xffff) continue;
        const Packet packet = link() / ip_to(ipv6(), 4) / udp(1, 2).partial() / raw(payload);
        const RunResult result =
            lab_.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = kPartial}});
        ASSERT_EQ(result.outputs.size(), 1u);
        EXPECT_EQ(get16(result.outputs[0].bytes, 14u + ip_header() + 6u), 0xffff);
        return;
    }
    FAIL() << "no payload gives a checksum of zero";
}

TEST_P(Offloads, KeepsARightChecksumUntouched) {
    const Packet packet = link() / ip_to(ipv6(), 4) / tcp(1, 2).checksum(0x1234);
    const RunResult result =
        lab_.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD}});
    ASSERT_EQ(result.outputs.size(), 1u);
    EXPECT_EQ(get16(result.outputs[0].bytes, 14u + ip_header() + 16u), 0x1234);
    EXPECT_EQ(result.outputs[0].tx_flags, 0u);
}

TEST_P(Offloads, PassesALargeSegmentOnAsOnePacket) {
    Input input = large(2, 60000, 1428, {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2});
    const RunResult result = lab_.run(kVm1, {input});
    ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
    const Output& out = result.outputs[0];
    EXPECT_EQ(out.tx_flags, RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | family_flag());
    EXPECT_EQ(out.tso_segsz, 1428);
    EXPECT_EQ(out.l2_length, 14);
    EXPECT_EQ(out.l3_length, ip_header());
    EXPECT_EQ(out.l4_length, 32);
    EXPECT_EQ(out.bytes.size(), input.bytes.size());
    EXPECT_GT(out.buffers, 1u);
}

TEST_P(Offloads, TreatsALargeSegmentThatFitsAsAnOrdinaryPacket) {
    const RunResult result = lab_.run(kVm1, {large(2, 1428, 1428)});
    ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
    EXPECT_EQ(result.outputs[0].tx_flags, RTE_MBUF_F_TX_TCP_CKSUM | family_flag());
}

TEST_P(Offloads, CutsALargeSegmentForAReceiverThatTakesNone) {
    const Bytes options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
    for (const size_t payload : {1429, 2856, 2857, 20001, 64000}) {
        Input input = large(4, payload, 1428, options, kAck | kPsh | kFin | kEce | kCwr);
        expect_segments(lab_.run(kVm1, {input}), input, ip_header(), 32, 1428);
    }
}

TEST_P(Offloads, CutsChainsOfAnyShape) {
    for (const std::vector<size_t>& segments :
         {std::vector<size_t>{54}, {1, 1, 1, 1}, {100, 7, 1000, 3}, {86, 1448}, {2000, 1}}) {
        Input input = large(4, 9001, 1000);
        input.segments = segments;
        expect_segments(lab_.run(kVm1, {input}), input, ip_header(), 20, 1000);
    }
}

TEST_P(Offloads, CutsForAReceiverOfTheOtherFamilysLargeSegments) {
    lab_.tx(kVm2).offloads = kTxChecksum | kTxMultiSegment | (ipv6() ? kTxTso4 : kTxTso6);
    Input input = large(2, 5000, 1000);
    expect_segments(lab_.run(kVm1, {input}), input, ip_header(), 20, 1000);
}

TEST_P(Offloads, CutsALargeChainForAReceiverThatTakesNoChains) {
    lab_.tx(kVm2).offloads = kTxChecksum | kTxTso4 | kTxTso6;
    Input input = large(2, 5000, 1000);
    expect_segments(lab_.run(kVm1, {input}), input, ip_header(), 20, 1000);
}

TEST_P(Offloads, CutsJumboSegmentsIntoChains) {
    lab_.adjacency(kHopVm2).mtu = 9000;
    lab_.tx(kVm2).offloads = kTxMultiSegment;
    Input input = large(2, 40000, 8900);
    const RunResult result = lab_.run(kVm1, {input});
    expect_segments(result, input, ip_header(), 20, 8900);
    EXPECT_GT(result.outputs[0].buffers, 1u);
}

TEST_P(Offloads, DropsJumboSegmentsForAReceiverThatTakesNoChains) {
    lab_.adjacency(kHopVm4).mtu = 9000;
    expect_drop(large(4, 40000, 8900), DropReason::kNoOffload);
}

TEST_P(Offloads, SendsWhatFitsOfACutPacketAndCountsTheRest) {
    lab_.tx(kVm4).room = 35;
    const RunResult result = lab_.run(kVm1, {large(4, 40 * 1000, 1000)});
    EXPECT_EQ(result.forwarded, 35u);
    EXPECT_EQ(result.injected, 39u);
    EXPECT_EQ(result.drops.at(DropReason::kTxFull), 5u);
}

TEST_P(Offloads, DropsTheWholePacketWhereBuffersForItsPartsAreMissing) {
    Input input = large(4, 3000, 1000);
    lab_.exhaust_pool(4);  // two for the packet, two for three segments
    expect_drop(input, DropReason::kNoBuffer);
}

TEST_P(Offloads, RefusesASegmentSizeOfZero) {
    expect_drop(large(2, 5000, 0), DropReason::kNoOffload);
}

TEST_P(Offloads, RefusesASegmentSizeThatMakesTooManyParts) {
    expect_drop(large(2, 256 * 10 + 1, 10), DropReason::kNoOffload);
    EXPECT_TRUE(lab_.run(kVm1, {large(2, 256 * 10, 10)}).drops.empty());
    EXPECT_EQ(lab_.run(kVm1, {large(4, 256 * 10, 10)}).outputs.size(), 256u);
}

TEST_P(Offloads, RefusesUdpFragmentationOffload) {
    expect_drop(
        Input{.bytes =
                  (link() / ip_to(ipv6(), 2) / udp(1, 2).partial() / raw(counting(5000))).bytes(),
              .rx_flags = kLarge,
              .tso_segsz = 1000},
        DropReason::kNoOffload);
}

TEST_P(Offloads, RefusesAPartialChecksumOfWhatHasNone) {
    const uint8_t icmp = ipv6() ? 58 : 1;
    expect_drop(Input{.bytes = (link() / ip_to(ipv6(), 2).proto(icmp) / raw(counting(8))).bytes(),
                      .rx_flags = kPartial},
                DropReason::kNoOffload);
    expect_drop(Input{.bytes = (link() / ip_to(ipv6(), 2).proto(132) / raw(counting(16))).bytes(),
                      .rx_flags = kPartial},
                DropReason::kNoOffload);
    expect_drop(Input{.bytes = (link() / ip_to(ipv6(), 2).proto(50) / raw(counting(16))).bytes(),
                      .rx_flags = kPartial},
                DropReason::kNoOffload);
}

TEST_P(Offloads, RefusesAPartialChecksumWithAUdpLengthThatLies) {
    expect_drop(
        Input{
            .bytes = (link() / ip_to(ipv6(), 2) / udp(1, 2).length(20) / raw(counting(20))).bytes(),
            .rx_flags = kPartial},
        DropReason::kNoOffload);
}

TEST_P(Offloads, RefusesAPartialChecksumOfAFragment) {
    Packet packet =
        ipv6() ? link() / ip_to(true, 2) / fragment6(0, true) / tcp(1, 2) / raw(Bytes(4))
               : link() / ip4("10.0.0.1", "10.0.0.2").fragment(0, true) / tcp(1, 2) / raw(Bytes(4));
    expect_drop(Input{.bytes = packet.bytes(), .rx_flags = kPartial}, DropReason::kNoOffload);
}

TEST_P(Offloads, TellsTheMtuWhereSegmentsExceedIt) {
    lab_.adjacency(kHopVm2).mtu = 1400;
    const RunResult result = lab_.run(kVm1, {large(2, 20000, 1448)});
    EXPECT_EQ(result.drops.at(DropReason::kTooBig), 1u);
    ASSERT_EQ(result.outputs.size(), 1u);
    const Bytes& error = result.outputs[0].bytes;
    EXPECT_EQ(result.outputs[0].port, kVm1);
    EXPECT_EQ(result.outputs[0].tx_flags, 0u);
    EXPECT_EQ(error.size(), ipv6() ? 14u + 1280 : 14u + 576);
    EXPECT_EQ(get32(error, 14u + ip_header() + 4), 1400u);
}

INSTANTIATE_TEST_SUITE_P(Family, Offloads, testing::Values(false, true),
                         [](const auto& family) { return family.param ? "Ipv6" : "Ipv4"; });

TEST(OffloadsOfIpv6, FillsChecksumsBehindExtensionHeaders) {
    Lab lab;
    const auto chain = [](Layer link_layer, Layer transport, uint8_t ttl) {
        return std::move(link_layer) / ip6("2001:db8::1", "2001:db8::2").ttl(ttl) / options6(60) /
               std::move(transport) / raw(counting(33));
    };
    const RunResult result = lab.run(
        kVm1,
        {Input{.bytes = chain(link(), tcp(1, 2).partial(), 64).bytes(), .rx_flags = kPartial}});
    ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
    EXPECT_EQ(result.outputs[0].tx_flags, 0u);
    EXPECT_EQ(result.outputs[0].bytes, chain(eth(kGatewayMac, kVm2Mac), tcp(1, 2), 63).bytes());
}

TEST(OffloadsOfIpv6, CutsLargeSegmentsBehindExtensionHeaders) {
    Lab lab;
    const Packet packet =
        link() / ip6("2001:db8::1", "2001:db8::2") / options6(0) / tcp(1, 2) / raw(counting(5000));
    const RunResult result =
        lab.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = kLarge, .tso_segsz = 1000}});
    ASSERT_EQ(result.outputs.size(), 5u) << describe(result);
    for (const Output& out : result.outputs)
        EXPECT_TRUE(transport_checksum_holds(out.bytes, 48, 6));
}

TEST(OffloadsOfIpv6, RefusesAPartialChecksumWithARoutingHeader) {
    Lab lab;
    const Packet packet = link() / ip6("2001:db8::1", "2001:db8::2") / routing6(3, 0) / tcp(1, 2);
    const RunResult result = lab.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = kPartial}});
    EXPECT_EQ(result.drops.at(DropReason::kNoOffload), 1u);
}

TEST(OffloadsOfIpv4, MakesSegmentsSmallerWhereTheyMayBeFragmented) {
    Lab lab;
    lab.adjacency(kHopVm2).mtu = 1400;
    const Packet packet = link() / ip4("10.0.0.1", "10.0.0.2") / tcp(1, 2) / raw(counting(20000));
    const RunResult result =
        lab.run(kVm1, {Input{.bytes = packet.bytes(), .rx_flags = kLarge, .tso_segsz = 1448}});
    ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
    EXPECT_EQ(result.outputs[0].tso_segsz, 1360);
}

// A receiver without chains, and packets that need no other work.
TEST(Chains, GoToOneBufferForAReceiverThatTakesNone) {
    Lab lab;
    const auto packet = [](Layer link_layer, uint8_t ttl) {
        return (std::move(link_layer) / ip4("10.0.0.1", "10.0.0.4").ttl(ttl) / udp(1, 2) /
                raw(counting(1400)))
            .bytes();
    };
    for (const std::vector<size_t>& segments :
         {std::vector<size_t>{700}, {42, 500, 500}, {1, 1, 1, 1, 1}}) {
        const RunResult result =
            lab.run(kVm1, {Input{.bytes = packet(link(), 64), .segments = segments}});
        ASSERT_EQ(result.outputs.size(), 1u) << describe(result);
        EXPECT_EQ(result.outputs[0].buffers, 1u);
        EXPECT_EQ(result.outputs[0].bytes, packet(eth(kGatewayMac, kVm4Mac), 63));
    }
}

TEST(Chains, AreDroppedWhereNoBufferIsLargeEnough) {
    Lab lab;
    lab.adjacency(kHopVm4).mtu = 9000;
    const Packet packet = link() / ip4("10.0.0.1", "10.0.0.4") / udp(1, 2) / raw(counting(5000));
    const RunResult result = lab.run(kVm1, packet.bytes());
    EXPECT_EQ(result.drops.at(DropReason::kNoOffload), 1u);
}

TEST(Chains, PassUnchangedToAReceiverThatTakesThem) {
    Lab lab;
    lab.adjacency(kHopVm2).mtu = 9000;
    const Packet packet = link() / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2) / raw(counting(8000));
    const RunResult result = lab.run(kVm1, packet.bytes());
    ASSERT_EQ(result.outputs.size(), 1u);
    EXPECT_EQ(result.outputs[0].buffers, 4u);
    EXPECT_EQ(result.outputs[0].tx_flags, 0u);
}

class Fragments : public testing::Test {
  protected:
    // Sends `packet` over a link of `mtu` and returns the fragments, first checks of each done.
    std::vector<Bytes> cut(const Input& input, uint16_t mtu) {
        lab_.adjacency(kHopVm2).mtu = mtu;
        const RunResult result = lab_.run(kVm1, {input});
        EXPECT_TRUE(result.drops.empty()) << describe(result);
        EXPECT_EQ(result.injected, result.outputs.size() - 1);
        std::vector<Bytes> frames;
        for (const Output& out : result.outputs) {
            EXPECT_LE(out.bytes.size(), 14u + mtu);
            EXPECT_EQ(out.bytes[22], 63);  // the TTL, lower by one
            EXPECT_EQ(get16(out.bytes, 18), 0x4242);
            EXPECT_EQ(out.tx_flags, 0u);
            frames.push_back(out.bytes);
        }
        return frames;
    }
    static Layer ip(const Bytes& options = {}) {
        return ip4("10.0.0.1", "10.0.0.2", options).id(0x4242);
    }
    Lab lab_;
};

TEST_F(Fragments, MakeTheWholePacketAgain) {
    for (const size_t payload : {1473u, 1480u, 2952u, 2953u, 9000u, 65000u}) {
        for (const uint16_t mtu : std::vector<uint16_t>{1280, 1281, 1287, 1500}) {
            if (payload + 28 <= mtu) continue;
            const Packet packet = link() / ip() / udp(1, 2) / raw(counting(payload));
            const Bytes whole = (ip() / udp(1, 2) / raw(counting(payload))).payload();
            EXPECT_TRUE(reassemble_ipv4(cut(Input{.bytes = packet.bytes()}, mtu)) ==
                        slice(packet.bytes(), 34, packet.bytes().size()));
            EXPECT_EQ(whole.size(), payload + 8);
        }
    }
}

TEST_F(Fragments, CopyOnlyTheOptionsThatSaySo) {
    // Record route (not copied), no-operation, router alert (copied).
    const Bytes options = {7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0};
    const Packet packet = link() / ip(options) / udp(1, 2) / raw(counting(4000));
    const std::vector<Bytes> frames = cut(Input{.bytes = packet.bytes()}, 1500);
    ASSERT_EQ(frames.size(), 3u);
    EXPECT_EQ(slice(frames[0], 34, 46), options);
    EXPECT_EQ(frames[1][14], 0x46);
    EXPECT_EQ(slice(frames[1], 34, 38), (Bytes{0x94, 4, 0, 0}));
    EXPECT_TRUE(reassemble_ipv4(frames) == slice(packet.bytes(), 46, packet.bytes().size()));
}

TEST_F(Fragments, OfAFragmentKeepItsPlace) {
    const Packet middle = link() / ip().fragment(2960, true).proto(17) / raw(counting(1480));
    const std::vector<Bytes> frames = cut(Input{.bytes = middle.bytes()}, 1280);
    ASSERT_EQ(frames.size(), 2u);
    EXPECT_EQ(get16(frames[0], 20), 0x2000 | 2960 / 8);
    EXPECT_EQ(get16(frames[1], 20), 0x2000 | (2960 + 1256) / 8);
    EXPECT_EQ(slice(frames[0], 34, frames[0].size()) + slice(frames[1], 34, frames[1].size()),
              counting(1480));
}

TEST_F(Fragments, HaveTheChecksumOfTheWholeFilledBefore) {
    const Packet packet = link() / ip() / udp(1, 2).partial() / raw(counting(4000));
    const Bytes payload =
        reassemble_ipv4(cut(Input{.bytes = packet.bytes(), .rx_flags = kPartial}, 1500));
    const Bytes expected = (link() / ip() / udp(1, 2) / raw(counting(4000))).bytes();
    EXPECT_TRUE(payload == slice(expected, 34, expected.size()));
}

TEST_F(Fragments, OfChainsMakeTheWholePacketAgain) {
    const Packet packet = link() / ip() / udp(1, 2) / raw(counting(5001));
    for (const std::vector<size_t>& segments :
         {std::vector<size_t>{42}, {1, 2, 3, 4}, {1000, 1, 1000}}) {
        EXPECT_TRUE(reassemble_ipv4(cut(Input{.bytes = packet.bytes(), .segments = segments},
                                        1500)) == slice(packet.bytes(), 34, packet.bytes().size()));
    }
}

TEST_F(Fragments, AreAllOrNothingWhereBuffersAreMissing) {
    const Packet packet = link() / ip() / udp(1, 2) / raw(counting(4000));
    lab_.adjacency(kHopVm2).mtu = 1500;
    lab_.exhaust_pool(4);  // two for the packet, two for three fragments
    const RunResult result = lab_.run(kVm1, packet.bytes());
    EXPECT_EQ(result.drops.at(DropReason::kNoBuffer), 1u);
    EXPECT_TRUE(result.outputs.empty());
}

TEST_F(Fragments, AreNotMadeWhereNoPayloadFits) {
    const Packet packet = link() / ip() / udp(1, 2) / raw(counting(100));
    lab_.adjacency(kHopVm2).mtu = 27;
    const RunResult result = lab_.run(kVm1, packet.bytes());
    // Not even the headers fit: the sender is told.
    EXPECT_EQ(result.drops.at(DropReason::kTooBig), 1u);
}

TEST_F(Fragments, AreNotMadeInNumbersBeyondTheLimit) {
    const Packet packet = link() / ip() / udp(1, 2) / raw(counting(3000));
    lab_.adjacency(kHopVm2).mtu = 29;
    const RunResult result = lab_.run(kVm1, packet.bytes());
    EXPECT_EQ(result.drops.at(DropReason::kSegmentationFailed), 1u);
}

}  // namespace
}  // namespace slash32::test
