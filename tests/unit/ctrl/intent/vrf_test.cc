// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ctrl/intent/router.h"

namespace slash32 {
namespace {

VrfApply vrf(uint16_t number, const std::string& name = "", const std::string& owner = "cli") {
    return {.intent = {.id = VrfId{number}, .name = name, .owner = owner, .labels = {}}};
}

VrfDelete gone(uint16_t number, bool force = false) {
    return {.id = VrfId{number}, .owner = "cli", .force = force};
}

PortApply vm_in(uint16_t number, const std::string& name, const std::string& address) {
    PortApply port = vm(name, {address});
    port.intent.vrf = VrfId{number};
    return port;
}

HopRequest blackhole() {
    return {};
}

HopRequest tunnel(const std::string& segment) {
    HopRequest hop;
    hop.kind = NextHopSpec::Kind::kTunnel;
    hop.segment_routing.paths = {{.segments = {parse_ip(segment)->ipv6()}}};
    return hop;
}

HopRequest into(uint16_t number) {
    HopRequest hop;
    hop.kind = NextHopSpec::Kind::kVrf;
    hop.vrf = VrfId{number};
    return hop;
}

// As the protocol makes it: the prefix is the route's.
RouteApply segment(const std::string& prefix, uint16_t into) {
    HopRequest hop;
    hop.kind = NextHopSpec::Kind::kSid;
    hop.segment_routing.sid = SidIntent{
        .sid = *parse_prefix(prefix), .behavior = SidBehavior::kEndDt46, .vrf = VrfId{into}};
    return route_set({prefix}, hop);
}

void set_locator(Router& router) {
    router.intent->set_locator(*parse_prefix("fc00:0:1::/48"));
}

TEST(Vrfs, AreNeededByWhatIsInThem) {
    Router router;
    EXPECT_EQ(text(router.ask(vm_in(7, "vm1", "10.0.0.1"))), "2 $.params.vrf there is no VRF 7");
    EXPECT_EQ(text(router.ask(route_set({"10.0.0.0/8"}, blackhole(), "cli", 7))),
              "2 $.params.routes[0].vrf there is no VRF 7");
    set_locator(router);
    EXPECT_EQ(text(router.ask(segment("fc00:0:1:7::/128", 7))),
              "2 $.params.routes[0].next_hop.sid.vrf there is no VRF 7");
    EXPECT_EQ(router.ask(vrf(7, "a"))->counts.added, 1u);
    EXPECT_EQ(router.ask(vrf(7, "a"))->counts.unchanged, 1u);
    EXPECT_EQ(router.ask(vrf(7, "b"))->counts.changed, 1u);
    EXPECT_EQ(text(router.ask(vm_in(7, "vm1", "10.0.0.1"))), "ok");
    EXPECT_EQ(text(router.ask(vm("vm2", {"10.0.0.1"}))), "ok");  // the same address in VRF 0
    EXPECT_EQ(text(router.ask(route_set({"10.0.0.0/8"}, blackhole(), "cli", 7))), "ok");
    EXPECT_EQ(text(router.ask(segment("fc00:0:1:7::/128", 7))), "ok");
}

TEST(Vrfs, WithPortsAreNotDeleted) {
    Router router;
    router.ask(vrf(7));
    for (int i = 1; i <= 7; ++i)
        router.ask(vm_in(7, fmt::format("vm{}", i), fmt::format("10.0.0.{}", i)));
    EXPECT_EQ(text(router.ask(gone(7))),
              "3 $.params.vrf VRF 7 has ports vm1, vm2, vm3, vm4, vm5 and 2 more");
    for (int i = 2; i <= 7; ++i)
        router.ask(PortDelete{fmt::format("vm{}", i), "cli", false});
    EXPECT_EQ(text(router.ask(gone(7))), "3 $.params.vrf VRF 7 has port vm1");
    router.ask(PortDelete{"vm1", "cli", false});
    EXPECT_EQ(text(router.ask(gone(7))), "ok");
    EXPECT_EQ(text(router.ask(gone(7))), "2 $.params.vrf there is no VRF 7");
}

TEST(Vrfs, GoWithTheirRoutesAndWhatLeadsIntoThem) {
    Router router;
    set_locator(router);
    router.ask(vrf(7));
    router.ask(vrf(8));
    router.ask(route_set({"10.0.0.0/8", "10.1.0.0/16"}, tunnel("fc00:0:2:7::"), "cli", 7));
    router.ask(route_set({"10.0.0.0/8"}, tunnel("fc00:0:2:8::"), "cli", 8));
    router.ask(segment("fc00:0:1:7::/128", 7));
    router.ask(segment("fc00:0:1:8::/128", 8));
    router.ask(route_set({"10.3.0.0/16"}, into(7)));
    router.ask(route_set({"10.3.0.0/16"}, into(0), "cli", 8));
    router.ask(route_set({"10.2.0.0/16"}, blackhole(), "neutron", 7));
    EXPECT_EQ(text(router.ask(gone(7))),
              "4 $.params.vrf route 10.2.0.0/16 in VRF 7 belongs to owner neutron; force takes it");
    EXPECT_EQ(router.ask(gone(7, true))->counts.removed, 6u);
    EXPECT_EQ(router.routes(),
              "0 192.0.2.2/32 config port \n8 10.0.0.0/8 cli \n8 10.3.0.0/16 cli \n0 "
              "fc00:0:1:8::/128 cli \n");
    EXPECT_EQ(router.plane.routes.size(), 3u);
}

TEST(Vrfs, OfTheConfigurationAreAlwaysThere) {
    Router router;
    router.intent->configure_vrf(VrfId{2});
    EXPECT_EQ(text(router.ask(vm_in(2, "vm1", "10.0.0.1"))), "ok");
    EXPECT_EQ(text(router.ask(vrf(2))), "3 $.params.vrf VRF 2 is of the configuration file");
    EXPECT_EQ(text(router.ask(gone(2))), "3 $.params.vrf VRF 2 is of the configuration file");
}

TEST(Vrfs, HaveOwners) {
    Router router;
    router.ask(vrf(7, "a", "neutron"));
    EXPECT_EQ(text(router.ask(vrf(7, "b"))),
              "4 $.params.vrf VRF 7 belongs to owner neutron; force takes it");
    EXPECT_EQ(text(router.ask(gone(7))),
              "4 $.params.vrf VRF 7 belongs to owner neutron; force takes it");
    VrfApply taken = vrf(7, "b");
    taken.force = true;
    EXPECT_EQ(text(router.ask(taken)), "ok");
    EXPECT_EQ(text(router.ask(gone(7))), "ok");
}

TEST(Vrfs, ComeBackAfterARestart) {
    TempDir dir;
    {
        Router router(dir.file("intent.db"));
        set_locator(router);
        router.ask(vrf(7, "tenant"));
        router.ask(vm_in(7, "vm1", "10.0.0.1"));
        router.ask(route_set({"10.0.0.0/8"}, tunnel("fc00:0:2:7::"), "cli", 7));
        router.ask(segment("fc00:0:1:7::/128", 7));
        router.ask(route_set({"0.0.0.0/0"}, into(0), "cli", 7));
        router.ask(vrf(8));
        router.ask(gone(8));
    }
    Router router(dir.file("intent.db"));
    ASSERT_TRUE(router.restored);
    EXPECT_TRUE(router.restored->problems.empty());
    const VrfSlot* slot = router.state().vrfs.find(VrfId{7});
    ASSERT_NE(slot, nullptr);
    EXPECT_EQ(slot->record->intent.name, "tenant");
    EXPECT_TRUE(slot->stale);
    EXPECT_FALSE(router.state().vrfs.exists(VrfId{8}));
    EXPECT_EQ(router.routes(),
              "0 192.0.2.2/32 config port \n7 0.0.0.0/0 cli stale\n7 10.0.0.0/8 cli stale\n"
              "7 10.0.0.1/32 cli port \n0 fc00:0:1:7::/128 cli stale\n");
    EXPECT_EQ(router.ask(vrf(7, "tenant"))->counts.unchanged, 1u);
    EXPECT_FALSE(router.state().vrfs.find(VrfId{7})->stale);
}

TEST(Vrfs, OfAStoreWithoutRecordsOfThemAreMade) {
    TempDir dir;
    {
        // As in the life before, when the configuration named it.
        Router router(dir.file("intent.db"));
        router.intent->configure_vrf(VrfId{7});
        router.intent->configure_vrf(VrfId{8});
        router.ask(vm_in(7, "vm1", "10.0.0.1"));
        router.ask(route_set({"10.0.0.0/8"}, blackhole(), "neutron", 8));
    }
    Router router(dir.file("intent.db"));
    ASSERT_NE(router.state().vrfs.find(VrfId{7}), nullptr);
    ASSERT_NE(router.state().vrfs.find(VrfId{8}), nullptr);
    EXPECT_EQ(router.state().vrfs.find(VrfId{8})->record->intent.owner, "neutron");
    EXPECT_EQ(router.plane.ports.size(), 1u);
    EXPECT_EQ(router.plane.routes.size(), 1u);
}

TEST(Vrfs, AreSyncedWithWhatIsInThem) {
    Router router;
    router.ask(vrf(7));
    router.ask(vrf(8));
    router.ask(vm_in(8, "vm8", "10.0.0.1"));
    router.ask(route_set({"10.0.0.0/8"}, blackhole(), "cli", 8));
    SyncSet set;
    set.owner = "cli";
    EXPECT_TRUE(set.stage(vrf(7)));
    EXPECT_TRUE(set.stage(vrf(9)));
    EXPECT_TRUE(set.stage(vm_in(9, "vm9", "10.0.0.1")));
    const auto done = router.commit(set);
    EXPECT_EQ(text(done), "ok");
    EXPECT_EQ(done->counts.added, 2u);
    EXPECT_EQ(done->counts.removed, 3u);
    EXPECT_FALSE(router.state().vrfs.exists(VrfId{8}));
    EXPECT_TRUE(router.state().vrfs.exists(VrfId{9}));
    SyncSet bad;
    bad.owner = "cli";
    EXPECT_TRUE(bad.stage(vm_in(9, "vm9", "10.0.0.1")));
    EXPECT_EQ(text(router.commit(bad)), "2 $.params.sync there is no VRF 9");
    EXPECT_TRUE(router.state().vrfs.exists(VrfId{9}));
}

TEST(Segments, AreInTheNodesLocator) {
    Router router;
    EXPECT_EQ(text(router.ask(segment("fc00:0:1:7::/128", 0))),
              "1 $.params.routes[0].next_hop.sid this node does no segment routing: srv6.locator "
              "is not set");
    EXPECT_EQ(text(router.ask(route_set({"10.0.0.0/8"}, tunnel("fc00:0:2:7::")))),
              "1 $.params.routes[0].next_hop.segments this node does no segment routing: "
              "srv6.locator is not set");
    set_locator(router);
    EXPECT_EQ(text(router.ask(segment("fc00:0:2:7::/128", 0))),
              "1 $.params.routes[0].next_hop.sid fc00:0:2:7::/128 is not in the node's locator "
              "fc00:0:1::/48");
    EXPECT_EQ(text(router.ask(segment("fc00:0:1:7::/128", 0))), "ok");
    EXPECT_EQ(text(router.ask(route_set({"10.0.0.0/8"}, tunnel("fc00:0:2:7::")))), "ok");
}

TEST(Segments, OverAPortHoldIt) {
    Router router;
    set_locator(router);
    router.ask(vm("vm1", {"10.0.0.1"}));
    HopRequest hop;
    hop.kind = NextHopSpec::Kind::kSid;
    hop.port = "vm1";
    hop.segment_routing.sid =
        SidIntent{.sid = *parse_prefix("fc00:0:1:7::/128"), .behavior = SidBehavior::kEndDx4};
    EXPECT_EQ(text(router.ask(route_set({"fc00:0:1:7::/128"}, hop))), "ok");
    EXPECT_NE(text(router.ask(PortDelete{"vm1", "cli", false})), "ok");
    hop.port = "vm9";
    EXPECT_EQ(text(router.ask(route_set({"fc00:0:1:7::/128"}, hop))),
              "2 $.params.routes[0].next_hop.sid.port there is no port vm9");
    hop.port = "uplink0";
    EXPECT_EQ(text(router.ask(route_set({"fc00:0:1:7::/128"}, hop))),
              "1 $.params.routes[0].next_hop.sid.via is required: uplink0 is an uplink");
}

}  // namespace
}  // namespace slash32
