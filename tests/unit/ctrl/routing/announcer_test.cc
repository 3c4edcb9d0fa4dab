// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/announcer.h"

#include "tests/unit/ctrl/netlink/kernel_namespace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace slash32::test {
namespace {

using namespace std::chrono_literals;

constexpr PortId kFirst{1};
constexpr PortId kSecond{2};

std::vector<IpAddress> addresses(std::initializer_list<const char*> texts) {
    std::vector<IpAddress> list;
    for (const char* text : texts)
        list.push_back(parse_ip(text).value());
    return list;
}

class AnnouncerTest : public KernelTest {
  protected:
    void start(std::chrono::seconds hold = 0s, const char* interface = "tap0") {
        announcer_ = Announcer::start(io_, {.interface = interface,
                                            .table = 254,
                                            .metric = 100,
                                            .protocol = 132,
                                            .hold = hold})
                         .value();
    }
    // Runs the event loop until it is so, or for three seconds.
    bool until(const std::function<bool()>& condition) {
        const auto end = std::chrono::steady_clock::now() + 3s;
        while (std::chrono::steady_clock::now() < end) {
            io_.restart();
            io_.run_for(5ms);
            if (condition()) return true;
        }
        return false;
    }
    static bool stands(const std::string& address) {
        const std::string all = "\n" + routes("main");
        return all.find("\n" + address + " dev tap0 ") != std::string::npos;
    }

    asio::io_context io_;
    std::unique_ptr<Announcer> announcer_;
};

TEST_F(AnnouncerTest, RoutesComeAndGoWithThePort) {
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11", "2001:db8::11"})});
    EXPECT_TRUE(stands("10.0.0.11"));
    EXPECT_TRUE(stands("2001:db8::11"));
    EXPECT_EQ(announcer_->announced(kFirst), addresses({"10.0.0.11", "2001:db8::11"}));
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11", "10.0.0.12"})});
    EXPECT_TRUE(stands("10.0.0.11"));
    EXPECT_TRUE(stands("10.0.0.12"));
    EXPECT_FALSE(stands("2001:db8::11"));
    announcer_->set_port(kFirst, {});
    EXPECT_EQ(routes("main"), "");
    EXPECT_TRUE(announcer_->announced(kFirst).empty());
}

TEST_F(AnnouncerTest, AddressThatMovesBetweenPortsIsNotWithdrawn) {
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"})});
    announcer_->set_port(kSecond, {.addresses = addresses({"10.0.0.11"})});
    announcer_->set_port(kFirst, {});
    EXPECT_TRUE(stands("10.0.0.11"));
    announcer_->set_port(kSecond, {});
    EXPECT_FALSE(stands("10.0.0.11"));
}

TEST_F(AnnouncerTest, PortHasItsOwnTableAndMetric) {
    start();
    announcer_->set_port(
        kFirst,
        {.addresses = addresses({"10.0.0.11", "2001:db8::11"}), .table = 5000, .metric = 7});
    EXPECT_EQ(routes("main"), "");
    EXPECT_EQ(routes("5000"),
              "10.0.0.11 dev tap0 scope link metric 7 linkdown \n"
              "2001:db8::11 dev tap0 metric 7 linkdown pref medium\n");
    // Made worse: the new route stands before the old one goes.
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"}), .metric = 900});
    EXPECT_EQ(routes("main"), "10.0.0.11 dev tap0 scope link metric 900 linkdown \n");
    EXPECT_EQ(routes("5000"), "");
}

TEST_F(AnnouncerTest, RoutesOfAVmThatHasGoneLinger) {
    start();
    const Reachable here{.addresses = addresses({"10.0.0.11"})};
    announcer_->set_port(kFirst, here);
    announcer_->set_port(kFirst, {.addresses = {}, .linger = 200ms});
    announcer_->set_port(kFirst, {.addresses = {}, .linger = 200ms});
    EXPECT_TRUE(stands("10.0.0.11"));
    EXPECT_TRUE(announcer_->announced(kFirst).empty());
    // It is back in time.
    announcer_->set_port(kFirst, here);
    io_.run_for(300ms);
    EXPECT_TRUE(stands("10.0.0.11"));
    announcer_->set_port(kFirst, {.addresses = {}, .linger = 200ms});
    EXPECT_TRUE(stands("10.0.0.11"));
    EXPECT_TRUE(until([] { return !stands("10.0.0.11"); }));
}

TEST_F(AnnouncerTest, WithdrawalEndsTheLingering) {
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"})});
    announcer_->set_port(kFirst, {.addresses = {}, .linger = 60s});
    announcer_->set_port(kFirst, {});
    EXPECT_FALSE(stands("10.0.0.11"));
}

TEST_F(AnnouncerTest, NextPortOfAnIdDoesNotEndTheLingeringOfTheLast) {
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"})});
    announcer_->set_port(kFirst, {.addresses = {}, .linger = 200ms, .removed = true});
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.12"})});
    EXPECT_TRUE(stands("10.0.0.11"));
    EXPECT_TRUE(until([] { return !stands("10.0.0.11"); }));
    EXPECT_TRUE(stands("10.0.0.12"));
}

TEST_F(AnnouncerTest, RouteThatSomebodyRemovesComesBack) {
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11", "2001:db8::11"})});
    run("ip route del 10.0.0.11");
    run("ip route del 2001:db8::11");
    EXPECT_TRUE(until([] { return stands("10.0.0.11") && stands("2001:db8::11"); }));
}

TEST_F(AnnouncerTest, InterfaceThatWasDownHasItsRoutesAgain) {
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"})});
    run("ip link set tap0 down");
    EXPECT_FALSE(stands("10.0.0.11"));
    EXPECT_TRUE(until([this] { return !announcer_->problem().empty(); }));
    EXPECT_TRUE(announcer_->announced(kFirst).empty());
    run("ip link set tap0 up");
    EXPECT_TRUE(until([] { return stands("10.0.0.11"); }));
    EXPECT_EQ(announcer_->problem(), "");
}

TEST_F(AnnouncerTest, InterfaceMayComeLater) {
    start(0s, "tap1");
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"})});
    EXPECT_TRUE(until([this] { return announcer_->problem() == "there is no interface tap1"; }));
    run("ip tuntap add tap1 mode tap");
    run("ip link set tap1 up");
    EXPECT_TRUE(until([this] { return !announcer_->announced(kFirst).empty(); }));
    EXPECT_NE(routes("main").find("10.0.0.11 dev tap1"), std::string::npos);
}

TEST_F(AnnouncerTest, WhatStoodBeforeIsHeldForAWhile) {
    run("ip route add 10.0.0.11 dev tap0 metric 100 proto 132");
    run("ip route add 10.0.0.12 dev tap0 metric 100 proto 132");
    start(1s);
    EXPECT_EQ(announcer_->count(), 2u);
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"})});
    EXPECT_TRUE(stands("10.0.0.11"));
    EXPECT_TRUE(stands("10.0.0.12"));
    EXPECT_TRUE(until([] { return !stands("10.0.0.12"); }));
    EXPECT_TRUE(stands("10.0.0.11"));
}

TEST_F(AnnouncerTest, WhatIsOursButLeadsElsewhereIsRemovedAtOnce) {
    run("ip route add 10.0.0.11 dev lo metric 100 proto 132");  // of another configuration
    start(60s);
    EXPECT_EQ(routes("main"), "");
}

TEST_F(AnnouncerTest, SomebodyElsesRouteIsLeftAloneAndSaid) {
    run("ip route add 10.0.0.11 dev lo metric 100");
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11", "10.0.0.12"})});
    EXPECT_NE(announcer_->problem().find("10.0.0.11"), std::string::npos);
    EXPECT_TRUE(stands("10.0.0.12"));
    EXPECT_EQ(announcer_->announced(kFirst), addresses({"10.0.0.12"}));
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.12"})});
    EXPECT_NE(run("ip -4 route").find("10.0.0.11 dev lo"), std::string::npos);
}

TEST_F(AnnouncerTest, WhatCouldNotBeHadIsTriedAgain) {
    run("ip route add 10.0.0.11 dev lo metric 100");
    start();
    announcer_->set_port(kFirst, {.addresses = addresses({"10.0.0.11"})});
    run("ip route del 10.0.0.11 dev lo");
    EXPECT_TRUE(until([] { return stands("10.0.0.11"); }));
    EXPECT_EQ(announcer_->problem(), "");
}

}  // namespace
}  // namespace slash32::test
