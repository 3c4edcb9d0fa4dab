// SPDX-License-Identifier: Apache-2.0
// Tunnels follow the underlay's routes to their first segments.
#include "tests/unit/ctrl/plane/fakes.h"

namespace slash32 {
namespace {

using namespace std::chrono_literals;

constexpr VrfId kTenant{7};

class TunnelTest : public PlaneTest {
  protected:
    void SetUp() override {
        PlaneTest::SetUp();
        const TunnelSettings settings{.source = parse_ip("fc00:0:1::")->ipv6(), .dscp = {}};
        EXPECT_TRUE(plane_->enable_segment_routing(*parse_prefix("fc00:0:1::/48"), settings));
        for (const char* name : {"up0", "up1"}) {
            UplinkSpec spec;
            spec.name = name;
            spec.devargs = "net_null0";
            spec.mtu = std::string_view(name) == "up0" ? 9000 : 1500;
            spec.addresses = {
                *parse_ip(std::string_view(name) == "up0" ? "192.0.2.1" : "192.0.2.3")};
            uplinks_.push_back(*plane_->add_uplink(spec));
        }
    }

    NextHopId acquire(const std::vector<std::pair<const char*, uint16_t>>& paths) {
        NextHopSpec spec{.kind = NextHopSpec::Kind::kTunnel};
        for (const auto& [segment, weight] : paths)
            spec.segment_routing.paths.push_back(
                {.segments = {parse_ip(segment)->ipv6()}, .reduced = true, .weight = weight});
        return *plane_->acquire_next_hop(spec);
    }
    NextHopId over(size_t uplink) {
        return *plane_->acquire_next_hop({.kind = NextHopSpec::Kind::kPort,
                                          .port = uplinks_[uplink],
                                          .via = parse_ip(uplink == 0 ? "192.0.2.0" : "192.0.2.2"),
                                          .mac = {}});
    }
    void lead(const char* prefix, NextHopId hop) {
        ASSERT_TRUE(plane_->set_route(VrfId{0}, *parse_prefix(prefix), hop));
    }
    void withdraw(const char* prefix) { plane_->remove_route(VrfId{0}, *parse_prefix(prefix)); }
    Adjacency at_worker(NextHopId id) {
        settle();
        return workers_[0].adjacencies.at(id);
    }
    // The members by their share of buckets.
    std::map<NextHopId, size_t> shares(NextHopId group) {
        std::map<NextHopId, size_t> shares;
        plane_->groups().for_each([&](NextHopId id, const NextHopGroup* published) {
            if (id != group || published == nullptr) return;
            for (const NextHopId hop : published->buckets)
                if (hop != kNoNextHop) ++shares[hop];
        });
        return shares;
    }

    std::vector<PortId> uplinks_;
};

TEST_F(TunnelTest, FlowsAskAgainWhenTheRoutesChangeThatTheirsLeadInto) {
    NextHopSpec into;
    into.kind = NextHopSpec::Kind::kVrf;
    into.vrf = VrfId{9};
    ASSERT_TRUE(
        plane_->set_route(kTenant, *parse_prefix("0.0.0.0/0"), *plane_->acquire_next_hop(into)));
    into.vrf = VrfId{0};
    ASSERT_TRUE(
        plane_->set_route(VrfId{9}, *parse_prefix("0.0.0.0/0"), *plane_->acquire_next_hop(into)));
    settle();
    const auto generation = [&](VrfId vrf) {
        return plane_->generations().routes[vrf.value()].load();
    };
    const uint32_t before = generation(kTenant);
    const uint32_t apart = generation(VrfId{8});
    lead("198.51.100.0/24", over(0));
    settle();
    EXPECT_GT(generation(kTenant), before);
    EXPECT_EQ(generation(VrfId{8}), apart);
}

TEST_F(TunnelTest, LeadsByTheRouteToItsFirstSegment) {
    const NextHopId tunnel = acquire({{"fc00:0:2:7::", 1}});
    EXPECT_EQ(at_worker(tunnel).kind, AdjacencyKind::kTunnel);
    EXPECT_EQ(at_worker(tunnel).underlay, kNoNextHop);
    const NextHopId up0 = over(0);
    lead("fc00:0:2::/48", up0);
    EXPECT_EQ(at_worker(tunnel).underlay, up0);
    EXPECT_EQ(at_worker(tunnel).mtu, 9000 - 40);
    const NextHopId up1 = over(1);
    lead("fc00:0:2:7::/64", up1);  // longer
    EXPECT_EQ(at_worker(tunnel).underlay, up1);
    EXPECT_EQ(at_worker(tunnel).mtu, 1500 - 40);
    withdraw("fc00:0:2:7::/64");
    EXPECT_EQ(at_worker(tunnel).underlay, up0);
    lead("fc00:0:3::/48", up1);  // another node's
    EXPECT_EQ(at_worker(tunnel).underlay, up0);
    withdraw("fc00:0:2::/48");
    EXPECT_EQ(at_worker(tunnel).underlay, kNoNextHop);
    plane_->release_next_hop(tunnel);
    lead("fc00:0:2::/48", up0);
    EXPECT_EQ(at_worker(tunnel).kind, AdjacencyKind::kNone);
}

TEST_F(TunnelTest, OfOneSegmentListIsOne) {
    const NextHopId first = acquire({{"fc00:0:2:7::", 1}});
    EXPECT_EQ(acquire({{"fc00:0:2:7::", 3}}), first);
    plane_->release_next_hop(first);
    EXPECT_EQ(at_worker(first).kind, AdjacencyKind::kTunnel);
    plane_->release_next_hop(first);
    EXPECT_EQ(at_worker(first).kind, AdjacencyKind::kNone);
}

TEST_F(TunnelTest, SaysWhenItWasUsedLastOfARouteThatAges) {
    auto use = std::make_unique<HopUse>();
    uint32_t clock = 50;
    plane_->set_hop_use(use.get(), [&] { return clock; });
    NextHopSpec spec{.kind = NextHopSpec::Kind::kTunnel};
    spec.segment_routing.paths = {{.segments = {parse_ip("fc00:0:2:7::")->ipv6()}}};
    spec.segment_routing.aging =
        Aging{.idle_seconds = 9, .vrf = kTenant, .prefix = *parse_prefix("10.0.0.1/32")};
    const NextHopId alone = *plane_->acquire_next_hop(spec);
    EXPECT_EQ(at_worker(alone).flags, kNotesUse);
    EXPECT_EQ(plane_->last_used(alone), 50u);
    (*use)[alone.value()] = 60;
    EXPECT_EQ(plane_->last_used(alone), 60u);

    // Of several paths the one that was used last counts.
    spec.segment_routing.paths.push_back({.segments = {parse_ip("fc00:0:3:7::")->ipv6()}});
    clock = 70;
    const NextHopId group = *plane_->acquire_next_hop(spec);
    lead("fc00:0:2::/47", over(0));
    EXPECT_EQ(plane_->last_used(group), 70u);
    const auto members = shares(group);
    ASSERT_EQ(members.size(), 2u);
    (*use)[members.begin()->first.value()] = 80;
    EXPECT_EQ(plane_->last_used(group), 80u);
}

TEST_F(TunnelTest, BelievesInASmallerMtuForAWhile) {
    const NextHopId tunnel = acquire({{"fc00:0:2:7::", 1}});
    lead("fc00:0:2::/48", over(0));
    const Ip6 segment = parse_ip("fc00:0:2:7::")->ipv6();
    const Tunnels::Clock::time_point now{};
    plane_->learn_tunnel_mtu(segment, 9500, now + 60s);                           // larger
    plane_->learn_tunnel_mtu(parse_ip("fc00:0:2:8::")->ipv6(), 1300, now + 60s);  // nobody's
    EXPECT_EQ(at_worker(tunnel).mtu, 9000 - 40);
    plane_->learn_tunnel_mtu(segment, 1400, now + 60s);
    EXPECT_EQ(at_worker(tunnel).mtu, 1400 - 40);
    // What shares the way has it, too, and a link with less of its own keeps that.
    EXPECT_EQ(at_worker(acquire({{"fc00:0:2:7::", 5}})).mtu, 1400 - 40);
    lead("fc00:0:2::/48", over(1));
    EXPECT_EQ(at_worker(tunnel).mtu, 1400 - 40);
    plane_->learn_tunnel_mtu(segment, 1300, now + 90s);
    EXPECT_EQ(at_worker(tunnel).mtu, 1300 - 40);
    plane_->forget_tunnel_mtus(now + 89s);
    EXPECT_EQ(at_worker(tunnel).mtu, 1300 - 40);
    plane_->forget_tunnel_mtus(now + 90s);
    EXPECT_EQ(at_worker(tunnel).mtu, 1500 - 40);
}

TEST_F(TunnelTest, FindsWhoseItsPacketWas) {
    const Ip6 segment = parse_ip("fc00:0:2:7::")->ipv6();
    PortIntent vm;
    vm.name = "vm1";
    vm.socket = "/run/vm1";
    vm.mac = Mac{{0x52, 0x54, 0, 0, 0, 1}};
    vm.vrf = kTenant;
    vm.addresses = {{*parse_ip("10.7.0.1"), 32}};
    const PortId port = *plane_->add_port(vm);
    const NextHopId tunnel = acquire({{"fc00:0:2:7::", 1}});
    const auto find = [&](const char* src, const char* dst) {
        return plane_->find_tunnel_sender(segment, *parse_ip(src), *parse_ip(dst));
    };
    EXPECT_FALSE(find("10.7.0.1", "10.7.0.2"));  // no route leads there
    ASSERT_TRUE(plane_->set_route(kTenant, *parse_prefix("10.7.0.2/32"), tunnel));
    const auto found = find("10.7.0.1", "10.7.0.2");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->link.port, port);
    EXPECT_EQ(found->link.destination, vm.mac);
    EXPECT_EQ(found->tunnel, nullptr);
    EXPECT_FALSE(find("10.7.0.1", "10.7.0.3"));
    EXPECT_FALSE(find("10.7.0.9", "10.7.0.2"));  // no VM of ours

    // By one of several paths.
    const NextHopId group = acquire({{"fc00:0:8:7::", 3}, {"fc00:0:9:7::", 1}});
    ASSERT_TRUE(plane_->set_route(kTenant, *parse_prefix("0.0.0.0/0"), group));
    EXPECT_TRUE(plane_->find_tunnel_sender(parse_ip("fc00:0:9:7::")->ipv6(), *parse_ip("10.7.0.1"),
                                           *parse_ip("198.51.100.1")));
    plane_->remove_route(kTenant, *parse_prefix("10.7.0.2/32"));
    plane_->release_next_hop(tunnel);
    EXPECT_FALSE(find("10.7.0.1", "10.7.0.2"));
}

// At a gateway: into tenant 8, from tenant 7 behind a tunnel and from the world behind an uplink.
TEST_F(TunnelTest, FindsTheSenderBehindAGateway) {
    constexpr VrfId kOther{8};
    const auto into = [&](VrfId vrf) {
        NextHopSpec spec;
        spec.kind = NextHopSpec::Kind::kVrf;
        spec.vrf = vrf;
        return *plane_->acquire_next_hop(spec);
    };
    const auto route = [&](VrfId vrf, const char* prefix, NextHopId hop) {
        ASSERT_TRUE(plane_->set_route(vrf, *parse_prefix(prefix), hop));
    };
    route(kOther, "10.8.0.0/24", acquire({{"fc00:0:2:8::", 1}}));
    const auto find = [&](const char* src) {
        return plane_->find_tunnel_sender(parse_ip("fc00:0:2:8::")->ipv6(), *parse_ip(src),
                                          *parse_ip("10.8.0.1"));
    };
    route(kOther, "0.0.0.0/0", into(VrfId{0}));
    EXPECT_FALSE(find("198.51.100.1"));
    const NextHopId up0 = over(0);
    plane_->set_neighbor(uplinks_[0], *parse_ip("192.0.2.0"), Mac{{2, 0, 0, 0, 0, 9}});
    lead("198.51.100.0/24", up0);
    ASSERT_TRUE(find("198.51.100.1"));
    EXPECT_EQ(find("198.51.100.1")->link.port, uplinks_[0]);
    EXPECT_EQ(find("198.51.100.1")->tunnel, nullptr);

    route(kOther, "10.7.0.0/24", into(kTenant));
    EXPECT_FALSE(find("10.7.0.1"));
    const NextHopId tunnel = acquire({{"fc00:0:3:7::", 1}, {"fc00:0:3:9::", 1}});
    route(kTenant, "10.7.0.0/24", tunnel);
    EXPECT_FALSE(find("10.7.0.1"));  // no route leads to its segment
    lead("fc00:0:3::/48", up0);
    const auto behind = find("10.7.0.1");
    ASSERT_TRUE(behind);
    EXPECT_EQ(behind->link.port, uplinks_[0]);
    ASSERT_NE(behind->tunnel, nullptr);
    EXPECT_EQ(behind->tunnel->length, 40);

    // Routes that go round.
    route(kOther, "10.9.0.0/24", into(kTenant));
    route(kTenant, "10.9.0.0/24", into(kOther));
    EXPECT_FALSE(find("10.9.0.1"));
}

TEST_F(TunnelTest, FollowsTheGroupThatItsRouteLeadsTo) {
    const NextHopId group = *plane_->create_hop_group();
    ASSERT_TRUE(plane_->learn_route(VrfId{0}, *parse_prefix("fc00:0:2::/48"), group));
    const NextHopId tunnel = acquire({{"fc00:0:2:7::", 1}});
    EXPECT_EQ(at_worker(tunnel).underlay, kNoNextHop);  // the group is empty
    const NextHopId up0 = over(0);
    const NextHopId up1 = over(1);
    plane_->set_hop_group(group, {{up0, 1}, {up1, 1}});
    EXPECT_EQ(at_worker(tunnel).underlay, group);
    EXPECT_EQ(at_worker(tunnel).mtu, 1500 - 40);  // the smaller of both
    plane_->set_hop_group(group, {{up0, 1}});
    EXPECT_EQ(at_worker(tunnel).mtu, 9000 - 40);
    plane_->set_hop_group(group, {});
    EXPECT_EQ(at_worker(tunnel).underlay, kNoNextHop);
    plane_->set_hop_group(group, {{up1, 1}});
    EXPECT_EQ(at_worker(tunnel).underlay, group);
    plane_->forget_route(VrfId{0}, *parse_prefix("fc00:0:2::/48"));
    EXPECT_EQ(at_worker(tunnel).underlay, kNoNextHop);
}

TEST_F(TunnelTest, SharesPacketsByWeightAmongWhatIsReached) {
    const NextHopId up0 = over(0);
    lead("fc00:0:8::/48", up0);
    lead("fc00:0:9::/48", up0);
    const NextHopId group = acquire({{"fc00:0:8:7::", 3}, {"fc00:0:9:7::", 1}});
    ASSERT_TRUE(is_group(group));
    ASSERT_TRUE(plane_->set_route(kTenant, *parse_prefix("0.0.0.0/0"), group));
    settle();
    const NextHopId to8 = acquire({{"fc00:0:8:7::", 1}});
    const NextHopId to9 = acquire({{"fc00:0:9:7::", 1}});
    EXPECT_EQ(shares(group), (std::map<NextHopId, size_t>{{to8, 192}, {to9, 64}}));

    const uint32_t before = plane_->generations().routes[kTenant.value()];
    withdraw("fc00:0:8::/48");
    EXPECT_EQ(shares(group), (std::map<NextHopId, size_t>{{to9, 256}}));
    settle();
    // Connections over the one that is gone look their route up again.
    EXPECT_GT(plane_->generations().routes[kTenant.value()], before);

    // A default route tells nothing of the gateway while there is a better one.
    lead("::/0", up0);
    EXPECT_EQ(shares(group), (std::map<NextHopId, size_t>{{to9, 256}}));
    withdraw("fc00:0:9::/48");
    EXPECT_EQ(shares(group), (std::map<NextHopId, size_t>{{to8, 192}, {to9, 64}}));
    withdraw("::/0");
    EXPECT_TRUE(shares(group).empty());
    lead("fc00:0:8::/48", up0);
    EXPECT_EQ(shares(group), (std::map<NextHopId, size_t>{{to8, 256}}));
}

TEST_F(TunnelTest, GroupOfAnOwnerIsNotTakenForALearntOne) {
    lead("fc00:0:8::/48", over(0));
    const NextHopId group = acquire({{"fc00:0:8:7::", 1}, {"fc00:0:9:7::", 1}});
    const IpPrefix prefix = *parse_prefix("10.0.0.0/8");
    ASSERT_TRUE(plane_->set_route(kTenant, prefix, group));
    const NextHopId learned = *plane_->create_hop_group();
    ASSERT_TRUE(plane_->learn_route(kTenant, prefix, learned));
    EXPECT_EQ(fib_->get(kTenant, prefix), group);
    plane_->forget_route(kTenant, prefix);
    EXPECT_EQ(fib_->get(kTenant, prefix), group);
}

TEST_F(TunnelTest, SegmentsHoldWhatTheyForwardOver) {
    NextHopSpec spec{
        .kind = NextHopSpec::Kind::kSid, .port = uplinks_[0], .via = parse_ip("192.0.2.0")};
    spec.segment_routing.sid =
        SidIntent{.sid = *parse_prefix("fc00:0:1:7::/128"), .behavior = SidBehavior::kEndX};
    std::vector<uint16_t> freed;
    plane_->on_sid_counter_freed([&](uint16_t counter) { freed.push_back(counter); });
    const NextHopId sid = *plane_->acquire_next_hop(spec);
    const Adjacency adjacency = at_worker(sid);
    ASSERT_EQ(adjacency.kind, AdjacencyKind::kSegment);
    EXPECT_EQ(adjacency.sid->behavior, SidBehavior::kEndX);
    EXPECT_EQ(adjacency.sid->next_hop, over(0));
    const uint16_t counter = adjacency.sid->counter;
    EXPECT_NE(counter, 0);
    plane_->release_next_hop(sid);
    settle();
    EXPECT_EQ(freed, std::vector{counter});
    EXPECT_EQ(at_worker(sid).kind, AdjacencyKind::kNone);
}

}  // namespace
}  // namespace slash32
