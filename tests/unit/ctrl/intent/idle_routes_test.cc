// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/idle_routes.h"

#include "tests/unit/ctrl/intent/router.h"

namespace slash32 {
namespace {

constexpr uint32_t kIdle_s = 60;

// As the protocol makes it: the prefix is the route's.
RouteApply aging(const std::string& prefix, uint32_t idle_s = kIdle_s,
                 const std::string& owner = "cli") {
    HopRequest hop;
    hop.kind = NextHopSpec::Kind::kTunnel;
    hop.segment_routing.paths = {{.segments = {parse_ip("fc00:0:2:7::")->ipv6()}}};
    hop.segment_routing.aging =
        Aging{.idle_seconds = idle_s, .vrf = VrfId{0}, .prefix = *parse_prefix(prefix)};
    return route_set({prefix}, hop, owner);
}

class IdleRoutesTest : public ::testing::Test {
  protected:
    void start(const std::string& path = "") {
        router_ = std::make_unique<Router>(path);
        router_->intent->set_locator(*parse_prefix("fc00:0:1::/48"));
        idle_ = std::make_unique<IdleRoutes>(*router_->intent, router_->plane,
                                             [this](const RouteKey& key, const std::string& owner) {
                                                 gone_ +=
                                                     to_string(key.prefix) + " of " + owner + " ";
                                             });
    }
    // A packet goes by the route to the prefix.
    void use(const std::string& prefix, uint32_t when) {
        const auto& routes = router_->plane.routes;
        router_->plane.used[routes.at({VrfId{0}, *parse_prefix(prefix)})] = when;
    }
    // What has gone.
    std::string sweep(uint32_t now) {
        gone_.clear();
        idle_->sweep(now);
        bool done = false;
        router_->intent->read([&](State&) { done = true; });
        router_->wait([&] { return done; });
        return gone_;
    }
    bool has(const std::string& prefix) {
        return router_->intent->state().routes.find({VrfId{0}, *parse_prefix(prefix)}) != nullptr;
    }

    TempDir dir_;
    std::unique_ptr<Router> router_;
    std::unique_ptr<IdleRoutes> idle_;
    std::string gone_;
};

TEST_F(IdleRoutesTest, GoWhenNothingHasUsedThemForTheirTime) {
    start();
    ASSERT_TRUE(router_->ask(aging("10.0.0.1/32")));
    ASSERT_TRUE(router_->ask(aging("10.0.0.2/32", 2 * kIdle_s, "neutron")));
    use("10.0.0.1/32", 1000);
    use("10.0.0.2/32", 1000);
    EXPECT_EQ(sweep(1000 + kIdle_s), "");
    EXPECT_EQ(sweep(999), "");  // a worker's clock is ahead
    EXPECT_EQ(sweep(1001 + kIdle_s), "10.0.0.1/32 of cli ");
    EXPECT_FALSE(has("10.0.0.1/32"));
    EXPECT_TRUE(has("10.0.0.2/32"));
    use("10.0.0.2/32", 1100);
    EXPECT_EQ(sweep(1001 + 2 * kIdle_s), "");
    EXPECT_EQ(sweep(1101 + 2 * kIdle_s), "10.0.0.2/32 of neutron ");
    EXPECT_TRUE(router_->plane.hops.empty());
}

TEST_F(IdleRoutesTest, DoNotShareANextHop) {
    start();
    ASSERT_TRUE(router_->ask(aging("10.0.0.1/32")));
    ASSERT_TRUE(router_->ask(aging("10.0.0.2/32")));
    use("10.0.0.1/32", 1000);
    use("10.0.0.2/32", 1001);
    EXPECT_EQ(sweep(1001 + kIdle_s), "10.0.0.1/32 of cli ");
    EXPECT_TRUE(has("10.0.0.2/32"));
}

TEST_F(IdleRoutesTest, StayWhereTheyHaveBeenReplaced) {
    start();
    ASSERT_TRUE(router_->ask(aging("10.0.0.1/32")));
    use("10.0.0.1/32", 1000);
    ASSERT_TRUE(router_->ask(route_set({"10.0.0.1/32"}, {})));
    EXPECT_EQ(sweep(1001 + kIdle_s), "");
    EXPECT_TRUE(has("10.0.0.1/32"));
}

TEST_F(IdleRoutesTest, AgeAfterARestart) {
    const std::string path = dir_.file("intent.db");
    start(path);
    ASSERT_TRUE(router_->ask(aging("10.0.0.1/32")));
    idle_.reset();
    router_.reset();
    start(path);
    ASSERT_TRUE(has("10.0.0.1/32"));
    use("10.0.0.1/32", 1000);
    EXPECT_EQ(sweep(1001 + kIdle_s), "10.0.0.1/32 of cli ");
    EXPECT_FALSE(has("10.0.0.1/32"));
}

}  // namespace
}  // namespace slash32
