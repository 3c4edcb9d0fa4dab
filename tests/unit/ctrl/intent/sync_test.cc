// SPDX-License-Identifier: Apache-2.0
// Complete sets of an owner, over a fake plane and a real SQLite file.
#include "tests/unit/ctrl/intent/router.h"

namespace slash32 {
namespace {

SyncSet sync_of(const std::string& owner) {
    SyncSet set;
    set.owner = owner;
    return set;
}

TEST(Sync, RemovesWhatIsMissingAndTouchesNothingElse) {
    TempDir dir;
    {
        Router router(dir.file("intent.db"));
        for (const char* name : {"vm1", "vm2", "vm3"})
            router.ask(vm(name, {}, "neutron"));
        router.ask(vm("mine"));
        router.ask(route_set({"10.1.0.0/16", "10.2.0.0/16"}, over("vm1"), "neutron"));
        router.ask(route_set({"10.5.0.0/16"}, over("vm1")));
        router.ask(NeighborApply{"uplink0", *parse_ip("192.0.2.1"), *parse_mac("02:00:00:00:00:01"),
                                 "neutron", false});
    }
    Router router(dir.file("intent.db"));
    router.plane.log.clear();
    const size_t calls = router.plane.calls;
    SyncSet set = sync_of("neutron");
    ASSERT_TRUE(set.stage(vm("vm1", {}, "neutron")).has_value());
    PortApply changed = vm("vm2", {"10.0.0.2"}, "neutron");
    ASSERT_TRUE(set.stage(changed).has_value());
    ASSERT_TRUE(set.stage(vm("vm4", {}, "neutron")).has_value());
    ASSERT_TRUE(
        set.stage(route_set({"10.1.0.0/16", "10.3.0.0/16"}, over("vm1"), "neutron")).has_value());
    const auto done = router.commit(set);
    ASSERT_TRUE(done.has_value()) << text(done);
    EXPECT_EQ(done->counts.added, 2u);      // vm4, 10.3/16
    EXPECT_EQ(done->counts.changed, 1u);    // vm2
    EXPECT_EQ(done->counts.removed, 3u);    // vm3, 10.2/16, the neighbour
    EXPECT_EQ(done->counts.unchanged, 2u);  // vm1, 10.1/16
    EXPECT_EQ(router.plane.log, (std::vector<std::string>{"change vm2", "add vm4", "remove vm3"}));
    EXPECT_EQ(router.plane.calls, calls + 6);
    EXPECT_EQ(router.routes(),
              "0 10.0.0.2/32 neutron port \n0 10.1.0.0/16 neutron \n0 10.3.0.0/16 neutron \n"
              "0 10.5.0.0/16 cli stale\n0 192.0.2.2/32 config port \n");
    EXPECT_FALSE(router.state().ports.at(router.state().ports.find("vm1")).stale);
    EXPECT_TRUE(router.state().ports.at(router.state().ports.find("mine")).stale);
    // The same set again: nothing at all.
    const size_t later = router.plane.calls;
    EXPECT_EQ(router.commit(set)->counts.unchanged, 5u);
    EXPECT_EQ(router.plane.calls, later);
}

TEST(Sync, SwapsAddressesAndSocketsOfTwoPorts) {
    Router router;
    PortApply one = vm("vm1", {"10.0.0.1"});
    PortApply two = vm("vm2", {"10.0.0.2"});
    router.ask(one);
    router.ask(two);
    std::swap(one.intent.addresses, two.intent.addresses);
    SyncSet set = sync_of("cli");
    ASSERT_TRUE(set.stage(one).has_value());
    ASSERT_TRUE(set.stage(two).has_value());
    EXPECT_EQ(router.commit(set)->counts.changed, 2u);
    EXPECT_EQ(
        router.state()
            .ports
            .at(uint16_t(router.state().routes.find({VrfId{0}, *parse_prefix("10.0.0.1/32")})->hop))
            .name,
        "vm2");
    // One port goes, another takes its socket and its address.
    SyncSet next = sync_of("cli");
    PortApply heir = vm("vm3", {"10.0.0.1"});
    heir.intent.socket = two.intent.socket;
    ASSERT_TRUE(next.stage(one).has_value());
    ASSERT_TRUE(next.stage(heir).has_value());
    router.plane.log.clear();
    const auto done = router.commit(next);
    ASSERT_TRUE(done.has_value()) << text(done);
    EXPECT_EQ(router.plane.log, (std::vector<std::string>{"remove vm2", "add vm3"}));
}

TEST(Sync, PutsBackAPortThatGaveItsSocketWayInVain) {
    Router router;
    router.ask(vm("vm1", {"10.0.0.1"}));
    router.ask(route_set({"10.1.0.0/16", "10.2.0.0/16"}, over("vm1")));
    const std::string plane = router.plane.text();
    const std::string routes = router.routes();
    SyncSet set = sync_of("cli");
    PortApply heir = vm("vm2", {"10.0.0.1"});
    heir.intent.socket = "/run/vm/vm1";
    ASSERT_TRUE(set.stage(heir).has_value());
    ASSERT_TRUE(set.stage(route_set({"10.1.0.0/16"}, over("vm2"))).has_value());
    router.plane.fail_port = "vm2";
    EXPECT_EQ(text(router.commit(set)), "9  no device for vm2");
    EXPECT_EQ(router.plane.text(), plane);
    EXPECT_EQ(router.routes(), routes);
    router.plane.fail_port.clear();
    EXPECT_TRUE(router.commit(set).has_value());
    EXPECT_EQ(router.state().static_routes(), 1u);
}

TEST(Sync, IsJudgedOnTheEndState) {
    Router router;
    router.ask(vm("other", {"10.0.0.1"}, "someone"));
    router.ask(vm("vm1", {"10.0.0.2"}, "neutron"));
    router.ask(route_set({"10.9.0.0/16"}, over("vm1"), "someone"));
    const size_t calls = router.plane.calls;
    const auto refused = [&](const SyncSet& set, const std::string& why) {
        EXPECT_EQ(text(router.commit(set)), why);
        EXPECT_EQ(router.plane.calls, calls);
    };
    SyncSet taken = sync_of("neutron");
    ASSERT_TRUE(taken.stage(vm("vm1", {"10.0.0.1"}, "neutron")).has_value());
    refused(taken, "3 $.params.sync 10.0.0.1 of port vm1 in VRF 0 belongs to port other");
    SyncSet twice = sync_of("neutron");
    ASSERT_TRUE(twice.stage(vm("vm1", {"10.0.0.3"}, "neutron")).has_value());
    ASSERT_TRUE(twice.stage(vm("vm2", {"10.0.0.3"}, "neutron")).has_value());
    refused(twice, "3 $.params.sync 10.0.0.3 of port vm2 in VRF 0 belongs to port vm1");
    SyncSet foreign = sync_of("neutron");
    ASSERT_TRUE(foreign.stage(vm("vm1", {}, "neutron")).has_value());
    ASSERT_TRUE(foreign.stage(vm("other", {}, "neutron")).has_value());
    refused(foreign, "4 $.params.sync port other belongs to owner someone; force takes it");
    SyncSet nowhere = sync_of("neutron");
    ASSERT_TRUE(nowhere.stage(vm("vm2", {}, "neutron")).has_value());
    ASSERT_TRUE(nowhere.stage(route_set({"10.1.0.0/16"}, over("vm1"), "neutron")).has_value());
    refused(nowhere, "2 $.params.sync there is no port vm1");
    SyncSet orphan = sync_of("neutron");
    refused(orphan,
            "3 $.params.sync 1 route(s) that this sync does not remove lead to port vm1, "
            "which it does; force removes them");
    SyncSet address = sync_of("neutron");
    ASSERT_TRUE(address.stage(vm("vm1", {"10.0.0.2"}, "neutron")).has_value());
    ASSERT_TRUE(address.stage(route_set({"10.0.0.2/32"}, over("vm1"), "neutron")).has_value());
    refused(address, "3 $.params.sync route 10.0.0.2/32 is an address of port vm1");
    EXPECT_EQ(router.commit(orphan, true)->counts.removed, 2u);
    EXPECT_EQ(router.routes(), "0 10.0.0.1/32 someone port \n0 192.0.2.2/32 config port \n");
}

TEST(Sync, TurnsARouteIntoAnAddressAndBack) {
    Router router;
    router.ask(vm("vm1", {"10.0.0.1"}));
    router.ask(vm("vm2"));
    router.ask(route_set({"10.0.0.2/32"}, over("vm1")));
    SyncSet set = sync_of("cli");
    ASSERT_TRUE(set.stage(vm("vm1")).has_value());
    ASSERT_TRUE(set.stage(vm("vm2", {"10.0.0.2"})).has_value());
    ASSERT_TRUE(set.stage(route_set({"10.0.0.1/32"}, over("vm2"))).has_value());
    const auto done = router.commit(set);
    ASSERT_TRUE(done.has_value()) << text(done);
    EXPECT_EQ(router.routes(),
              "0 10.0.0.1/32 cli \n0 10.0.0.2/32 cli port \n"
              "0 192.0.2.2/32 config port \n");
    EXPECT_EQ(done->counts.added, 1u);
    EXPECT_EQ(done->counts.removed, 1u);
}

TEST(SyncSets, BelongToTheirSession) {
    SyncSets sets;
    const auto first = sets.begin(1, "neutron", {});
    ASSERT_TRUE(first.has_value());
    EXPECT_EQ(sets.begin(2, "neutron", {}).error().code, ErrorCode::kConflict);
    EXPECT_EQ(sets.find(2, (*first)->id).error().code, ErrorCode::kNotFound);
    const std::string other = "cli";
    EXPECT_EQ(sets.find(1, (*first)->id, &other).error().code, ErrorCode::kNotOwner);
    EXPECT_TRUE(sets.find(1, (*first)->id).has_value());
    sets.close_session(1);
    EXPECT_TRUE((*first)->gone);
    EXPECT_EQ(sets.open(), 0u);
    for (uint64_t i = 0; i < SyncSets::kMaxOpen; ++i) {
        EXPECT_TRUE(sets.begin(3, fmt::format("owner{}", i), {}).has_value());
    }
    EXPECT_EQ(sets.begin(3, "one-more", {}).error().code, ErrorCode::kLimit);
}

TEST(SyncSets, AGoneSetSweepsNothing) {
    Router router;
    router.ask(vm("vm1", {}, "neutron"));
    SyncSet set = sync_of("neutron");
    set.gone = true;
    EXPECT_EQ(text(router.commit(set)), "2 $.params.sync the sync is gone");
    EXPECT_EQ(router.state().ports_wanted(), 1u);
}

TEST(SyncSets, AreOnlyAboutTheirKinds) {
    Router router;
    router.ask(vm("vm1", {}, "neutron"));
    router.ask(route_set({"10.1.0.0/16"}, over("vm1"), "neutron"));
    SyncSet set = sync_of("neutron");
    set.kinds = {false, true, false};
    EXPECT_EQ(set.stage(vm("vm1", {}, "neutron")).error().path, "$.params.sync");
    const auto done = router.commit(set);
    ASSERT_TRUE(done.has_value());
    EXPECT_EQ(done->counts.removed, 1u);
    EXPECT_EQ(router.state().ports_wanted(), 1u);
}

}  // namespace
}  // namespace slash32
