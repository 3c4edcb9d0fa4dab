// SPDX-License-Identifier: Apache-2.0
#include "ctrl/netlink/route_socket.h"

#include "tests/unit/ctrl/netlink/kernel_namespace.h"

#include <gtest/gtest.h>
#include <net/if.h>

#include <algorithm>

namespace slash32::test {
namespace {

constexpr uint8_t kProtocol = 132;

class RouteSocketTest : public KernelTest {
  protected:
    void SetUp() override {
        KernelTest::SetUp();
        if (IsSkipped()) return;
        socket_ = RouteSocket::open(kProtocol).value();
    }
    static KernelRoute to(const char* prefix, uint32_t table = 254) {
        return {.prefix = parse_prefix(prefix).value(),
                .table = table,
                .metric = 100,
                .interface = if_nametoindex("tap0")};
    }
    std::unique_ptr<RouteSocket> socket_;
};

TEST_F(RouteSocketTest, AddedRoutesStandAndAreReadBack) {
    std::vector<KernelRoute> added = {to("10.0.0.11"), to("10.1.0.0/16"), to("2001:db8::11")};
    for (const KernelRoute& route : added)
        ASSERT_TRUE(socket_->add(route)) << to_string(route.prefix);
    const std::string shown = routes("main");
    EXPECT_NE(shown.find("10.0.0.11 dev tap0 scope link metric 100"), std::string::npos) << shown;
    EXPECT_NE(shown.find("10.1.0.0/16 dev tap0 scope link metric 100"), std::string::npos) << shown;
    EXPECT_NE(shown.find("2001:db8::11 dev tap0 metric 100"), std::string::npos) << shown;
    auto read = socket_->routes().value();
    std::ranges::sort(read);
    std::ranges::sort(added);
    EXPECT_EQ(read, added);
}

TEST_F(RouteSocketTest, OnlyOurRoutesAreRead) {
    run("ip route add 10.0.0.12 dev tap0 metric 100");
    run("ip route add 10.0.0.13 dev tap0 metric 100 proto 132 table 5000");
    run("ip route add blackhole 10.0.0.14 proto 132");
    ASSERT_TRUE(socket_->add(to("10.0.0.11")));
    auto read = socket_->routes().value();
    std::ranges::sort(read);
    EXPECT_EQ(read, (std::vector{to("10.0.0.11"), to("10.0.0.13", 5000)}));
}

TEST_F(RouteSocketTest, RemovedRoutesAreGoneAndOthersStay) {
    run("ip route add 10.0.0.12 dev tap0 metric 100");
    run("ip -6 route add 2001:db8::12 dev tap0 metric 100");
    for (const char* prefix : {"10.0.0.11", "2001:db8::11"}) {
        ASSERT_TRUE(socket_->add(to(prefix)));
        EXPECT_TRUE(socket_->remove(to(prefix)));
        EXPECT_TRUE(socket_->remove(to(prefix))) << "what is not there is no error";
    }
    EXPECT_EQ(routes("main"), "");
    // Somebody else's are not touched, though everything but the protocol is the same.
    EXPECT_TRUE(socket_->remove(to("10.0.0.12")));
    EXPECT_TRUE(socket_->remove(to("2001:db8::12")));
    EXPECT_NE(run("ip -4 route").find("10.0.0.12 dev tap0"), std::string::npos);
    EXPECT_NE(run("ip -6 route").find("2001:db8::12 dev tap0"), std::string::npos);
}

TEST_F(RouteSocketTest, SomebodyElsesRouteIsAConflict) {
    for (const char* prefix : {"10.0.0.12", "2001:db8::12"}) {
        run(std::string("ip route add ") + prefix + " dev lo metric 100");
        const auto added = socket_->add(to(prefix));
        ASSERT_FALSE(added);
        EXPECT_EQ(added.error().code, ErrorCode::kConflict);
        EXPECT_NE(added.error().message.find(prefix), std::string::npos);
        EXPECT_NE(added.error().message.find("metric 100"), std::string::npos);
    }
}

TEST_F(RouteSocketTest, SaysWhatIsWrongWithTheInterface) {
    KernelRoute route = to("10.0.0.11");
    route.interface = 4711;
    EXPECT_EQ(socket_->add(route).error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(socket_->remove(route));
    run("ip link set tap0 down");
    const auto added = socket_->add(to("10.0.0.11"));
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().code, ErrorCode::kUnavailable);
    EXPECT_NE(added.error().message.find("down"), std::string::npos) << added.error().message;
}

TEST_F(RouteSocketTest, ReadsADumpOfManyParts) {
    constexpr unsigned kRoutes = 5000;
    for (unsigned n = 0; n < kRoutes; ++n) {
        const IpAddress address = Ip4{Be32{10u << 24 | 1u << 16 | n}};
        ASSERT_TRUE(socket_->add({.prefix = {address, 32},
                                  .table = 254,
                                  .metric = 100,
                                  .interface = if_nametoindex("tap0")}));
    }
    EXPECT_EQ(socket_->routes().value().size(), kRoutes);
}

}  // namespace
}  // namespace slash32::test
