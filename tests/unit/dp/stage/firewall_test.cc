// SPDX-License-Identifier: Apache-2.0
// The filter and the flow table together: sequences of packets through the real pipeline.
//
// vm1 (10.0.0.1, 2001:db8::1), vm2 (.2, ::2) and the uplink are those of the Lab; each test gives
// vm1 and vm2 policies.
#include "dp/packet/headers.h"
#include "dp/table/flow_key.h"
#include "tests/support/lab.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace slash32::test {
namespace {

constexpr auto kIn = PolicyDirection::kIngress;
constexpr auto kOut = PolicyDirection::kEgress;
constexpr uint8_t kFin = 0x01;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kRst = 0x04;
constexpr uint8_t kAck = 0x10;
constexpr uint8_t kSynAck = kSyn | kAck;
constexpr const char* kOutside = "198.51.100.9";

PolicyRule allow(PolicyDirection direction, uint8_t protocol, uint16_t low = 0,
                 uint16_t high = UINT16_MAX) {
    PolicyRule rule = any(direction);
    rule.protocol = protocol;
    rule.low = low;
    rule.high = high;
    return rule;
}
PolicyRule from_prefix(PolicyRule rule, std::string_view prefix) {
    rule.prefix = parse_prefix(prefix).value();
    rule.family = rule.prefix->address.family;
    return rule;
}
PolicyRule from_set(PolicyRule rule, SetId set) {
    rule.set = set;
    return rule;
}
PolicyRule stateless(PolicyRule rule) {
    rule.stateful = false;
    return rule;
}

Packet vm1_to(std::string_view to, Layer transport) {
    return eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", to) / std::move(transport);
}
Packet vm2_to(std::string_view to, Layer transport) {
    return eth(kVm2Mac, kGatewayMac) / ip4("10.0.0.2", to) / std::move(transport);
}
Packet outside_to(std::string_view to, Layer transport) {
    return eth(kNeighbourMac, kUplinkMac) / ip4(kOutside, to) / std::move(transport);
}
Layer tcp_with(uint16_t source, uint16_t destination, uint8_t flags, uint32_t seq = 1000) {
    return tcp(source, destination).flags(flags).seq(seq);
}

class FirewallTest : public testing::Test {
  protected:
    // The usual start: vm1 may send anything and receive nothing but answers; vm2 serves TCP port
    // 80 and UDP port 53.
    void client_and_server() {
        lab_.set_policy(kVm1, {any(kOut)});
        lab_.set_policy(kVm2,
                        {any(kOut), allow(kIn, kProtoTcp, 80, 80), allow(kIn, kProtoUdp, 53, 53)});
    }

    std::string outcome(PortId from, const Packet& packet) {
        const RunResult result = lab_.run(from, packet.bytes());
        if (!result.drops.empty())
            return std::string(drop_reason_name(result.drops.begin()->first));
        if (result.outputs.empty()) return "nothing";
        return "port " + std::to_string(result.outputs[0].port.value());
    }
    void passes(PortId from, const Packet& packet, PortId to) {
        EXPECT_EQ(outcome(from, packet), "port " + std::to_string(to.value()));
    }
    void drops(PortId from, const Packet& packet, DropReason reason) {
        EXPECT_EQ(outcome(from, packet), drop_reason_name(reason));
    }
    // A TCP connection of vm1 to vm2, port 80, established.
    void connect(uint16_t port = 4000) {
        passes(kVm1, vm1_to("10.0.0.2", tcp_with(port, 80, kSyn, 1000)), kVm2);
        passes(kVm2, vm2_to("10.0.0.1", with_ack(tcp_with(80, port, kSynAck, 5000), 1001)), kVm1);
        passes(kVm1, data(port), kVm2);
    }
    static Layer with_ack(Layer segment, uint32_t ack) { return segment.set(8, be32(ack)); }
    static Packet data(uint16_t port = 4000) {
        return vm1_to("10.0.0.2", with_ack(tcp_with(port, 80, kAck, 1001), 5001));
    }
    static Packet answer(uint16_t port = 4000) {
        return vm2_to("10.0.0.1", with_ack(tcp_with(80, port, kAck, 5001), 1001));
    }
    static Packet dns() { return vm1_to("10.0.0.2", udp(3000, 53)); }
    static Packet dns_answer() { return vm2_to("10.0.0.1", udp(53, 3000)); }

    Lab lab_;
};

// ---- Security groups
// -----------------------------------------------------------------------------

TEST_F(FirewallTest, EmptyPolicyDeniesBothDirections) {
    lab_.set_policy(kVm1, {});
    drops(kVm1, dns(), DropReason::kDeniedEgress);
    drops(kVm2, vm2_to("10.0.0.1", udp(1, 2)), DropReason::kDeniedIngress);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, BothEndsCount) {
    client_and_server();
    passes(kVm1, dns(), kVm2);
    drops(kVm1, vm1_to("10.0.0.2", udp(3000, 54)), DropReason::kDeniedIngress);
    lab_.set_policy(kVm1, {allow(kOut, kProtoTcp)});
    drops(kVm1, vm1_to("10.0.0.2", udp(3001, 53)), DropReason::kDeniedEgress);
}

TEST_F(FirewallTest, AnswersPassWithoutARule) {
    client_and_server();
    drops(kVm2, dns_answer(), DropReason::kDeniedIngress);
    passes(kVm1, dns(), kVm2);
    passes(kVm2, dns_answer(), kVm1);
    drops(kVm2, vm2_to("10.0.0.1", udp(53, 3001)), DropReason::kDeniedIngress);
    EXPECT_EQ(lab_.flow_count(), 1u);
}

TEST_F(FirewallTest, ConnectionToAServerIsTrackedAndOnlyThere) {
    client_and_server();
    connect();
    passes(kVm2, answer(), kVm1);
    drops(kVm1, vm1_to("10.0.0.2", tcp_with(4000, 81, kSyn)), DropReason::kDeniedIngress);
}

TEST_F(FirewallTest, Ipv6IsOfItsOwn) {
    lab_.set_policy(kVm1, {any(kOut)});
    const Packet packet = eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2") / udp(1, 2);
    drops(kVm1, packet, DropReason::kDeniedEgress);
    lab_.set_policy(kVm1, {any(kOut, Family::kIpv6)});
    passes(kVm1, packet, kVm2);
    passes(kVm2, eth(kVm2Mac, kGatewayMac) / ip6("2001:db8::2", "2001:db8::1") / udp(2, 1), kVm1);
    drops(kVm1, dns(), DropReason::kDeniedEgress);
}

TEST_F(FirewallTest, RemovedRuleCutsItsFlowsAndNoOthersAndReaddingRevivesThem) {
    client_and_server();
    connect();
    passes(kVm1, dns(), kVm2);
    lab_.set_policy(kVm2, {any(kOut), allow(kIn, kProtoUdp, 53, 53)});
    drops(kVm1, data(), DropReason::kDeniedIngress);
    drops(kVm2, answer(), DropReason::kDeniedIngress);
    passes(kVm1, dns(), kVm2);
    passes(kVm2, dns_answer(), kVm1);
    client_and_server();
    passes(kVm1, data(), kVm2);
    passes(kVm2, answer(), kVm1);
}

TEST_F(FirewallTest, CutConnectionIsNotPickedUpFromItsOtherEnd) {
    // vm1 is open, so that vm2 may begin connections to it; this one is vm1's.
    client_and_server();
    lab_.clear_policy(kVm1);
    connect();
    passes(kVm2, answer(), kVm1);
    lab_.set_policy(kVm2, {any(kOut), allow(kIn, kProtoUdp, 53, 53)});
    for (int i = 0; i < 3; ++i) {
        drops(kVm2, answer(), DropReason::kDeniedIngress);
        drops(kVm1, data(), DropReason::kDeniedIngress);
        lab_.advance_seconds(100);
    }
    EXPECT_EQ(lab_.flow_count(), 1u);
    // What is no segment at all does not make way for one that would pick it up.
    drops(kVm2, vm2_to("10.0.0.1", tcp_with(80, 4000, kSyn | kFin)), DropReason::kDeniedIngress);
    drops(kVm2, answer(), DropReason::kDeniedIngress);
    // Given back, the rule finds the connection where it was.
    lab_.set_policy(kVm2, {any(kOut), allow(kIn, kProtoTcp, 80, 80)});
    passes(kVm2, answer(), kVm1);
    passes(kVm1, data(), kVm2);
    lab_.advance_seconds(100'000);
    passes(kVm2, answer(), kVm1);
    // Without the rule a connection of vm2's own on the same tuple is its own.
    lab_.set_policy(kVm2, {any(kOut)});
    drops(kVm2, answer(), DropReason::kDeniedIngress);
    passes(kVm2, vm2_to("10.0.0.1", tcp_with(80, 4000, kSyn, 9000)), kVm1);
    passes(kVm1, vm1_to("10.0.0.2", with_ack(tcp_with(4000, 80, kSynAck, 1), 9001)), kVm2);
}

TEST_F(FirewallTest, CutConnectionMakesWayForNewOnes) {
    client_and_server();
    lab_.clear_policy(kVm1);
    connect();
    lab_.set_policy(kVm2, {any(kOut)});
    drops(kVm2, answer(), DropReason::kDeniedIngress);
    EXPECT_EQ(lab_.flow_tables().half_open.load(), 1u);
    lab_.advance_seconds(500'000);
    EXPECT_EQ(lab_.flow_count(), 0u);
    EXPECT_EQ(lab_.flow_tables().half_open.load(), 0u);
}

TEST_F(FirewallTest, AnswersAreCutWithTheRuleToo) {
    client_and_server();
    passes(kVm1, dns(), kVm2);
    lab_.set_policy(kVm2, {any(kOut)});
    drops(kVm2, dns_answer(), DropReason::kDeniedIngress);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, SamePolicyPublishedAgainDoesNotBlink) {
    client_and_server();
    connect();
    for (int i = 0; i < 100; ++i) {
        client_and_server();
        passes(kVm1, data(), kVm2);
        passes(kVm2, answer(), kVm1);
    }
    EXPECT_EQ(lab_.flow_count(), 1u);
}

TEST_F(FirewallTest, RemovedMemberCutsTheFlowsItLetInAndNoOthers) {
    const SetId set = lab_.sets().make().value();
    ASSERT_TRUE(lab_.sets().add(set, parse_prefix("10.0.0.1").value()));
    ASSERT_TRUE(lab_.sets().add(set, parse_prefix("198.51.100.0/24").value()));
    lab_.set_policy(kVm2, {from_set(allow(kIn, kProtoUdp), set)});
    passes(kVm1, dns(), kVm2);
    passes(kUplink, outside_to("10.0.0.2", udp(7, 8)), kVm2);
    lab_.sets().remove(set, parse_prefix("10.0.0.1").value());
    drops(kVm1, dns(), DropReason::kDeniedIngress);
    passes(kUplink, outside_to("10.0.0.2", udp(7, 8)), kVm2);
    ASSERT_TRUE(lab_.sets().add(set, parse_prefix("10.0.0.1").value()));
    passes(kVm1, dns(), kVm2);
}

TEST_F(FirewallTest, AddedMemberIsLetInAtOnce) {
    const SetId set = lab_.sets().make().value();
    lab_.set_policy(kVm2, {from_set(allow(kIn, kProtoUdp), set)});
    drops(kVm1, dns(), DropReason::kDeniedIngress);
    ASSERT_TRUE(lab_.sets().add(set, parse_prefix("10.0.0.1").value()));
    passes(kVm1, dns(), kVm2);
}

TEST_F(FirewallTest, RemotePrefixAndPortRangesHold) {
    lab_.set_policy(kVm2, {from_prefix(allow(kIn, kProtoUdp, 100, 200), "10.0.0.0/30"),
                           from_prefix(allow(kIn, kProtoUdp, 300, 300), "198.51.100.0/24")});
    passes(kVm1, vm1_to("10.0.0.2", udp(1, 100)), kVm2);
    passes(kVm1, vm1_to("10.0.0.2", udp(1, 200)), kVm2);
    drops(kVm1, vm1_to("10.0.0.2", udp(1, 99)), DropReason::kDeniedIngress);
    drops(kVm1, vm1_to("10.0.0.2", udp(1, 201)), DropReason::kDeniedIngress);
    drops(kVm1, vm1_to("10.0.0.2", udp(1, 300)), DropReason::kDeniedIngress);
    passes(kUplink, outside_to("10.0.0.2", udp(1, 300)), kVm2);
    drops(kUplink, outside_to("10.0.0.2", udp(1, 150)), DropReason::kDeniedIngress);
}

TEST_F(FirewallTest, ProtocolsGoByNumber) {
    lab_.set_policy(kVm2, {allow(kIn, 47)});  // GRE
    const Packet gre =
        eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.2").proto(47) / raw(counting(20));
    passes(kVm1, gre, kVm2);
    drops(kVm1,
          eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.0.0.2").proto(50) / raw(counting(20)),
          DropReason::kDeniedIngress);
}

TEST_F(FirewallTest, OpenPortsMakeNoFlows) {
    lab_.set_policy(kVm1, {});
    passes(kVm4, eth(kVm4Mac, kGatewayMac) / ip4("10.0.0.4", "10.0.0.2") / udp(1, 2), kVm2);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, PortWithoutGroupsPassesNothingBesidePortsWithPolicies) {
    lab_.set_policy(kVm1, {any(kOut), any(kIn)});
    drops(kVm1, vm1_to("10.0.0.3", udp(1, 2)), DropReason::kDeniedIngress);
    drops(kVm3, eth(kVm3Mac, kGatewayMac) / ip4("10.0.0.3", "10.0.0.1") / udp(1, 2),
          DropReason::kNoGroup);
}

// ---- Stateless groups
// ----------------------------------------------------------------------------

TEST_F(FirewallTest, StatelessRulesLetNoAnswersThrough) {
    lab_.set_policy(kVm1, {stateless(any(kOut))});
    lab_.set_policy(kVm2, {stateless(any(kOut)), stateless(allow(kIn, kProtoUdp, 53, 53))});
    passes(kVm1, dns(), kVm2);
    drops(kVm2, dns_answer(), DropReason::kDeniedIngress);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, StatelessRulesOfBothDirectionsLetBothThrough) {
    lab_.set_policy(kVm1, {stateless(any(kOut)), stateless(allow(kIn, kProtoUdp))});
    lab_.set_policy(kVm2, {stateless(any(kOut)), stateless(allow(kIn, kProtoUdp, 53, 53))});
    passes(kVm1, dns(), kVm2);
    passes(kVm2, dns_answer(), kVm1);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, StatefulSenderHearsAStatelessReceiverThatMayAnswer) {
    lab_.set_policy(kVm1, {any(kOut)});
    lab_.set_policy(kVm2, {stateless(any(kOut)), stateless(allow(kIn, kProtoUdp, 53, 53))});
    passes(kVm1, dns(), kVm2);
    passes(kVm2, dns_answer(), kVm1);
    EXPECT_EQ(lab_.flow_count(), 1u);
    // Without a rule to send, a stateless port may not answer.
    lab_.set_policy(kVm2, {stateless(allow(kIn, kProtoUdp, 53, 53))});
    passes(kVm1, dns(), kVm2);
    drops(kVm2, dns_answer(), DropReason::kDeniedEgress);
}

TEST_F(FirewallTest, StatelessErrorsGoByTheirOwnRules) {
    lab_.set_policy(kVm1, {stateless(any(kOut)), stateless(allow(kIn, kProtoIcmp))});
    const Packet error =
        outside_to("10.0.0.1", icmp4(3, 1)) / raw((ip4("10.0.0.1", kOutside) / udp(1, 2)).bytes());
    passes(kUplink, error, kVm1);
}

// ---- Connections
// ---------------------------------------------------------------------------------

TEST_F(FirewallTest, PingIsAnsweredAndAnswersAloneAreRefused) {
    lab_.set_policy(kVm1, {allow(kOut, kProtoIcmp)});
    const Packet reply = vm2_to("10.0.0.1", icmp4(0, 0, 0x12340001));
    drops(kVm2, reply, DropReason::kDeniedIngress);
    passes(kVm1, vm1_to("10.0.0.2", icmp4(8, 0, 0x12340001)), kVm2);
    passes(kVm2, reply, kVm1);
    drops(kVm2, vm2_to("10.0.0.1", icmp4(0, 0, 0x56780001)), DropReason::kDeniedIngress);
    // The peer's own ping with the same identifier is no answer.
    drops(kVm2, vm2_to("10.0.0.1", icmp4(8, 0, 0x12340001)), DropReason::kDeniedIngress);
}

TEST_F(FirewallTest, Ipv6AnswersAloneAreRefused) {
    lab_.set_policy(kVm2, {any(kOut, Family::kIpv6)});
    const auto sent = [](const char* from, const Mac& mac, const char* to, uint8_t type) {
        return eth(mac, kGatewayMac) / ip6(from, to) / icmp6(type, 0, 0x12340001);
    };
    const Packet reply = sent("2001:db8::2", kVm2Mac, "2001:db8::1", 129);
    drops(kVm2, reply, DropReason::kInvalidState);
    drops(kVm2, sent("2001:db8::2", kVm2Mac, "2001:db8::1", 140), DropReason::kInvalidState);
    passes(kVm2, sent("2001:db8::2", kVm2Mac, "2001:db8::1", 139), kVm1);
    passes(kVm2, sent("2001:db8::2", kVm2Mac, "2001:db8::1", 128), kVm1);
    passes(kVm1, sent("2001:db8::1", kVm1Mac, "2001:db8::2", 129), kVm2);
}

TEST_F(FirewallTest, NothingIsLeftOfAFlowThatWasRefused) {
    client_and_server();
    passes(kVm1, vm1_to("10.0.0.2", tcp_with(4000, 80, kSyn, 1000)), kVm2);
    const Packet refusal = vm2_to("10.0.0.1", with_ack(tcp_with(80, 4000, kRst | kAck, 0), 1001));
    passes(kVm2, refusal, kVm1);
    drops(kVm2, refusal, DropReason::kDeniedIngress);
    drops(kVm2,
          vm2_to("10.0.0.1", icmp4(3, 1)) /
              raw(vm1_to("10.0.0.2", tcp_with(4000, 80, kSyn, 1000)).payload()),
          DropReason::kDeniedIngress);
    connect();
}

TEST_F(FirewallTest, ErrorAboutALiveConnectionPasses) {
    client_and_server();
    const Packet sent = vm1_to(kOutside, udp(3000, 53));
    const Packet error = outside_to("10.0.0.1", icmp4(3, 1)) / raw(sent.payload());
    drops(kUplink, error, DropReason::kDeniedIngress);
    passes(kVm1, sent, kUplink);
    passes(kUplink, error, kVm1);
}

TEST_F(FirewallTest, ForgedErrorsAreRefused) {
    lab_.set_policy(kVm1, {any(kOut), allow(kIn, kProtoIcmp)});
    const Packet sent = vm1_to(kOutside, udp(3000, 53));
    passes(kVm1, sent, kUplink);
    const Packet wrong_port = vm1_to(kOutside, udp(3001, 53));
    drops(kUplink, outside_to("10.0.0.1", icmp4(3, 1)) / raw(wrong_port.payload()),
          DropReason::kUnrelatedError);
    // From a port that the connection has nothing to do with.
    drops(kVm2, vm2_to("10.0.0.1", icmp4(3, 1)) / raw(sent.payload()), DropReason::kUnrelatedError);
    // About a packet of vm1's, but to another.
    lab_.set_policy(kVm2, {any(kOut), allow(kIn, kProtoIcmp)});
    drops(kUplink, outside_to("10.0.0.2", icmp4(3, 1)) / raw(sent.payload()),
          DropReason::kUnrelatedError);
    Bytes cut = sent.payload();
    cut.resize(24);
    drops(kUplink, outside_to("10.0.0.1", icmp4(3, 1)) / raw(cut), DropReason::kUnrelatedError);
}

TEST_F(FirewallTest, Ipv6ErrorAboutALiveConnectionPasses) {
    lab_.set_policy(kVm1, {any(kOut, Family::kIpv6)});
    const Packet sent =
        eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8:100::9") / udp(3000, 53);
    const Packet error = eth(kNeighbourMac, kUplinkMac) / ip6("2001:db8:100::1", "2001:db8::1") /
                         icmp6(1, 0) / raw(sent.payload());
    drops(kUplink, error, DropReason::kDeniedIngress);
    passes(kVm1, sent, kUplink);
    passes(kUplink, error, kVm1);
}

TEST_F(FirewallTest, ConnectionIsPickedUpInItsMiddleUnlessStrict) {
    client_and_server();
    passes(kVm1, data(), kVm2);
    passes(kVm2, answer(), kVm1);
    lab_.flow_tables().limits.tcp_loose = false;
    drops(kVm1, data(4001), DropReason::kInvalidState);
    connect(4002);
}

TEST_F(FirewallTest, SegmentThatFitsNoStateIsRefused) {
    client_and_server();
    drops(kVm1, vm1_to("10.0.0.2", with_ack(tcp_with(4000, 80, kSynAck), 1)),
          DropReason::kInvalidState);
    drops(kVm1, vm1_to("10.0.0.2", tcp_with(4000, 80, kRst)), DropReason::kInvalidState);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, VmCannotRideAnothersFlow) {
    // vm2 may send from any address: it sends what vm1 has a connection for.
    lab_.add_source(kVm2, kVm2Mac, "0.0.0.0/0", false);
    lab_.set_policy(kVm1, {any(kOut)});
    lab_.set_policy(kVm2, {allow(kOut, kProtoTcp, 22, 22)});
    passes(kVm1, vm1_to(kOutside, udp(3000, 53)), kUplink);
    drops(kVm2, eth(kVm2Mac, kGatewayMac) / ip4("10.0.0.1", kOutside) / udp(3000, 53),
          DropReason::kDeniedEgress);
    // Nor answer in the place of the one that was asked.
    drops(kVm2, eth(kVm2Mac, kGatewayMac) / ip4(kOutside, "10.0.0.1") / udp(53, 3000),
          DropReason::kDeniedEgress);
    passes(kUplink, outside_to("10.0.0.1", udp(53, 3000)), kVm1);
}

TEST_F(FirewallTest, VmCannotTakeAnAnsweredFlowsPlace) {
    lab_.add_source(kVm2, kVm2Mac, "0.0.0.0/0", false);
    lab_.set_policy(kVm1, {any(kOut)});
    lab_.set_policy(kVm2, {any(kOut)});
    passes(kVm1, vm1_to(kOutside, udp(3000, 53)), kUplink);
    passes(kUplink, outside_to("10.0.0.1", udp(53, 3000)), kVm1);
    drops(kVm2, eth(kVm2Mac, kGatewayMac) / ip4("10.0.0.1", kOutside) / udp(3000, 53),
          DropReason::kFlowClash);
    passes(kUplink, outside_to("10.0.0.1", udp(53, 3000)), kVm1);
}

// ---- What changes under a flow
// -------------------------------------------------------------------

TEST_F(FirewallTest, NewRouteOverTheSamePortIsTaken) {
    client_and_server();
    passes(kVm1, vm1_to(kOutside, udp(3000, 53)), kUplink);
    lab_.add_route("198.51.100.9/32", kHopBlackhole);
    drops(kVm1, vm1_to(kOutside, udp(3000, 53)), DropReason::kBlackhole);
    lab_.add_route("198.51.100.9/32", kHopUplink);
    passes(kVm1, vm1_to(kOutside, udp(3000, 53)), kUplink);
    EXPECT_EQ(lab_.flow_count(), 1u);
}

TEST_F(FirewallTest, FlowWhoseRouteLeadsToAnotherPortIsJudgedAnew) {
    client_and_server();
    passes(kVm1, vm1_to(kOutside, udp(3000, 53)), kUplink);
    lab_.add_route("198.51.100.9/32", kHopVm2);
    passes(kVm1, vm1_to(kOutside, udp(3000, 53)), kVm2);
    lab_.set_policy(kVm2, {any(kOut)});
    drops(kVm1, vm1_to(kOutside, udp(3000, 53)), DropReason::kDeniedIngress);
}

TEST_F(FirewallTest, FlowOfAPortThatIsGoneIsOver) {
    client_and_server();
    passes(kVm1, dns(), kVm2);
    lab_.remove_port(kVm2);
    lab_.generations().raise_epoch();
    drops(kVm1, dns(), DropReason::kPortGone);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, FlushedFlowIsMadeAnewIfItMay) {
    client_and_server();
    passes(kVm1, dns(), kVm2);
    FlowTables& tables = lab_.flow_tables();
    for (uint32_t i = 0; i < tables.entry_count; ++i)
        flush_flow(tables, i);
    lab_.generations().raise_epoch();
    drops(kVm2, dns_answer(), DropReason::kDeniedIngress);
    passes(kVm1, dns(), kVm2);
    passes(kVm2, dns_answer(), kVm1);
    lab_.advance_seconds(1);
    EXPECT_EQ(lab_.flow_count(), 1u);
}

TEST_F(FirewallTest, QuietFlowExpires) {
    client_and_server();
    passes(kVm1, dns(), kVm2);
    lab_.advance_seconds(25);
    passes(kVm2, dns_answer(), kVm1);
    lab_.advance_seconds(100);  // answered: a stream, which may be quiet for longer
    passes(kVm2, dns_answer(), kVm1);
    lab_.advance_seconds(200);
    drops(kVm2, dns_answer(), DropReason::kDeniedIngress);
    EXPECT_EQ(lab_.flow_count(), 0u);
}

TEST_F(FirewallTest, UnansweredFlowsExpireSooner) {
    client_and_server();
    passes(kVm1, dns(), kVm2);
    lab_.advance_seconds(32);  // udp_timeout, one way
    drops(kVm2, dns_answer(), DropReason::kDeniedIngress);
    const Packet syn = vm1_to("10.0.0.2", tcp_with(4000, 80, kSyn, 1000));
    const Packet syn_ack = vm2_to("10.0.0.1", with_ack(tcp_with(80, 4000, kSynAck, 5000), 1001));
    passes(kVm1, syn, kVm2);
    lab_.advance_seconds(110);
    passes(kVm2, syn_ack, kVm1);
    lab_.advance_seconds(62);  // tcp_timeout_syn_recv: the opener is gone
    drops(kVm2, syn_ack, DropReason::kDeniedIngress);
    passes(kVm1, syn, kVm2);
    lab_.advance_seconds(122);  // tcp_timeout_syn_sent
    drops(kVm2, syn_ack, DropReason::kDeniedIngress);
    connect();
    lab_.advance_seconds(100'000);
    passes(kVm2, answer(), kVm1);
}

// ---- Limits
// --------------------------------------------------------------------------------------

TEST_F(FirewallTest, FloodOfOnePortEndsItsOwnUnansweredFlowsOnly) {
    client_and_server();
    connect();
    const uint32_t half_open_max = lab_.flow_tables().limits.half_open_per_port;
    passes(kUplink, outside_to("10.0.0.2", udp(1, 53)), kVm2);
    for (uint16_t port = 0; port < 1000; ++port)
        passes(kVm1, vm1_to(kOutside, udp(static_cast<uint16_t>(5000 + port), 53)), kUplink);
    EXPECT_EQ(lab_.flow_tables().shares[kVm1.value()].half_open.load(), half_open_max);
    passes(kVm1, data(), kVm2);
    passes(kVm2, answer(), kVm1);
    passes(kVm2, vm2_to(kOutside, udp(53, 1)), kUplink);
}

TEST_F(FirewallTest, PortAtItsLimitIsRefusedByName) {
    client_and_server();
    lab_.flow_tables().limits.flows_per_port = 1;
    connect();
    drops(kVm1, dns(), DropReason::kFlowLimit);
    passes(kVm1, data(), kVm2);
}

TEST_F(FirewallTest, FullTableIsRefusedByName) {
    client_and_server();
    FlowTables& tables = lab_.flow_tables();
    connect();
    tables.capacity = 1;
    drops(kVm1, dns(), DropReason::kFlowTableFull);
    passes(kVm1, data(), kVm2);
}

// ---- What people see
// -----------------------------------------------------------------------------

TEST_F(FirewallTest, RulesCountWhatTheyDecide) {
    PolicyRule web = allow(kIn, kProtoTcp, 80, 80);
    web.id = RuleId{11};
    PolicyRule names = allow(kIn, kProtoUdp, 53, 53);
    names.id = RuleId{12};
    lab_.set_policy(kVm2, {any(kOut), web, names});
    connect();
    connect(4001);
    passes(kVm1, dns(), kVm2);
    const auto& hits = lab_.context().counters->rules;
    EXPECT_EQ(hits[11].get(), 2u);
    EXPECT_EQ(hits[12].get(), 1u);
}

TEST_F(FirewallTest, RefusedPacketIsReportedWhereThePortAsksForIt) {
    client_and_server();
    const Packet refused = vm1_to("10.0.0.2", udp(3000, 54));
    EXPECT_TRUE(lab_.run(kVm1, refused.bytes()).punted.empty());
    lab_.port(kVm2).flags |= kLogDenied;
    const RunResult result = lab_.run(kVm1, refused.bytes());
    ASSERT_EQ(result.punted.size(), 1u);
    const PuntInfo& info = result.punted[0].first;
    EXPECT_EQ(info.reason, PuntReason::kDenied);
    EXPECT_EQ(info.port, kVm2);
    EXPECT_EQ(info.drop_reason, DropReason::kDeniedIngress);
    EXPECT_EQ(hex(result.punted[0].second), hex(refused.bytes()));
}

}  // namespace
}  // namespace slash32::test
