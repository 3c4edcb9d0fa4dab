// SPDX-License-Identifier: Apache-2.0
// What workers tell of tunnels: destinations that went by one for want of a better route, and when
// a packet last went by.
#include "dp/stage/tunnel.h"

#include "tests/support/lab.h"

#include <gtest/gtest.h>

#include <memory>

namespace slash32::test {
namespace {

constexpr VrfId kTenant{7};
constexpr NextHopId kTunnel{20};

class TunnelStageTest : public ::testing::Test {
  protected:
    void SetUp() override {
        lab_.open_domain();
        lab_.port(kVm1).vrf = kTenant;
        for (const char* all : {"0.0.0.0/0", "::/0"})
            lab_.add_route(all, kTunnel, kTenant);
        lab_.add_tunnel(kTunnel, {.segments = {parse_ip("fc00:0:9:7::")->ipv6()}},
                        {.source = parse_ip("fc00:0:1::")->ipv6(), .dscp = {}});
        lab_.context().miss_tokens = TokenBucket(1000, 1000, 1'000'000'000);
        lab_.context().seconds = 5;
    }
    RunResult send(const Layer& ip) {
        return lab_.run(kVm1, (eth(kVm1Mac, kGatewayMac) / ip / udp(1, 2)).bytes());
    }
    RunResult send(const char* to) { return send(ip4("10.0.0.1", to)); }

    Lab lab_;
};

TEST_F(TunnelStageTest, DestinationIsReportedOnceASecondAndItsPacketsGoOn) {
    EXPECT_TRUE(send("10.1.0.1").punted.empty());  // nobody asks
    lab_.adjacency(kTunnel).flags = kReportsMisses;
    const RunResult first = send("10.1.0.1");
    ASSERT_EQ(first.punted.size(), 1u);
    const PuntInfo& info = first.punted[0].first;
    EXPECT_EQ(info.reason, PuntReason::kMissed);
    EXPECT_EQ(info.port, kVm1);
    EXPECT_EQ(info.vrf, kTenant);
    EXPECT_EQ(hex(first.punted[0].second),
              hex((eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "10.1.0.1") / udp(1, 2)).bytes()));
    ASSERT_EQ(first.outputs.size(), 1u);
    EXPECT_EQ(first.outputs[0].port, kUplink);

    const RunResult again = send("10.1.0.1");
    EXPECT_TRUE(again.punted.empty());
    EXPECT_EQ(again.outputs.size(), 1u);
    EXPECT_EQ(send("10.1.0.2").punted.size(), 1u);  // another one
    EXPECT_EQ(send(ip6("2001:db8::1", "2001:db8:1::1")).punted.size(), 1u);
    ++lab_.context().seconds;
    EXPECT_EQ(send("10.1.0.1").punted.size(), 1u);
}

TEST_F(TunnelStageTest, ReportsAreLimited) {
    lab_.adjacency(kTunnel).flags = kReportsMisses;
    lab_.context().miss_tokens = TokenBucket(1, 2, 1'000'000'000);
    size_t reports = 0;
    for (const char* to : {"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"}) {
        const RunResult result = send(to);
        reports += result.punted.size();
        EXPECT_EQ(result.outputs.size(), 1u);
    }
    EXPECT_EQ(reports, 2u);
}

TEST_F(TunnelStageTest, UseIsNotedWhereItIsAskedFor) {
    auto use = std::make_unique<HopUse>();
    lab_.context().hop_use = use.get();
    send("10.1.0.1");
    EXPECT_EQ((*use)[kTunnel.value()], 0u);
    lab_.adjacency(kTunnel).flags = kNotesUse;
    EXPECT_TRUE(send("10.1.0.1").punted.empty());
    EXPECT_EQ((*use)[kTunnel.value()], 5u);
    lab_.context().seconds = 9;
    send("10.1.0.1");
    EXPECT_EQ((*use)[kTunnel.value()], 9u);
}

}  // namespace
}  // namespace slash32::test
