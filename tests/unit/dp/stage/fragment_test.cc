// SPDX-License-Identifier: Apache-2.0
// Fragments and the filter: sequences of parts through the real pipeline. vm1 may send anything;
// vm2 takes UDP to port 53 and nothing else.
#include "dp/packet/headers.h"
#include "tests/support/lab.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace slash32::test {
namespace {

constexpr const char* kOutside = "198.51.100.9";

PolicyRule dns(Family family, bool stateful) {
    PolicyRule rule = any(PolicyDirection::kIngress, family);
    rule.protocol = kProtoUdp;
    rule.low = rule.high = 53;
    rule.stateful = stateful;
    return rule;
}

// A UDP datagram in parts of 8 bytes of its payload, or more.
struct Datagram {
    bool ipv6 = false;
    uint16_t port = 53;
    uint16_t id = 7;
    uint16_t length = 64;  // with the UDP header
    const char* source = nullptr;

    Packet part(uint16_t begin, uint16_t end) const {
        const bool more = end < length;
        Packet packet = eth(kVm1Mac, kGatewayMac);
        packet = ipv6 ? packet / ip6("2001:db8::1", "2001:db8::2") / fragment6(begin, more, id)
                      : packet / ip4(source != nullptr ? source : "10.0.0.1", "10.0.0.2")
                                     .id(id)
                                     .fragment(begin, more)
                                     .proto(kProtoUdp);
        if (begin == 0) {
            Layer header = udp(4000, port).length(length).checksum(0x1234);
            return packet / std::move(header) / raw(counting(end - 8u));
        }
        Packet whole = packet / raw(counting(static_cast<size_t>(end - begin)));
        return whole;
    }
};

// The behaviours hold for both families, by stateful rules and by stateless ones.
class Fragments : public testing::TestWithParam<std::tuple<bool, bool>> {
  protected:
    Fragments() {
        const auto family = ipv6() ? Family::kIpv6 : Family::kIpv4;
        PolicyRule out = any(PolicyDirection::kEgress, family);
        out.stateful = stateful();
        lab_.set_policy(kVm1, {out});
        lab_.set_policy(kVm2, {dns(family, stateful())});
    }
    static bool ipv6() { return std::get<0>(GetParam()); }
    static bool stateful() { return std::get<1>(GetParam()); }
    static Datagram datagram(uint16_t port = 53, uint16_t id = 7) {
        return {.ipv6 = ipv6(), .port = port, .id = id};
    }

    // What became of the parts: "2" passed two, "denied_ingress", "waits".
    std::string outcome(const std::vector<Packet>& parts, PortId from = kVm1) {
        std::vector<Input> inputs;
        inputs.reserve(parts.size());
        for (const Packet& part : parts)
            inputs.push_back(Input{.bytes = part.bytes()});
        return say(lab_.run(from, inputs));
    }
    static std::string say(const RunResult& result) {
        std::string text;
        if (!result.outputs.empty()) text = std::to_string(result.outputs.size());
        for (const auto& [reason, count] : result.drops) {
            if (!text.empty()) text += " ";
            text += std::string(drop_reason_name(reason)) + " x " + std::to_string(count);
        }
        return text.empty() ? "waits" : text;
    }
    static std::string refused(DropReason reason, int times = 1) {
        return std::string(drop_reason_name(reason)) + " x " + std::to_string(times);
    }
    std::string outcome(const Packet& part) { return outcome(std::vector<Packet>{part}); }
    size_t waiting() { return lab_.context().fragments.waiting(kVm1); }

    Lab lab_;
};

std::string name(const testing::TestParamInfo<std::tuple<bool, bool>>& test) {
    return std::string(std::get<0>(test.param) ? "Ipv6" : "Ipv4") +
           (std::get<1>(test.param) ? "Stateful" : "Stateless");
}
INSTANTIATE_TEST_SUITE_P(All, Fragments, testing::Combine(testing::Bool(), testing::Bool()), name);

class StatefulFragments : public Fragments {};
INSTANTIATE_TEST_SUITE_P(All, StatefulFragments,
                         testing::Combine(testing::Bool(), testing::Values(true)), name);

TEST_P(Fragments, PassByThePortsOfTheFirst) {
    const Datagram d = datagram();
    EXPECT_EQ(outcome(d.part(0, 32)), "1");
    EXPECT_EQ(outcome(d.part(32, 48)), "1");
    EXPECT_EQ(outcome(d.part(48, 64)), "1");
}

TEST_P(Fragments, OfOneBurstPassTogether) {
    const Datagram d = datagram();
    EXPECT_EQ(outcome({d.part(0, 32), d.part(32, 48), d.part(48, 64)}), "3");
}

TEST_P(Fragments, AreDeniedByThePortsOfTheFirst) {
    const Datagram d = datagram(54);
    EXPECT_EQ(outcome(d.part(0, 32)), refused(DropReason::kDeniedIngress));
    EXPECT_EQ(outcome(d.part(32, 64)), refused(DropReason::kDeniedIngress));
    EXPECT_EQ(outcome({d.part(0, 32), d.part(32, 64)}), refused(DropReason::kDeniedIngress, 2));
}

TEST_P(Fragments, ThatComeBeforeTheFirstWaitForIt) {
    const Datagram d = datagram();
    EXPECT_EQ(outcome(d.part(48, 64)), "waits");
    EXPECT_EQ(outcome(d.part(32, 48)), "waits");
    EXPECT_EQ(waiting(), 2u);
    EXPECT_EQ(outcome(d.part(0, 32)), "3");
    EXPECT_EQ(waiting(), 0u);
}

TEST_P(Fragments, ThatWaitedAreSentUnchangedAndInOrder) {
    const Datagram d = datagram();
    outcome({d.part(48, 64), d.part(32, 48)});
    const RunResult result = lab_.run(kVm1, d.part(0, 32).bytes());
    ASSERT_EQ(result.outputs.size(), 3u);
    size_t at = 0;
    for (const auto& [begin, end] : {std::pair<uint16_t, uint16_t>{0, 32}, {32, 48}, {48, 64}}) {
        Bytes sent = d.part(begin, end).bytes();
        const Bytes& came = result.outputs[at++].bytes;
        // But for the addresses of the link, and the hop limit.
        const size_t from = ipv6() ? 14 + 8 : 14 + 12;
        EXPECT_EQ(hex(Bytes(sent.begin() + from, sent.end())),
                  hex(Bytes(came.begin() + from, came.end())));
        EXPECT_EQ(hex(Bytes(came.begin(), came.begin() + 6)), hex(mac_bytes(kVm2Mac)));
    }
}

TEST_P(Fragments, ThatWaitedAreDeniedByThePortsOfTheFirst) {
    const Datagram d = datagram(54);
    EXPECT_EQ(outcome({d.part(32, 64), d.part(0, 32)}), refused(DropReason::kDeniedIngress, 2));
}

TEST_P(Fragments, InAnyOrderAllPass) {
    std::mt19937 random(1);
    for (uint16_t id = 1; id <= 200; ++id) {
        const Datagram d{.ipv6 = ipv6(), .port = 53, .id = id, .length = 160};
        std::vector<Packet> parts;
        for (uint16_t begin = 0; begin < 160; begin += 16)
            parts.push_back(d.part(begin, static_cast<uint16_t>(begin + 16)));
        std::shuffle(parts.begin(), parts.end(), random);
        size_t passed = 0;
        for (const Packet& part : parts) {
            const RunResult result = lab_.run(kVm1, part.bytes());
            EXPECT_TRUE(result.drops.empty()) << describe(result);
            passed += result.outputs.size();
        }
        EXPECT_EQ(passed, parts.size());
    }
    EXPECT_EQ(waiting(), 0u);
}

TEST_P(Fragments, WithoutAFirstAreDroppedInTime) {
    const Datagram d = datagram();
    outcome(d.part(32, 64));
    lab_.advance_seconds(kFragmentSeconds - 1);
    EXPECT_EQ(waiting(), 1u);
    lab_.advance_seconds(1);
    EXPECT_EQ(waiting(), 0u);
    const auto& drops = lab_.context().port_counters(kVm1).drops;
    EXPECT_EQ(drops[static_cast<size_t>(DropReason::kFragmentTimeout)].get(), 1u);
    // What comes later waits anew.
    EXPECT_EQ(outcome(d.part(32, 64)), "waits");
}

TEST_P(Fragments, ThatHavePassedBeforeAreDropped) {
    const Datagram d = datagram();
    outcome({d.part(0, 32), d.part(32, 48)});
    EXPECT_EQ(outcome(d.part(32, 48)), refused(DropReason::kFragmentDuplicate));
    EXPECT_EQ(outcome(d.part(40, 48)), refused(DropReason::kFragmentDuplicate));
    EXPECT_EQ(outcome(d.part(48, 64)), "1");
}

TEST_P(Fragments, FloodOfDuplicatesHoldsOneBuffer) {
    const Datagram d = datagram();
    EXPECT_EQ(outcome(std::vector<Packet>(32, d.part(32, 48))),
              refused(DropReason::kFragmentDuplicate, 31));
    EXPECT_EQ(waiting(), 1u);
    EXPECT_EQ(outcome(d.part(0, 32)), "2");
}

TEST_P(Fragments, ThatOverlapEndTheirPacket) {
    const Datagram d = datagram();
    outcome({d.part(0, 32)});
    EXPECT_EQ(outcome(d.part(24, 48)), refused(DropReason::kFragmentOverlap));
    // RFC 8200 section 4.5: nor do those that follow pass.
    EXPECT_EQ(outcome(d.part(48, 64)), refused(DropReason::kFragmentOverlap));
    EXPECT_EQ(outcome(d.part(32, 48)), refused(DropReason::kFragmentOverlap));
}

TEST_P(Fragments, ThatOverlapWhileTheyWaitEndTheirPacket) {
    const Datagram d = datagram();
    EXPECT_EQ(outcome({d.part(32, 56), d.part(48, 64)}), "waits");
    EXPECT_EQ(outcome(d.part(0, 32)), "2 " + refused(DropReason::kFragmentOverlap));
}

TEST_P(Fragments, BeyondTheEndAreDropped) {
    Datagram d = datagram();
    outcome({d.part(0, 32), d.part(56, 64)});  // the last
    Datagram longer = d;
    longer.length = 96;
    EXPECT_EQ(outcome(longer.part(64, 80)), refused(DropReason::kFragmentOverlap));
}

TEST_P(Fragments, WithTwoEndsAreDropped) {
    Datagram d = datagram();
    outcome({d.part(0, 16), d.part(56, 64)});
    Datagram shorter = d;
    shorter.length = 48;
    EXPECT_EQ(outcome(shorter.part(40, 48)), refused(DropReason::kFragmentOverlap));
}

TEST_P(Fragments, OfAFirstThatComesAgainAreItsOwn) {
    // Whatever the id was used for before: the new first has passed the filter by itself.
    const Datagram d = datagram();
    outcome({d.part(0, 32), d.part(32, 48)});
    const Datagram denied = datagram(54);
    EXPECT_EQ(outcome({denied.part(0, 32), denied.part(32, 64)}),
              refused(DropReason::kDeniedIngress, 2));
    EXPECT_EQ(outcome({d.part(0, 32), d.part(32, 64)}), "2");
}

TEST_P(Fragments, AreForgottenWhenTheWholeHasPassed) {
    const Datagram d = datagram();
    EXPECT_EQ(outcome({d.part(0, 32), d.part(32, 64)}), "2");
    EXPECT_EQ(outcome(d.part(32, 64)), "waits");
}

TEST_P(Fragments, OfAnotherIdDoNotPass) {
    outcome({datagram(53, 7).part(0, 32)});
    EXPECT_EQ(outcome(datagram(53, 8).part(32, 64)), "waits");
}

TEST_P(Fragments, OfAnotherPortDoNotPass) {
    // vm4 has no port security: it says that it is vm1.
    outcome({datagram().part(0, 32)});
    EXPECT_EQ(outcome({datagram().part(32, 64)}, kVm4), "waits");
    EXPECT_EQ(lab_.context().fragments.waiting(kVm4), 1u);
}

TEST_P(Fragments, AreCutOffWhenTheRuleIsRemoved) {
    const Datagram d = datagram();
    outcome({d.part(0, 32)});
    lab_.set_policy(kVm2, {});
    EXPECT_EQ(outcome(d.part(32, 64)), refused(DropReason::kDeniedIngress));
}

TEST_P(Fragments, WaitWithinThePortsShare) {
    for (uint16_t id = 1; id <= kMaxWaitingBuffersPerPort; ++id)
        ASSERT_EQ(outcome(datagram(53, id).part(32, 64)), "waits");
    EXPECT_EQ(outcome(datagram(53, 1000).part(32, 64)), refused(DropReason::kFragmentLimit));
    // Another port's are taken, and so is what comes in order.
    EXPECT_EQ(outcome({datagram().part(32, 64)}, kVm4), "waits");
    EXPECT_EQ(outcome({datagram(53, 1001).part(0, 32), datagram(53, 1001).part(32, 64)}), "2");
    EXPECT_EQ(outcome(datagram(53, 1).part(0, 32)), "2");
    EXPECT_EQ(waiting(), kMaxWaitingBuffersPerPort - 1);
}

TEST_P(Fragments, OfAFloodingPortMakeWayForItsOwnOnly) {
    EXPECT_EQ(outcome({datagram(53, 1).part(0, 32)}, kVm4), "1");
    for (uint16_t id = 1; id <= kMaxFragmentedPerPort + 1; ++id)
        ASSERT_EQ(outcome(datagram(53, id).part(0, 32)), "1");
    EXPECT_EQ(outcome(datagram(53, 1).part(32, 64)), "waits");  // the oldest is forgotten
    EXPECT_EQ(outcome({datagram(53, 1).part(32, 64)}, kVm4), "1");
}

TEST_P(Fragments, OfAPortThatGoesAreDropped) {
    outcome({datagram().part(32, 64)});
    outcome({datagram().part(32, 64)}, kVm4);
    lab_.context().fragments.forget(kVm1);
    lab_.advance_seconds(0);
    EXPECT_EQ(waiting(), 0u);
    EXPECT_EQ(lab_.context().fragments.waiting(kVm4), 1u);
    const auto& drops = lab_.context().port_counters(kVm1).drops;
    EXPECT_EQ(drops[static_cast<size_t>(DropReason::kPortGone)].get(), 1u);
}

TEST_P(Fragments, WaitInChains) {
    const Datagram d = datagram();
    Input chained{.bytes = d.part(32, 64).bytes(), .segments = {60}};
    EXPECT_EQ(say(lab_.run(kVm1, {chained})), "waits");
    const RunResult result = lab_.run(kVm1, d.part(0, 32).bytes());
    ASSERT_EQ(result.outputs.size(), 2u);
    EXPECT_EQ(result.outputs[1].bytes.size(), chained.bytes.size());
}

TEST_P(StatefulFragments, AreOneFlow) {
    const Datagram d = datagram();
    outcome({d.part(0, 32), d.part(32, 48)});
    EXPECT_EQ(lab_.flow_count(), 1u);
    // On the flow by now: policy is not asked.
    EXPECT_EQ(outcome(d.part(48, 64)), "1");
    EXPECT_EQ(lab_.flow_count(), 1u);
}

TEST_P(StatefulFragments, OfAnAnswerPassWithoutARule) {
    Packet link = eth(kVm2Mac, kGatewayMac);
    const auto answer = [&](uint16_t begin, bool more) {
        Packet packet =
            ipv6() ? link / ip6("2001:db8::2", "2001:db8::1") / fragment6(begin, more)
                   : link / ip4("10.0.0.2", "10.0.0.1").id(9).fragment(begin, more).proto(17);
        if (begin != 0) return packet / raw(counting(32));
        return packet / udp(53, 4000).length(64).checksum(1) / raw(counting(24));
    };
    EXPECT_EQ(outcome({answer(0, true), answer(32, false)}, kVm2),
              refused(DropReason::kDeniedEgress, 2));
    const Datagram question = datagram();
    EXPECT_EQ(outcome({question.part(0, 32), question.part(32, 64)}), "2");
    EXPECT_EQ(outcome({answer(32, false), answer(0, true)}, kVm2), "2");
}

// ---- What the first part may be
// -------------------------------------------------------------------

class FirstPart : public testing::Test {
  protected:
    FirstPart() {
        lab_.set_policy(kVm1, {any(PolicyDirection::kEgress, Family::kIpv4),
                               any(PolicyDirection::kEgress, Family::kIpv6)});
        lab_.set_policy(kVm2, {dns(Family::kIpv4, true), dns(Family::kIpv6, true)});
    }
    std::string outcome(const Packet& packet, PortId from = kVm1) {
        return say(lab_.run(from, packet.bytes()));
    }
    static std::string say(const RunResult& result) {
        if (!result.drops.empty())
            return std::string(drop_reason_name(result.drops.begin()->first));
        return result.outputs.empty() ? "waits" : std::to_string(result.outputs.size());
    }
    static Packet vm1() { return eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.2").df(); }

    Lab lab_;
};

TEST_F(FirstPart, TooShortForAHeaderIsDropped) {
    const auto tiny = [](uint8_t protocol, size_t bytes) {
        return eth(kVm1Mac, kGatewayMac) /
               ip4("10.0.0.1", "10.0.0.2").fragment(0, true).proto(protocol) / raw(counting(bytes));
    };
    EXPECT_EQ(outcome(tiny(kProtoTcp, 8)), "truncated_transport");
    EXPECT_EQ(outcome(tiny(kProtoTcp, 16)), "truncated_transport");
    EXPECT_EQ(outcome(tiny(kProtoSctp, 8)), "truncated_transport");
    // RFC 3128: a part that would write over the flags of a TCP header that has passed.
    EXPECT_EQ(
        outcome(eth(kVm1Mac, kGatewayMac) /
                ip4("10.0.0.1", "10.0.0.2").fragment(8, false).proto(kProtoTcp) / raw(counting(8))),
        "bad_fragment");
}

TEST_F(FirstPart, AtomicOneIsAWholePacket) {
    const auto atomic = [](uint16_t port) {
        return eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2") / fragment6(0, false) /
               udp(4000, port) / raw(counting(8));
    };
    // RFC 6946: nothing is kept, and nothing of its id waits for it or passes by it.
    EXPECT_EQ(outcome(Datagram{.ipv6 = true, .id = 0x3344}.part(32, 64)), "waits");
    EXPECT_EQ(outcome(atomic(53)), "1");
    EXPECT_EQ(outcome(atomic(54)), "denied_ingress");
    EXPECT_EQ(lab_.context().fragments.waiting(kVm1), 1u);
}

TEST_F(FirstPart, HeaderChainThatGoesOnInTheNextPartIsDropped) {
    // RFC 7112 section 5: the first part has the whole chain.
    EXPECT_EQ(outcome(eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2") /
                      fragment6(0, true) / extension6(60, {17, 3, 1, 4, 0, 0, 0, 0})),
              "bad_extension_header");
}

TEST_F(FirstPart, LaterPartsMayNameAnotherHeaderThanTheTransport) {
    // Options behind the fragment header: what it names is theirs, in all parts.
    const auto ip = eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2");
    const Packet head = ip / fragment6(0, true) / options6(60) /
                        udp(4000, 53).length(40).checksum(1) / raw(counting(16));
    Layer named = fragment6(32, false);
    named.set(0, {60});
    named.fill_protocol = false;
    EXPECT_EQ(outcome(head), "1");
    EXPECT_EQ(outcome(ip / std::move(named) / raw(counting(16))), "1");
}

TEST_F(FirstPart, OfAnEchoRequestPassByItsType) {
    PolicyRule echo = any(PolicyDirection::kIngress, Family::kIpv4);
    echo.protocol = kProtoIcmp;
    echo.low = kIcmpEcho << 8;
    echo.high = kIcmpEcho << 8;
    lab_.set_policy(kVm2, {echo});
    const auto part = [](uint8_t type, uint16_t begin, bool more) {
        const Packet ip = eth(kVm1Mac, kGatewayMac) /
                          ip4("10.0.0.1", "10.0.0.2").id(type).fragment(begin, more).proto(1);
        return begin != 0 ? ip / raw(counting(16)) : ip / icmp4(type, 0, 0x10001) / raw(Bytes(8));
    };
    EXPECT_EQ(outcome(part(kIcmpEcho, 0, true)), "1");
    EXPECT_EQ(outcome(part(kIcmpEcho, 16, false)), "1");
    EXPECT_EQ(outcome(part(13, 0, true)), "denied_ingress");
    EXPECT_EQ(outcome(part(13, 16, false)), "denied_ingress");
}

TEST_F(FirstPart, OfAUplinkPassByTheFirstOfAnother) {
    // Routers may send parts of one packet over two links.
    const auto part = [](uint16_t begin, bool more) {
        const Packet ip = eth(kNeighbourMac, kUplinkMac) /
                          ip4(kOutside, "10.0.0.2").id(5).fragment(begin, more).proto(17);
        if (begin != 0) return ip / raw(counting(16));
        return ip / udp(4000, 53).length(32).checksum(1) / raw(counting(8));
    };
    PortConfig& vm4 = lab_.port(kVm4);
    vm4 = lab_.port(kUplink);
    vm4.id = kVm4;
    EXPECT_EQ(outcome(part(16, false), kVm4), "waits");
    const RunResult result = lab_.run(kUplink, part(0, true).bytes());
    EXPECT_EQ(result.outputs.size(), 2u) << describe(result);
}

TEST_F(FirstPart, WithoutAnyPolicyPassUnseen) {
    lab_.clear_policy(kVm1);
    lab_.clear_policy(kVm2);
    EXPECT_EQ(outcome(Datagram{}.part(32, 64)), "1");
    EXPECT_EQ(outcome(Datagram{.port = 54}.part(0, 32)), "1");
}

}  // namespace
}  // namespace slash32::test
