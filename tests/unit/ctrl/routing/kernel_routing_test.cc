// SPDX-License-Identifier: Apache-2.0
// The kernel's routes in the forwarding tables: a real kernel in a namespace, a plane on fakes.
// tap0 and tap1 stand for the host's views of two uplinks; nobody answers there.
#include "ctrl/routing/kernel_routing.h"

#include "tests/unit/ctrl/netlink/kernel_namespace.h"
#include "tests/unit/ctrl/plane/fakes.h"

#include <asio/io_context.hpp>
#include <fmt/format.h>

#include <chrono>
#include <random>
#include <string>

namespace slash32 {
namespace {

using namespace std::chrono_literals;

class KernelRoutingTest : public PlaneTest {
  protected:
    static std::string run(const std::string& command) { return Kernel::run(command); }

    void SetUp() override {
        if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs the right to make a namespace";
        PlaneTest::SetUp();
        run("ip link set lo up");
        KernelRouting::Options options;
        for (int i = 0; i < 2; ++i) {
            const std::string name = "tap" + std::to_string(i);
            const std::string far = "far" + std::to_string(i);
            run(fmt::format("ip link add {} type veth peer name {}", name, far));
            run("ip link set " + far + " arp off up");
            run("ip link set " + name + " up");
            run("ip address add 192.0.2." + std::to_string(2 * i) + "/31 dev " + name);
            UplinkSpec spec;
            spec.name = name;
            spec.devargs = "x";
            uplinks_[i] = *plane_->add_uplink(spec);
            device_event(uplinks_[i], DeviceEvent::Type::kRingsReady);
            options.uplinks[name] = uplinks_[i];
        }
        options.routes.own_protocol = 132;
        options.routes.tables = {{254, VrfId{0}}, {255, VrfId{0}}, {100, VrfId{7}}};
        routing_ = KernelRouting::start(io_, *plane_, options).value();
        turn([this] { return routing_->mirror().complete; });
    }
    void TearDown() override {
        if (IsSkipped()) return;
        routing_.reset();
        PlaneTest::TearDown();
    }

    struct Kernel : test::KernelTest {
        using KernelTest::run;
        void TestBody() override {}
    };

    // Runs the loop until the condition holds.
    template <typename F>
    bool turn(F&& condition) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            io_.run_for(1ms);
            settle();
        }
        return true;
    }
    // How the members of the route's group look, "tap0 via 192.0.2.1" and the like; "none" without
    // a route.
    std::string ways(const std::string& prefix, uint16_t vrf = 0) {
        const auto group = fib_->get(VrfId{vrf}, *parse_prefix(prefix));
        if (!group) return "none";
        if (!is_group(*group)) return "an owner's";
        std::string text;
        for (const GroupMember& member : plane_->groups().members(*group)) {
            const NextHopSpec& spec = plane_->next_hops().spec(member.hop);
            if (!text.empty()) text += ", ";
            text += describe(spec);
            if (member.weight != 1) text += " x" + std::to_string(member.weight);
        }
        return text.empty() ? "nowhere" : text;
    }
    std::string describe(const NextHopSpec& spec) const {
        using Kind = NextHopSpec::Kind;
        if (spec.kind == Kind::kHost) return "host";
        if (spec.kind == Kind::kBlackhole) return "blackhole";
        if (spec.kind == Kind::kUnreachable) return "unreachable";
        const std::string name = spec.port == uplinks_[0] ? "tap0" : "tap1";
        return spec.via ? name + " via " + to_string(*spec.via) : name;
    }
    testing::AssertionResult becomes(const std::string& prefix, const std::string& expected,
                                     uint16_t vrf = 0) {
        if (turn([&] { return ways(prefix, vrf) == expected; })) return testing::AssertionSuccess();
        return testing::AssertionFailure() << prefix << " is " << ways(prefix, vrf);
    }

    asio::io_context io_;
    PortId uplinks_[2];
    std::unique_ptr<KernelRouting> routing_;
};

TEST_F(KernelRoutingTest, RoutesOfEveryKindFollowTheKernel) {
    EXPECT_TRUE(becomes("192.0.2.0/31", "tap0"));
    EXPECT_TRUE(becomes("192.0.2.2/32", "host"));
    run("ip route add 10.1.0.0/16 via 192.0.2.1");
    run("ip route add 10.2.0.0/16 nexthop via 192.0.2.1 weight 3 nexthop via 192.0.2.3");
    run("ip route add blackhole 10.3.0.0/16");
    run("ip route add prohibit 10.4.0.0/16");
    run("ip route add 10.5.0.0/16 via inet6 fe80::99 dev tap1");
    run("ip -6 route add 2001:db8:1::/48 via fe80::1 dev tap0");
    run("ip route add 10.6.0.0/16 via 192.0.2.1 table 100");
    run("ip route add 10.7.0.0/16 via 192.0.2.1 table 101");
    run("ip route add 10.8.0.0/16 dev lo");
    run("ip route add 10.9.0.0/16 via 192.0.2.1 proto 132");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap0 via 192.0.2.1"));
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap0 via 192.0.2.1 x3, tap1 via 192.0.2.3"));
    EXPECT_TRUE(becomes("10.3.0.0/16", "blackhole"));
    EXPECT_TRUE(becomes("10.4.0.0/16", "unreachable"));
    EXPECT_TRUE(becomes("10.5.0.0/16", "tap1 via fe80::99"));
    EXPECT_TRUE(becomes("2001:db8:1::/48", "tap0 via fe80::1"));
    EXPECT_TRUE(becomes("10.6.0.0/16", "tap0 via 192.0.2.1", 7));
    EXPECT_TRUE(becomes("10.8.0.0/16", "nowhere"));
    EXPECT_EQ(ways("10.7.0.0/16"), "none");
    EXPECT_EQ(ways("10.9.0.0/16"), "none");
    EXPECT_EQ(routing_->hop_sets().unresolved(), 1u);
    run("ip route replace 10.1.0.0/16 via 192.0.2.3");
    run("ip route del 10.2.0.0/16");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap1 via 192.0.2.3"));
    EXPECT_TRUE(becomes("10.2.0.0/16", "none"));
}

TEST_F(KernelRoutingTest, BestMetricStandsAndTheNextFollowsIt) {
    run("ip route add 10.1.0.0/16 via 192.0.2.1 metric 20");
    run("ip route add 10.1.0.0/16 via 192.0.2.3 metric 10");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap1 via 192.0.2.3"));
    run("ip route del 10.1.0.0/16 metric 10");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap0 via 192.0.2.1"));
}

TEST_F(KernelRoutingTest, WaysOfAnIpv6RouteComeAndGoOneByOne) {
    run("ip -6 route add 2001:db8:1::/48 via fe80::1 dev tap0");
    run("ip -6 route append 2001:db8:1::/48 via fe80::2 dev tap1");
    EXPECT_TRUE(becomes("2001:db8:1::/48", "tap0 via fe80::1, tap1 via fe80::2"));
    run("ip -6 route del 2001:db8:1::/48 via fe80::1 dev tap0");
    EXPECT_TRUE(becomes("2001:db8:1::/48", "tap1 via fe80::2"));
    run("ip -6 route del 2001:db8:1::/48");
    EXPECT_TRUE(becomes("2001:db8:1::/48", "none"));
}

TEST_F(KernelRoutingTest, RouteBehindAnotherIsTheKernelsToChoose) {
    run("ip route add 10.1.0.0/16 via 192.0.2.1");
    run("ip route append 10.1.0.0/16 via 192.0.2.3");
    run("ip route add 10.2.0.0/16 via 192.0.2.1");
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap0 via 192.0.2.1"));
    EXPECT_EQ(ways("10.1.0.0/16"), "tap0 via 192.0.2.1");
    run("ip route del 10.1.0.0/16 via 192.0.2.3");
    run("ip route del 10.2.0.0/16");
    EXPECT_TRUE(becomes("10.2.0.0/16", "none"));
    EXPECT_EQ(ways("10.1.0.0/16"), "tap0 via 192.0.2.1");
}

TEST_F(KernelRoutingTest, NextHopObjectsChangeUnderTheirRoutes) {
    run("ip nexthop add id 1 via 192.0.2.1 dev tap0");
    run("ip nexthop add id 2 via 192.0.2.3 dev tap1");
    run("ip nexthop add id 9 group 1/2,4");
    run("ip route add 10.1.0.0/16 nhid 9");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap0 via 192.0.2.1, tap1 via 192.0.2.3 x4"));
    run("ip nexthop replace id 2 via 192.0.2.1 dev tap0");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap0 via 192.0.2.1 x5"));
    run("ip nexthop del id 2");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap0 via 192.0.2.1"));
    run("ip nexthop del id 9");
    EXPECT_TRUE(becomes("10.1.0.0/16", "none"));
}

TEST_F(KernelRoutingTest, OwnersRouteHidesTheLearnedOneAndGivesItBack) {
    run("ip route add 10.1.0.11/32 via 192.0.2.1");
    EXPECT_TRUE(becomes("10.1.0.11/32", "tap0 via 192.0.2.1"));
    PortIntent vm;
    vm.name = "vm1";
    vm.socket = "/run/vm1";
    vm.mac = *parse_mac("52:54:00:00:00:01");
    vm.addresses = {{*parse_ip("10.1.0.11"), 32}};
    const PortId id = *plane_->add_port(vm);
    EXPECT_EQ(ways("10.1.0.11/32"), "an owner's");
    run("ip route replace 10.1.0.11/32 via 192.0.2.3");
    run("ip route add 10.2.0.0/16 via 192.0.2.1");
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap0 via 192.0.2.1"));
    EXPECT_EQ(ways("10.1.0.11/32"), "an owner's");
    plane_->remove_port(id);
    EXPECT_EQ(ways("10.1.0.11/32"), "tap1 via 192.0.2.3");
    run("ip route del 10.1.0.11/32");
    EXPECT_TRUE(becomes("10.1.0.11/32", "none"));
}

TEST_F(KernelRoutingTest, LinkThatIsDownLeavesTheGroupsAndComesBack) {
    run("ip route add 10.2.0.0/16 nexthop via 192.0.2.1 nexthop via 192.0.2.3");
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap0 via 192.0.2.1, tap1 via 192.0.2.3"));
    device_event(uplinks_[0], DeviceEvent::Type::kDisconnected);
    EXPECT_EQ(ways("10.2.0.0/16"), "tap1 via 192.0.2.3");
    device_event(uplinks_[1], DeviceEvent::Type::kDisconnected);
    EXPECT_EQ(ways("10.2.0.0/16"), "tap0 via 192.0.2.1, tap1 via 192.0.2.3");
    device_event(uplinks_[0], DeviceEvent::Type::kRingsReady);
    EXPECT_EQ(ways("10.2.0.0/16"), "tap0 via 192.0.2.1");
}

TEST_F(KernelRoutingTest, InterfaceThatIsSetDownTakesItsRoutesAlong) {
    run("ip route add 10.1.0.0/16 via 192.0.2.1");
    run("ip route add 10.2.0.0/16 nexthop via 192.0.2.1 nexthop via 192.0.2.3");
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap0 via 192.0.2.1, tap1 via 192.0.2.3"));
    run("ip link set tap0 down");
    EXPECT_TRUE(becomes("10.1.0.0/16", "none"));
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap1 via 192.0.2.3"));
}

TEST_F(KernelRoutingTest, NeighboursOfTheKernelCompleteAdjacencies) {
    run("ip route add 10.1.0.0/16 via 192.0.2.1");
    EXPECT_TRUE(becomes("10.1.0.0/16", "tap0 via 192.0.2.1"));
    const auto adjacency = [&] {
        const NextHopId group = *fib_->get(VrfId{0}, *parse_prefix("10.1.0.0/16"));
        return plane_->next_hops().adjacency(plane_->groups().members(group)[0].hop);
    };
    EXPECT_EQ(adjacency().kind, AdjacencyKind::kIncomplete);
    run("ip neighbor replace 192.0.2.1 lladdr 02:00:00:00:00:aa dev tap0");
    EXPECT_TRUE(turn([&] { return adjacency().kind == AdjacencyKind::kEthernet; }));
    EXPECT_EQ(to_string(adjacency().destination), "02:00:00:00:00:aa");
    run("ip neighbor replace 192.0.2.1 lladdr 02:00:00:00:00:bb dev tap0");
    EXPECT_TRUE(turn([&] { return to_string(adjacency().destination) == "02:00:00:00:00:bb"; }));
    run("ip neighbor del 192.0.2.1 dev tap0");
    EXPECT_TRUE(turn([&] { return adjacency().kind == AdjacencyKind::kIncomplete; }));
}

TEST_F(KernelRoutingTest, NeighbourThatDoesNotAnswerLeavesTheGroup) {
    run("ip route add 10.2.0.0/16 nexthop via 192.0.2.1 nexthop via 192.0.2.3");
    run("ip neighbor replace 192.0.2.3 lladdr 02:00:00:00:00:bb dev tap1");
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap0 via 192.0.2.1, tap1 via 192.0.2.3"));
    // Nobody is behind tap0: the kernel asks three times.
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap1 via 192.0.2.3"));
    EXPECT_NE(run("ip neighbor show 192.0.2.3").find("PERMANENT"), std::string::npos);
    run("ip neighbor replace 192.0.2.1 lladdr 02:00:00:00:00:aa dev tap0");
    EXPECT_TRUE(becomes("10.2.0.0/16", "tap0 via 192.0.2.1, tap1 via 192.0.2.3"));
}

// After any sequence of changes, an overrun among them, each prefix stands as the kernel shows it.
TEST_F(KernelRoutingTest, AgreesWithTheKernelAfterRandomChanges) {
    std::mt19937 random(7);
    for (int round = 0; round < 10; ++round) {
        std::string batch;
        for (int i = 0; i < 200; ++i) {
            const std::string prefix = "10." + std::to_string(random() % 20) + ".0.0/16";
            const std::string via = random() % 2 != 0 ? "192.0.2.1" : "192.0.2.3";
            const std::string metric = " metric " + std::to_string(10 + random() % 3);
            if (random() % 3 == 0)
                batch += fmt::format("route del {}{}\n", prefix, metric);
            else
                batch += fmt::format("route replace {} via {}{}\n", prefix, via, metric);
        }
        FILE* pipe = popen("ip -force -batch - >/dev/null 2>&1", "w");
        fputs(batch.c_str(), pipe);
        pclose(pipe);
        if (round % 3 == 2) routing_->read_all_again();
        for (int net = 0; net < 20; ++net) {
            const std::string prefix = "10." + std::to_string(net) + ".0.0/16";
            // In the order of their metrics.
            const std::string shown = run("ip route show " + prefix);
            std::string expected = "none";
            if (shown.find("via 192.0.2.1") != std::string::npos ||
                shown.find("via 192.0.2.3") != std::string::npos)
                expected = shown.substr(shown.find("via ") + 4, 9) == "192.0.2.1"
                               ? "tap0 via 192.0.2.1"
                               : "tap1 via 192.0.2.3";
            EXPECT_TRUE(becomes(prefix, expected)) << shown;
        }
    }
    EXPECT_GE(routing_->mirror().dumps, 4u);
}

}  // namespace
}  // namespace slash32
