// SPDX-License-Identifier: Apache-2.0
// The parse stage has a short way for usual packets and a long one for all. A packet in two buffers
// goes the long way, so whatever the short one makes of the same bytes in one buffer has an oracle.
#include "dp/stage/parse_plain.h"
#include "dp/stage/stages.h"
#include "tests/support/lab.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace slash32::test {
namespace {

Layer link() {
    return eth(kVm1Mac, kGatewayMac);
}

// What the stage tells the next ones of one packet.
struct Parsed {
    std::string reason = "none";  // why it was dropped
    std::string masks;
    uint32_t length = 0;
    size_t l3 = 0;  // from the packet's first byte; 0 where not set
    PacketMeta meta;
};

class ParseTest : public testing::Test {
  protected:
    Parsed parse_one(const Input& input) {
        WorkerContext& context = lab_.context();
        Burst burst;
        burst.in = &lab_.port(kVm1);
        burst.packets[0] = lab_.make_mbuf(input);
        burst.live = 1;
        const Drops before = drops();
        parse(context, burst);
        Parsed parsed;
        if (burst.live == 0) {
            const Drops after = drops();
            for (size_t i = 0; i < after.size(); ++i)
                if (after[i] != before[i]) parsed.reason = drop_reason_name(DropReason(i));
            return parsed;
        }
        rte_mbuf* packet = burst.packets[0];
        parsed.meta = burst.meta[0];
        parsed.length = packet->pkt_len;
        if (parsed.meta.l3 != nullptr)
            parsed.l3 = static_cast<size_t>(parsed.meta.l3 - rte_pktmbuf_mtod(packet, uint8_t*));
        for (const uint32_t mask : {burst.arp, burst.ipv4, burst.ipv6, burst.icmp, burst.icmp6,
                                    burst.segment_routing, burst.fragments, burst.group})
            parsed.masks += std::to_string(mask);
        rte_pktmbuf_free(packet);
        return parsed;
    }

    PacketKind plain(const Input& input) {
        rte_mbuf* packet = lab_.make_mbuf(input);
        PacketMeta meta;
        const PacketKind kind = PlainParser(lab_.port(kVm1)).parse(packet, meta);
        rte_pktmbuf_free(packet);
        return kind;
    }

    void expect_same(const Parsed& one, const Parsed& two) {
        EXPECT_EQ(one.reason, two.reason);
        EXPECT_EQ(one.masks, two.masks);
        EXPECT_EQ(one.length, two.length);
        EXPECT_EQ(one.l3, two.l3);
        EXPECT_EQ(one.meta.ip_length, two.meta.ip_length);
        EXPECT_EQ(one.meta.l3_length, two.meta.l3_length);
        EXPECT_EQ(one.meta.l4_length, two.meta.l4_length);
        EXPECT_EQ(one.meta.protocol, two.meta.protocol);
        EXPECT_EQ(one.meta.kind, two.meta.kind);
        EXPECT_EQ(one.meta.flags, two.meta.flags);
        EXPECT_EQ(one.meta.fragment_header, two.meta.fragment_header);
        EXPECT_EQ(one.meta.next_hop, two.meta.next_hop);
        EXPECT_EQ(one.meta.out_port, two.meta.out_port);
    }

  private:
    using Drops = std::array<uint64_t, kDropReasonCount>;
    Drops drops() {
        Drops values;
        const PortCounters& counters = lab_.context().port_counters(kVm1);
        for (size_t i = 0; i < values.size(); ++i)
            values[i] = counters.drops[i].get();
        return values;
    }

    Lab lab_;
};

TEST_F(ParseTest, UsualPacketsGoTheShortWay) {
    for (const bool padded : {false, true}) {
        const Bytes padding(padded ? 9 : 0, 0xee);
        const auto kind = [&](Layer ip, Layer transport) {
            const Packet packet = link() / std::move(ip) / std::move(transport) / raw(counting(7));
            return plain(Input{.bytes = packet.bytes() + padding});
        };
        EXPECT_EQ(kind(ip4("10.0.0.1", "10.0.0.2"), udp(1, 2)), PacketKind::kIpv4);
        EXPECT_EQ(kind(ip4("223.255.255.255", "1.0.0.0"), tcp(1, 2)), PacketKind::kIpv4);
        EXPECT_EQ(kind(ip4("10.0.0.1", "10.0.0.2").df().tos(3), tcp(1, 2, {1, 1, 1, 0})),
                  PacketKind::kIpv4);
        EXPECT_EQ(kind(ip6("2001:db8::1", "2001:db8::2"), udp(1, 2)), PacketKind::kIpv6);
        EXPECT_EQ(kind(ip6("fd00::1", "fc00::2"), tcp(1, 2)), PacketKind::kIpv6);
    }
}

TEST_F(ParseTest, OthersDoNot) {
    const auto none = [&](const Packet& packet, uint64_t rx_flags = 0,
                          const std::vector<size_t>& segments = {}) {
        EXPECT_EQ(plain(Input{.bytes = packet.bytes(), .rx_flags = rx_flags, .segments = segments}),
                  PacketKind::kUnknown)
            << hex(packet.bytes());
    };
    const Layer ip = ip4("10.0.0.1", "10.0.0.2");
    none(link() / ip4("10.0.0.1", "10.0.0.2", {1, 1, 1, 1}) / udp(1, 2));
    none(link() / ip4("10.0.0.1", "10.0.0.2").fragment(0, true) / udp(1, 2) / raw(counting(8)));
    none(link() / ip4("10.0.0.1", "10.0.0.2").fragment(16, false) / udp(1, 2));
    none(link() / ip4("10.0.0.1", "10.0.0.2").checksum(1) / udp(1, 2));
    none(link() / ip4("127.0.0.1", "10.0.0.2") / udp(1, 2));
    none(link() / ip4("10.0.0.1", "224.0.0.1") / udp(1, 2));
    none(link() / ip / icmp4(8, 0));
    none(link() / ip6("fe80::1", "2001:db8::2") / udp(1, 2));
    none(link() / ip6("2001:db8::1", "ff02::1") / udp(1, 2));
    none(link() / ip6("::", "2001:db8::2") / udp(1, 2));
    none(link() / ip6("2001:db8::1", "2001:db8::2") / options6(60) / udp(1, 2));
    none(eth(kVm1Mac, kBroadcastMac) / ip / udp(1, 2));
    none(eth(kZeroMac, kGatewayMac) / ip / udp(1, 2));
    none(eth(mac("53:54:00:00:00:01"), kGatewayMac) / ip / udp(1, 2));
    none(link() / ip / udp(1, 2), RTE_MBUF_F_RX_VLAN);
    none(link() / ip / udp(1, 2), RTE_MBUF_F_RX_L4_CKSUM_NONE);
    none(link() / ip / tcp(1, 2), RTE_MBUF_F_RX_LRO);
    none(link() / ip / udp(1, 2) / raw(counting(9)), 0, {20});
}

// Frames that are nearly right: one of the usual ones, and up to three of its bytes, its length or
// its sender's claims changed.
class Frames {
  public:
    Input next() {
        Input input{.bytes = kUsual[below(kUsual.size())]};
        for (unsigned i = below(4); i > 0; --i)
            input.bytes[below(input.bytes.size())] = value();
        if (below(2) != 0) repair(input.bytes);
        if (below(4) == 0) input.bytes.resize(15 + below(input.bytes.size()), 0xee);
        if (below(8) == 0) input.rx_flags = kFlags[below(kFlags.size())];
        if (below(8) == 0) input.tso_segsz = static_cast<uint16_t>(1 + below(99));
        return input;
    }
    unsigned below(size_t n) { return static_cast<unsigned>(random_() % n); }

  private:
    // Of the values at which something changes, or any.
    uint8_t value() {
        static constexpr std::array<uint8_t, 16> kEdges = {
            0, 1, 5, 6, 0x11, 0x45, 0x46, 0x60, 0x7f, 0x80, 0xdf, 0xe0, 0xf0, 0xfd, 0xfe, 0xff};
        return below(2) != 0 ? kEdges[below(kEdges.size())] : static_cast<uint8_t>(random_());
    }
    // The IPv4 header's checksum: else nearly every change of it is found by that.
    static void repair(Bytes& frame) {
        if (frame[12] != 0x08 || frame[13] != 0x00) return;
        frame[24] = frame[25] = 0;
        const Bytes header(frame.begin() + 14, frame.begin() + 34);
        const auto sum = static_cast<uint16_t>(~naive_sum(header));
        frame[24] = static_cast<uint8_t>(sum >> 8);
        frame[25] = static_cast<uint8_t>(sum);
    }

    const std::vector<Bytes> kUsual = {
        (link() / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2) / raw(counting(18))).bytes(),
        (link() / ip4("10.0.0.1", "10.0.0.2") / tcp(1, 2, {1, 1, 1, 0}) / raw(counting(9))).bytes(),
        (link() / ip4("10.0.0.1", "10.0.0.2") / icmp4(8, 0) / raw(counting(18))).bytes(),
        (link() / ip6("2001:db8::1", "2001:db8::2") / udp(1, 2) / raw(counting(18))).bytes(),
        (link() / ip6("2001:db8::1", "2001:db8::2") / tcp(1, 2) / raw(counting(9))).bytes(),
        (link() / ip6("2001:db8::1", "2001:db8::2") / options6(60) / udp(1, 2)).bytes(),
    };
    const std::vector<uint64_t> kFlags = {
        RTE_MBUF_F_RX_VLAN,          RTE_MBUF_F_RX_VLAN_STRIPPED, RTE_MBUF_F_RX_LRO,
        RTE_MBUF_F_RX_L4_CKSUM_NONE, RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_BAD,
        RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_IP_CKSUM_NONE,
    };
    std::mt19937_64 random_{32};
};

TEST_F(ParseTest, TheShortWayFindsWhatTheLongOneDoes) {
    constexpr unsigned kFrames = 300'000;
    Frames frames;
    unsigned short_ways = 0;
    for (unsigned n = 0; n < kFrames && !HasFailure(); ++n) {
        Input input = frames.next();
        SCOPED_TRACE(hex(input.bytes) + ", flags " + std::to_string(input.rx_flags));
        short_ways += plain(input) != PacketKind::kUnknown;
        const Parsed one = parse_one(input);
        input.segments = {1 + frames.below(input.bytes.size() - 1)};
        expect_same(one, parse_one(input));
    }
    // Neither way is left out.
    EXPECT_GT(short_ways, kFrames / 10);
    EXPECT_LT(short_ways, kFrames / 10 * 9);
}

}  // namespace
}  // namespace slash32::test
