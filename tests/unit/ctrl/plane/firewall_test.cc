// SPDX-License-Identifier: Apache-2.0
// Security groups through the plane: what reaches the workers, and when flows are told.
#include "dp/table/policy.h"
#include "tests/unit/ctrl/plane/fakes.h"

#include <string>

namespace slash32 {
namespace {

constexpr auto kSg = GroupKind::kSecurityGroup;

class FirewallPlaneTest : public PlaneTest {
  protected:
    static PortIntent port(const std::string& name, const char* address,
                           std::vector<std::string> groups) {
        PortIntent intent;
        intent.name = name;
        intent.socket = "/run/" + name;
        intent.mac = *parse_mac("52:54:00:00:00:01");
        const IpAddress ip = *parse_ip(address);
        intent.addresses.push_back({ip, ip.bits()});
        intent.groups = std::move(groups);
        return intent;
    }
    static GroupIntent group(const std::string& name, std::vector<RuleIntent> rules) {
        GroupIntent intent;
        intent.key = {kSg, name};
        intent.rules = std::move(rules);
        return intent;
    }
    static RuleIntent tcp(uint16_t low, uint16_t high) {
        RuleIntent rule;
        rule.protocol = 6;
        rule.port_min = low;
        rule.port_max = high;
        return rule;
    }
    static RuleIntent from_group(const std::string& name) {
        RuleIntent rule;
        rule.remote = GroupKey{kSg, name};
        return rule;
    }
    const PortConfig* config(PortId id) { return workers_[0].ports.at(id); }
    uint32_t epoch() const { return generations_->epoch.load(); }
};

TEST_F(FirewallPlaneTest, PortsOfTheSameGroupsShareOnePolicy) {
    ASSERT_TRUE(plane_->set_group(group("web", {tcp(80, 80)})));
    ASSERT_TRUE(plane_->set_group(group("ssh", {tcp(22, 22)})));
    const PortId a = *plane_->add_port(port("a", "10.0.0.1", {"web", "ssh"}));
    const PortId b = *plane_->add_port(port("b", "10.0.0.2", {"ssh", "web"}));
    const PortId c = *plane_->add_port(port("c", "10.0.0.3", {"web"}));
    const PortId open = *plane_->add_port(port("d", "10.0.0.4", {"web", "any"}));
    const PortId closed = *plane_->add_port(port("e", "10.0.0.5", {}));
    settle();
    EXPECT_NE(config(a)->policy, nullptr);
    EXPECT_EQ(config(a)->policy, config(b)->policy);
    EXPECT_NE(config(a)->policy, config(c)->policy);
    EXPECT_NE(config(a)->policy->generation, config(c)->policy->generation);
    EXPECT_EQ(config(open)->policy, nullptr);
    EXPECT_TRUE(config(open)->has(kFilterOpen));
    EXPECT_EQ(config(closed)->policy, nullptr);
    EXPECT_FALSE(config(closed)->has(kFilterOpen));
}

TEST_F(FirewallPlaneTest, ChangedRulesReachItsPortsAndNoOthersAndThenFlowsAreTold) {
    ASSERT_TRUE(plane_->set_group(group("web", {tcp(80, 80)})));
    ASSERT_TRUE(plane_->set_group(group("ssh", {tcp(22, 22)})));
    const PortId web = *plane_->add_port(port("a", "10.0.0.1", {"web"}));
    const PortId ssh = *plane_->add_port(port("b", "10.0.0.2", {"ssh"}));
    settle();
    const uint32_t web_before = config(web)->policy->generation;
    const Policy* ssh_before = config(ssh)->policy;
    const std::vector<RuleId> ids = plane_->rule_ids("web");
    const uint32_t before = epoch();
    ASSERT_TRUE(plane_->set_group(group("web", {tcp(80, 80), tcp(443, 443)})));
    EXPECT_EQ(epoch(), before) << "a worker may still have the old policy";
    settle();
    EXPECT_GT(epoch(), before);
    EXPECT_GT(config(web)->policy->generation, web_before);
    EXPECT_EQ(config(ssh)->policy, ssh_before);
    EXPECT_EQ(plane_->rule_ids("web")[0], ids[0]) << "a rule that stays keeps its counter";
    // The same again is nothing.
    const uint32_t after = epoch();
    ASSERT_TRUE(plane_->set_group(group("web", {tcp(80, 80), tcp(443, 443)})));
    settle();
    EXPECT_EQ(epoch(), after);
}

TEST_F(FirewallPlaneTest, AddressesOfPortsAreMembersOfTheirGroups) {
    ASSERT_TRUE(plane_->set_group(group("web", {from_group("web")})));
    const PortId a = *plane_->add_port(port("a", "10.0.0.1", {"web"}));
    const IpPrefix told = *parse_prefix("10.0.0.1/32");
    settle();
    const PolicyTable* table = config(a)->policy->table(PolicyDirection::kIngress, false);
    ASSERT_NE(table, nullptr);
    ASSERT_EQ(table->set_count, 1u);
    const SetId set = table->sets[0].set;
    const auto has = [&](const char* address) { return sets_->contains(set, *parse_ip(address)); };
    EXPECT_TRUE(has("10.0.0.1"));
    // Told by the owner too: it stays until both have gone.
    ASSERT_TRUE(plane_->add_members({kSg, "web"}, {told, *parse_prefix("192.0.2.0/24")}));
    EXPECT_TRUE(has("192.0.2.9"));
    ASSERT_TRUE(plane_->change_port(a, port("a", "10.0.0.7", {"web"})));
    EXPECT_TRUE(has("10.0.0.1"));
    EXPECT_TRUE(has("10.0.0.7"));
    const uint32_t before = epoch();
    plane_->remove_members({kSg, "web"}, {told});
    EXPECT_FALSE(has("10.0.0.1"));
    EXPECT_GT(epoch(), before);
    plane_->remove_port(a);
    EXPECT_FALSE(has("10.0.0.7"));
}

// The same address is another machine's in another VRF.
TEST_F(FirewallPlaneTest, MembersOfAGroupAreThoseOfTheVrf) {
    ASSERT_TRUE(plane_->set_group(group("web", {from_group("web")})));
    const auto in = [](const char* name, uint16_t vrf, const char* address) {
        PortIntent intent = port(name, address, {"web"});
        intent.vrf = VrfId{vrf};
        return intent;
    };
    const PortId a = *plane_->add_port(in("a", 7, "10.0.0.1"));
    const PortId b = *plane_->add_port(in("b", 8, "10.0.0.2"));
    ASSERT_TRUE(plane_->add_members({kSg, "web"}, {*parse_prefix("192.0.2.0/24")}));
    settle();
    const auto has = [&](PortId port, const char* address) {
        const PolicyTable* table = config(port)->policy->table(PolicyDirection::kIngress, false);
        return sets_->contains(table->sets[0].set, *parse_ip(address));
    };
    EXPECT_NE(config(a)->policy, config(b)->policy);
    EXPECT_TRUE(has(a, "10.0.0.1"));
    EXPECT_FALSE(has(a, "10.0.0.2"));
    EXPECT_TRUE(has(b, "10.0.0.2"));
    EXPECT_FALSE(has(b, "10.0.0.1"));
    // What the owner tells is in both, and in those that come later.
    EXPECT_TRUE(has(a, "192.0.2.9") && has(b, "192.0.2.9"));
    const PortId c = *plane_->add_port(in("c", 9, "10.0.0.3"));
    settle();
    EXPECT_TRUE(has(c, "192.0.2.9"));
    plane_->remove_members({kSg, "web"}, {*parse_prefix("192.0.2.0/24")});
    EXPECT_FALSE(has(a, "192.0.2.9") || has(b, "192.0.2.9") || has(c, "192.0.2.9"));
    // A port that changes its VRF takes its membership along.
    ASSERT_TRUE(plane_->change_port(a, in("a", 8, "10.0.0.1")));
    settle();
    EXPECT_TRUE(has(b, "10.0.0.1"));
}

TEST_F(FirewallPlaneTest, SetsOfVrfsWithoutPortsAreGivenBack) {
    ASSERT_TRUE(plane_->set_group(group("web", {from_group("web")})));
    PortIntent intent = port("a", "10.0.0.1", {"web"});
    for (size_t i = 0; i < kMaxAddressSets + 8; ++i) {
        intent.vrf = VrfId{static_cast<uint16_t>(1 + i % (kMaxVrfs - 1))};
        const auto added = plane_->add_port(intent);
        ASSERT_TRUE(added) << i;
        settle();
        plane_->remove_port(*added);
        settle();
    }
}

TEST_F(FirewallPlaneTest, RuleIdIsUsedAgainOnlyWhenNoWorkerDecidesByIt) {
    std::vector<RuleId> freed;
    plane_->firewall().on_rule_freed([&](RuleId id) { freed.push_back(id); });
    ASSERT_TRUE(plane_->set_group(group("web", {tcp(80, 80)})));
    ASSERT_TRUE(plane_->add_port(port("a", "10.0.0.1", {"web"})));
    settle();
    const RuleId id = plane_->rule_ids("web")[0];
    EXPECT_EQ(plane_->firewall().describe_rule(id),
              "rule 1 of security group web (ingress ipv4 tcp 80)");
    ASSERT_TRUE(plane_->set_group(group("web", {tcp(81, 81)})));
    work(0);
    publisher_->poll();
    EXPECT_TRUE(freed.empty()) << "the other worker has the old policy";
    settle();
    EXPECT_EQ(freed, std::vector{id});
}

TEST_F(FirewallPlaneTest, RoutesThatChangeAreToldOnceATurnAndBeforeAnIdIsFree) {
    ASSERT_TRUE(plane_->add_port(port("a", "10.0.0.1", {"any"})));
    settle();
    const auto routes = [&](uint16_t vrf) { return generations_->routes[vrf].load(); };
    const PortId uplink = *plane_->add_uplink([] {
        UplinkSpec spec;
        spec.name = "up0";
        spec.devargs = "net_null0";
        return spec;
    }());
    const auto hop = plane_->acquire_next_hop({.kind = NextHopSpec::Kind::kPort,
                                               .port = uplink,
                                               .via = parse_ip("192.0.2.1"),
                                               .mac = {}});
    ASSERT_TRUE(hop);
    settle();
    const uint32_t before = routes(0);
    for (int i = 0; i < 100; ++i)
        ASSERT_TRUE(
            plane_->set_route(VrfId{0}, {*parse_ip("10.1.0.0"), uint8_t(16 + i % 8)}, *hop));
    settle();
    EXPECT_EQ(routes(0), before + 1);
    EXPECT_EQ(routes(1), 0u);
    for (uint8_t length = 16; length < 24; ++length)
        plane_->remove_route(VrfId{0}, {*parse_ip("10.1.0.0"), length});
    plane_->release_next_hop(*hop);
    EXPECT_EQ(routes(0), before + 2) << "before anything else can be sent";
}

}  // namespace
}  // namespace slash32
