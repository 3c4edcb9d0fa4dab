// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/tunnel_error.h"

#include "tests/support/packet.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace slash32::test {
namespace {

const char* const kOurs = "fc00:0:1::";
const char* const kSid = "fc00:0:2:7::";

// What a router says of a packet that it has got from us.
Bytes about(uint8_t type, uint32_t rest, const Packet& quoted) {
    const Bytes outer = quoted.payload();
    return (eth(mac("02:00:00:00:00:99"), mac("02:00:00:00:00:01")) /
            ip6("2001:db8:ffff::9", kOurs) / icmp6(type, 0, rest) / raw(outer))
        .bytes();
}

Packet tunnelled(const Layer& inner, const Layer& transport) {
    return eth({}, {}) / ip6(kOurs, kSid) / inner / transport / raw(counting(64));
}

Bytes too_big(const Layer& inner, const Layer& transport, uint32_t mtu = 1400) {
    return about(kIcmp6TooBig, mtu, tunnelled(inner, transport));
}

TEST(TunnelError, SaysWhoseInnerPacketItWas) {
    const auto four = read_tunnel_error(too_big(ip4("10.7.0.1", "10.7.0.2"), udp(1, 2)));
    ASSERT_TRUE(four);
    EXPECT_EQ(four->type, kIcmp6TooBig);
    EXPECT_EQ(four->mtu, 1400u);
    EXPECT_EQ(four->last_segment, parse_ip(kSid)->ipv6());
    EXPECT_EQ(four->outer, 40u);
    EXPECT_EQ(four->kind, PacketKind::kIpv4);
    EXPECT_EQ(to_string(four->src), "10.7.0.1");
    EXPECT_EQ(to_string(four->dst), "10.7.0.2");

    const auto six = read_tunnel_error(
        about(kIcmp6TimeExceeded, 0, tunnelled(ip6("2001:db8:7::1", "2001:db8:7::2"), tcp(1, 2))));
    ASSERT_TRUE(six);
    EXPECT_EQ(six->type, kIcmp6TimeExceeded);
    EXPECT_EQ(six->kind, PacketKind::kIpv6);
    EXPECT_EQ(to_string(six->dst), "2001:db8:7::2");
}

TEST(TunnelError, KnowsTheLastOfSeveralSegments) {
    const Packet outer = eth({}, {}) / ip6(kOurs, "fc00:0:5::") / srh(1, {kSid, "fc00:0:5::"}) /
                         ip4("10.7.0.1", "10.7.0.2") / udp(1, 2) / raw(counting(9));
    const auto error = read_tunnel_error(about(kIcmp6Unreachable, 0, outer));
    ASSERT_TRUE(error);
    EXPECT_EQ(error->last_segment, parse_ip(kSid)->ipv6());
    EXPECT_EQ(error->outer, 40u + 8 + 2 * 16);
    EXPECT_EQ(to_string(error->src), "10.7.0.1");
}

TEST(TunnelError, IsNoneWhereTooLittleIsQuoted) {
    const Packet outer = eth({}, {}) / ip6(kOurs, "fc00:0:5::") / srh(0, {kSid}) /
                         ip6("2001:db8:7::1", "2001:db8:7::2") / udp(1, 2);
    const Bytes whole = about(kIcmp6Unreachable, 0, outer);
    const size_t least = 14 + 40 + 8 + 40 + 24 + 40;
    for (size_t n = 0; n <= whole.size(); ++n) {
        const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
        EXPECT_EQ(read_tunnel_error(part).has_value(), n >= least) << n;
    }
    // No IP inside, and a routing header of another kind.
    EXPECT_FALSE(read_tunnel_error(
        about(1, 0, eth({}, {}) / ip6(kOurs, kSid) / udp(1, 2) / raw(counting(64)))));
    EXPECT_FALSE(read_tunnel_error(about(1, 0,
                                         eth({}, {}) / ip6(kOurs, kSid) / routing6(3, 1) /
                                             ip4("10.0.0.1", "10.0.0.2") / udp(1, 2))));
}

struct Translation {
    const char* name;
    Bytes frame;
    std::string want;  // "unreachable", "too big 1360", "" for nothing
};

class TunnelErrorTranslation : public ::testing::TestWithParam<Translation> {};

TEST_P(TunnelErrorTranslation, IsAsRfc2473Says) {
    const auto error = read_tunnel_error(GetParam().frame);
    ASSERT_TRUE(error);
    const auto said = translate(*error, GetParam().frame);
    std::string text;
    if (said)
        text = said->error == IcmpError::kTooBig ? "too big " + std::to_string(said->mtu)
                                                 : "unreachable";
    EXPECT_EQ(text, GetParam().want);
}

const Layer kFour = ip4("10.7.0.1", "10.7.0.2");
const Layer kFourDf = ip4("10.7.0.1", "10.7.0.2").df();
const Layer kSix = ip6("2001:db8:7::1", "2001:db8:7::2");

INSTANTIATE_TEST_SUITE_P(
    Cases, TunnelErrorTranslation,
    ::testing::Values(
        Translation{"UnreachableOfIpv4", about(1, 0, tunnelled(kFour, udp(1, 2))), "unreachable"},
        Translation{"UnreachableOfIpv6", about(1, 0, tunnelled(kSix, tcp(1, 2))), "unreachable"},
        Translation{"HopLimit", about(3, 0, tunnelled(kFour, udp(1, 2))), "unreachable"},
        Translation{"ParameterProblem", about(4, 0, tunnelled(kSix, udp(1, 2))), "unreachable"},
        Translation{"TooBigOfIpv6", too_big(kSix, tcp(1, 2)), "too big 1360"},
        Translation{"TooBigOfIpv4ThatMayNotBeFragmented", too_big(kFourDf, tcp(1, 2)),
                    "too big 1360"},
        Translation{"TooBigOfIpv4ThatMayBeFragmented", too_big(kFour, tcp(1, 2)), ""},
        Translation{"TooBigForLessThanTheLeastOfIpv6", too_big(kSix, udp(1, 2), 600),
                    "too big 1240"},
        Translation{"TooBigForMoreThanALinkHas", too_big(kSix, udp(1, 2), UINT32_MAX),
                    "too big 65495"},
        Translation{"OfAnEcho", too_big(kFourDf, icmp4(8, 0)), "too big 1360"},
        Translation{"OfAnEchoOfIpv6", too_big(kSix, icmp6(128, 0)), "too big 1360"},
        Translation{"OfAnIcmpError", too_big(kFourDf, icmp4(3, 0)), ""},
        Translation{"OfAnIcmp6Error", too_big(kSix, icmp6(1, 0)), ""},
        Translation{
            "OfALaterFragment",
            about(1, 0, tunnelled(ip4("10.7.0.1", "10.7.0.2").fragment(64, true), udp(1, 2))), ""},
        Translation{"OfAGroup", about(1, 0, tunnelled(ip4("10.7.0.1", "224.0.0.1"), udp(1, 2))),
                    ""}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace slash32::test
