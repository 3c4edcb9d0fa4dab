// SPDX-License-Identifier: Apache-2.0
// The intent layer over a fake plane and a real SQLite file.
#include "tests/unit/ctrl/intent/router.h"

#include <sqlite3.h>

#include <fstream>

namespace slash32 {
namespace {

TEST(Intent, AppliesAPortDurablyThenProgramsIt) {
    TempDir dir;
    Router router(dir.file("intent.db"));
    const auto done = router.ask(vm("vm1", {"10.0.0.11/24"}));
    ASSERT_TRUE(done.has_value()) << text(done);
    EXPECT_EQ(done->counts.added, 1u);
    EXPECT_EQ(done->revision, 1u);
    EXPECT_NE(done->port, kNoPort);
    EXPECT_EQ(router.plane.log, std::vector<std::string>{"add vm1"});
    EXPECT_EQ(router.routes(), "0 10.0.0.11/32 cli port \n0 192.0.2.2/32 config port \n");
}

TEST(Intent, AnswersOnlyWhenEveryWorkerHasAcknowledged) {
    Router router;
    router.plane.hold = true;
    std::optional<Result<Done>> answer;
    router.start(vm("vm1"), answer);
    router.wait([&] { return router.plane.waiting.size() == 1; });
    EXPECT_FALSE(answer.has_value());
    router.plane.waiting[0]();
    EXPECT_TRUE(answer.has_value());
}

TEST(Intent, ApplyingTheSameAgainTouchesNothing) {
    TempDir dir;
    Router router(dir.file("intent.db"));
    PortApply port = vm("vm1", {"10.0.0.11/24", "10.0.0.12"});
    ASSERT_TRUE(router.ask(port).has_value());
    const RouteApply routes = route_set({"10.1.0.0/16", "2001:db8::/64"}, over("vm1"));
    ASSERT_TRUE(router.ask(routes).has_value());
    const uint64_t revision = router.state().revision;
    const size_t calls = router.plane.calls;
    // The same set in another order is the same set.
    std::swap(port.intent.addresses[0], port.intent.addresses[1]);
    const auto again = router.ask(port);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->counts.unchanged, 1u);
    EXPECT_EQ(again->revision, 1u);
    EXPECT_EQ(router.ask(routes)->counts.unchanged, 2u);
    EXPECT_EQ(router.state().revision, revision);
    EXPECT_EQ(router.plane.calls, calls);
}

TEST(Intent, ChangesAPortInPlace) {
    Router router;
    const auto first = router.ask(vm("vm1", {"10.0.0.11"}));
    PortApply changed = vm("vm1", {"10.0.0.12"});
    changed.intent.mtu = 9000;
    const auto second = router.ask(changed);
    ASSERT_TRUE(second.has_value());
    EXPECT_EQ(second->counts.changed, 1u);
    EXPECT_EQ(second->port, first->port);
    EXPECT_EQ(router.plane.log, (std::vector<std::string>{"add vm1", "change vm1"}));
    EXPECT_EQ(router.routes(), "0 10.0.0.12/32 cli port \n0 192.0.2.2/32 config port \n");
}

TEST(Intent, RefusesToDeleteAPortThatRoutesLeadTo) {
    Router router;
    router.ask(vm("vm1"));
    router.ask(route_set({"10.1.0.0/16", "10.2.0.0/16"}, over("vm1")));
    const size_t calls = router.plane.calls;
    EXPECT_EQ(text(router.ask(PortDelete{"vm1", "cli", false})),
              "3 $.params.name 2 route(s) lead to port vm1; force removes them");
    EXPECT_EQ(router.plane.calls, calls);
    const auto forced = router.ask(PortDelete{"vm1", "cli", true});
    ASSERT_TRUE(forced.has_value());
    EXPECT_EQ(router.plane.text(), "");
    EXPECT_EQ(router.state().static_routes(), 0u);
    EXPECT_TRUE(router.plane.hops.empty());
}

TEST(Intent, KeepsOwnersApart) {
    Router router;
    router.ask(vm("vm1", {"10.0.0.11"}, "neutron"));
    router.ask(route_set({"10.1.0.0/16"}, over("vm1"), "neutron"));
    EXPECT_EQ(text(router.ask(vm("vm1"))),
              "4 $.params.name port vm1 belongs to owner neutron; force takes it");
    EXPECT_EQ(text(router.ask(PortDelete{"vm1", "cli", false})),
              "4 $.params.name port vm1 belongs to owner neutron; force takes it");
    EXPECT_EQ(text(router.ask(route_gone({"10.1.0.0/16"}))),
              "4 $.params.routes[0].prefixes[0] route 10.1.0.0/16 in VRF 0 belongs to owner "
              "neutron; force takes it");
    RouteApply taken = route_set({"10.1.0.0/16"}, over("vm1"));
    taken.force = true;
    EXPECT_EQ(router.ask(taken)->counts.changed, 1u);
    EXPECT_EQ(router.ask(route_gone({"10.1.0.0/16", "10.9.0.0/16"}))->counts.missing, 1u);
    PortApply port = vm("vm1", {"10.0.0.11"});
    port.force = true;
    EXPECT_EQ(router.ask(port)->counts.changed, 1u);
    EXPECT_EQ(router.routes(), "0 10.0.0.11/32 cli port \n0 192.0.2.2/32 config port \n");
}

TEST(Intent, RefusesAnAddressThatAnotherPortHolds) {
    Router router;
    router.ask(vm("vm1", {"10.0.0.11"}));
    EXPECT_EQ(text(router.ask(vm("vm2", {"10.0.0.12", "10.0.0.11"}))),
              "3 $.params.addresses[1] 10.0.0.11 of port vm2 in VRF 0 belongs to port vm1");
    EXPECT_EQ(text(router.ask(vm("vm2", {"192.0.2.2"}))),
              "3 $.params.addresses[0] 192.0.2.2 of port vm2 in VRF 0 belongs to port uplink0");
    EXPECT_EQ(text(router.ask(route_set({"10.0.0.11/32"}, over("vm1")))),
              "3 $.params.routes[0].prefixes[0] 10.0.0.11/32 in VRF 0 is an address of port vm1");
    router.ask(route_set({"10.0.0.13/32"}, over("vm1")));
    EXPECT_EQ(text(router.ask(vm("vm2", {"10.0.0.13"}))),
              "3 $.params.addresses[0] 10.0.0.13 of port vm2 in VRF 0 belongs to a route of owner "
              "cli");
    router.ask(VrfApply{.intent = {.id = VrfId{1}, .name = "", .owner = "cli", .labels = {}}});
    PortApply elsewhere = vm("vm2", {"10.0.0.11"});
    elsewhere.intent.vrf = VrfId{1};
    EXPECT_TRUE(router.ask(elsewhere).has_value());
    PortApply socket = vm("vm3");
    socket.intent.socket = "/run/vm/vm1";
    EXPECT_EQ(text(router.ask(socket)),
              "3 $.params.socket socket /run/vm/vm1 of port vm3 belongs to port vm1");
}

TEST(Intent, GroupsTheRequestsOfOneTurnAndJudgesEachOnTheOnesBefore) {
    TempDir dir;
    Router router(dir.file("intent.db"));
    std::optional<Result<Done>> answers[4];
    router.start(vm("vm1", {"10.0.0.11"}), answers[0]);
    router.start(vm("vm2", {"10.0.0.11"}), answers[1]);
    router.start(route_set({"10.1.0.0/16"}, over("vm1")), answers[2]);
    router.start(PortDelete{"vm1", "cli", false}, answers[3]);
    bool seen = false;
    router.intent->read([&](State& state) {
        seen = true;
        EXPECT_TRUE(answers[2].has_value());
        EXPECT_NE(state.ports.find("vm1"), PortTable::kNone);
    });
    EXPECT_FALSE(seen);
    router.wait([&] { return seen; });
    EXPECT_TRUE(answers[0]->has_value());
    EXPECT_EQ(text(*answers[1]).substr(0, 26), "3 $.params.addresses[0] 10");
    EXPECT_TRUE(answers[2]->has_value());
    EXPECT_FALSE(answers[3]->has_value());
}

TEST(Intent, UndoesWhatThePlaneRefusesAndKeepsTheRest) {
    TempDir dir;
    std::string before;
    {
        Router router(dir.file("intent.db"));
        router.ask(vm("vm1", {"10.0.0.11"}));
        router.ask(route_set({"10.1.0.0/16"}, over("vm1")));
        before = router.routes();
        // vm2 cannot be made; the route over it then has no port; vm3 is not concerned.
        router.plane.fail_port = "vm2";
        std::optional<Result<Done>> answers[3];
        router.start(vm("vm2", {"10.0.0.12"}), answers[0]);
        router.start(route_set({"10.2.0.0/16"}, over("vm2")), answers[1]);
        router.start(vm("vm3", {"10.0.0.13"}), answers[2]);
        router.wait([&] { return answers[0] && answers[1] && answers[2]; });
        EXPECT_EQ(text(*answers[0]), "9  no device for vm2");
        EXPECT_EQ(text(*answers[1]), "2 $.params.routes[0].next_hop.port there is no port vm2");
        EXPECT_TRUE(answers[2]->has_value());
        ASSERT_TRUE(router.ask(PortDelete{"vm3", "cli", false}).has_value());
        EXPECT_EQ(router.routes(), before);

        // Half of a bulk does not fit: none of it stays.
        const std::string plane = router.plane.text();
        router.plane.routes_max = 2;
        RouteApply bulk = route_set({"10.1.0.0/16", "10.3.0.0/16", "10.4.0.0/16"}, HopRequest{});
        EXPECT_EQ(text(router.ask(bulk)), "5  no more routes");
        router.plane.routes_max = SIZE_MAX;
        EXPECT_EQ(router.routes(), before);
        EXPECT_EQ(router.plane.hops.size(), 1u);
        bool flushed = false;
        router.intent->read([&](State&) { flushed = true; });
        router.wait([&] { return flushed; });
        router.ask(vm("vm4"));
        router.ask(PortDelete{"vm4", "cli", false});
    }
    Router again(dir.file("intent.db"));
    EXPECT_EQ(again.state().ports_wanted(), 1u);
    EXPECT_EQ(again.state().static_routes(), 1u);
}

TEST(Intent, ComesBackAfterARestart) {
    TempDir dir;
    std::string plane;
    uint64_t revision = 0;
    {
        Router router(dir.file("intent.db"));
        router.ask(vm("vm1", {"10.0.0.11/24", "2001:db8::11/64"}, "neutron"));
        PortApply tap = vm("tap2");
        tap.intent.kind = PortKind::kTap;
        tap.intent.socket.clear();
        tap.intent.tap = "tap2";
        tap.intent.allowed_pairs = {
            {*parse_prefix("10.0.0.100/32"), *parse_mac("00:00:5e:00:01:01")}};
        tap.intent.labels = {{"instance", "b3c7"}};
        ASSERT_TRUE(router.ask(tap).has_value());
        router.ask(route_set({"10.1.0.0/16"}, over("vm1")));
        router.ask(route_set({"0.0.0.0/0", "10.2.0.0/16"}, over("uplink0", "192.0.2.1")));
        router.ask(route_set({"10.2.0.0/16"}, HopRequest{}));
        router.ask(route_set({"10.9.0.0/16", "::/0"}, HopRequest{}));
        router.ask(route_gone({"10.9.0.0/16"}));
        router.ask(route_set({"10.3.0.0/16"}, over("vm1"), "routing"));
        router.ask(NeighborApply{"uplink0", *parse_ip("192.0.2.1"), *parse_mac("02:00:00:00:00:01"),
                                 "cli", false});
        router.ask(route_gone({"10.3.0.0/16"}, "routing"));
        plane = router.plane.text();
        router.ask(route_set({"10.3.0.0/16"}, over("vm1"), "routing"));
        revision = router.state().revision;
    }
    Router router(dir.file("intent.db"));
    ASSERT_TRUE(router.restored.has_value());
    EXPECT_EQ(router.restored->ports, 2u);
    EXPECT_EQ(router.restored->neighbors, 1u);
    EXPECT_TRUE(router.restored->problems.empty());
    EXPECT_EQ(router.plane.text(), plane);
    EXPECT_LE(router.state().revision, revision);
    EXPECT_EQ(router.plane.log, (std::vector<std::string>{"add tap2", "add vm1"}));
    const PortSlot& slot = router.state().ports.at(router.state().ports.find("tap2"));
    EXPECT_TRUE(slot.stale);
    EXPECT_EQ(slot.record->intent.labels.at("instance"), "b3c7");
    EXPECT_EQ(slot.record->intent.allowed_pairs.at(0).mac, parse_mac("00:00:5e:00:01:01"));
    EXPECT_NE(router.routes().find("10.1.0.0/16 cli stale"), std::string::npos);
    // What its owner applies again is stale no more, and does not blink.
    const size_t calls = router.plane.calls;
    EXPECT_EQ(router.ask(route_set({"10.1.0.0/16"}, over("vm1")))->counts.unchanged, 1u);
    EXPECT_EQ(router.routes().find("10.1.0.0/16 cli stale"), std::string::npos);
    EXPECT_EQ(router.plane.calls, calls);
}

TEST(Intent, KeepsStoredRoutesOfAnUplinkThatIsAwayForAWhile) {
    TempDir dir;
    {
        Router router(dir.file("intent.db"));
        router.ask(vm("vm1"));
        router.ask(route_set({"0.0.0.0/0"}, over("uplink0", "192.0.2.1")));
        router.ask(route_set({"10.1.0.0/16"}, over("vm1")));
    }
    {
        Router router(dir.file("intent.db"), 0, false);
        ASSERT_EQ(router.restored->problems.size(), 1u);
        EXPECT_EQ(router.restored->routes, 1u);
        // Enough changes for the chunks to be written anew.
        std::vector<std::string> many;
        for (int i = 0; i < 4000; ++i)
            many.push_back(fmt::format("10.2.{}.{}/32", i / 250, i % 250));
        for (int i = 0; i < 10; ++i) {
            ASSERT_TRUE(router.ask(route_set(many, over("vm1"))).has_value());
            ASSERT_TRUE(router.ask(route_gone(many)).has_value());
        }
    }
    Router router(dir.file("intent.db"));
    EXPECT_TRUE(router.restored->problems.empty());
    EXPECT_NE(router.routes().find("0.0.0.0/0 cli stale"), std::string::npos);
    EXPECT_EQ(router.restored->routes, 2u);
}

TEST(Intent, TriesAPortAgainThatCouldNotBeMadeAtStart) {
    TempDir dir;
    {
        Router router(dir.file("intent.db"));
        router.ask(vm("vm1", {"10.0.0.11"}));
        router.ask(route_set({"10.1.0.0/16"}, over("vm1")));
    }
    Router router(dir.file("intent.db"));
    // The same, but the device is refused at start.
    TempDir other;
    std::filesystem::copy(dir.path(), other.path(), std::filesystem::copy_options::recursive);
    asio::io_context io;
    const Executor executor = [&io](std::function<void()> f) { asio::post(io, std::move(f)); };
    SqliteStore store({other.file("intent.db"), 0}, executor);
    FakePlane plane;
    plane.fail_port = "vm1";
    Intent intent(plane, store, executor);
    const auto restored = intent.restore();
    ASSERT_TRUE(restored.has_value());
    EXPECT_EQ(restored->problems.size(), 1u);
    EXPECT_TRUE(plane.routes.empty());
    EXPECT_EQ(intent.state().ports.at(intent.state().ports.find("vm1")).failure,
              "no device for vm1");
    plane.fail_port.clear();
    std::optional<Result<Done>> answer;
    intent.write([](State& state) { return plan(state, vm("vm1", {"10.0.0.11"})); },
                 [&](Result<Done> done) { answer = done; });
    const auto work = asio::make_work_guard(io);
    while (!answer)
        io.run_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(answer->has_value());
    EXPECT_EQ(plane.routes.size(), 1u);
}

struct Damage {
    const char* name;
    std::function<void(const std::string& path)> harm;
};

class DamagedStore : public testing::TestWithParam<Damage> {};

TEST_P(DamagedStore, IsSetAsideAndTheDaemonStartsEmpty) {
    TempDir dir;
    const std::string path = dir.file("intent.db");
    {
        Router router(path);
        for (int i = 1; i < 9; ++i)
            router.ask(vm(fmt::format("vm{}", i), {fmt::format("10.0.0.{}", i)}));
        router.ask(route_set({"10.1.0.0/16"}, over("vm1")));
    }
    GetParam().harm(path);
    Router router(path);
    ASSERT_TRUE(router.restored.has_value()) << router.restored.error().message;
    EXPECT_EQ(router.restored->ports, 0u);
    EXPECT_EQ(router.store->status().state, StoreStatus::State::kSetAside);
    EXPECT_NE(router.store->status().detail.find(".damaged-"), std::string::npos);
    size_t kept = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
        kept += entry.path().string().find(".damaged-") != std::string::npos ? 1 : 0;
    }
    EXPECT_GE(kept, 1u);
    // It serves, and stores, at once.
    EXPECT_TRUE(router.ask(vm("vm1")).has_value());
}

void sql(const std::string& path, const std::string& text) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, text.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(db);
}

void overwrite(const std::string& path, std::streamoff at, const std::string& bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file << bytes;
}

const Damage kDamages[] = {
    {"Garbage", [](const std::string& path) { std::ofstream(path) << std::string(10000, 'x'); }},
    {"Truncated", [](const std::string& path) { std::filesystem::resize_file(path, 5000); }},
    {"PageOverwritten",
     [](const std::string& path) { overwrite(path, 4096 + 50, std::string(4000, '\x5a')); }},
    {"OtherApplication", [](const std::string& path) { sql(path, "PRAGMA application_id=5"); }},
    {"LaterSchema", [](const std::string& path) { sql(path, "PRAGMA user_version=99"); }},
    {"MissingTable", [](const std::string& path) { sql(path, "DROP TABLE route_chunk"); }},
    {"ChangedPort",
     [](const std::string& path) {
         sql(path, "UPDATE port SET json = replace(json, '1500', '1501')");
     }},
    {"ChangedRoutes",
     [](const std::string& path) { sql(path, "UPDATE route_chunk SET data = zeroblob(60)"); }},
    {"NeighborMalformed",
     [](const std::string& path) {
         sql(path, "INSERT INTO neighbor VALUES('u', x'01', x'02', 'cli')");
     }},
};

INSTANTIATE_TEST_SUITE_P(Kinds, DamagedStore, testing::ValuesIn(kDamages),
                         [](const auto& test) { return test.param.name; });

TEST(Intent, RefusesAStartOnAStoreThatCannotBeOpened) {
    Router router("/nonexistent/directory/intent.db");
    ASSERT_FALSE(router.restored.has_value());
    EXPECT_EQ(router.restored.error().code, ErrorCode::kStorage);
}

TEST(Intent, RefusesWhatAFullDiskCannotHoldAndChangesNothing) {
    TempDir dir;
    std::string routes;
    std::string plane;
    {
        Router router(dir.file("intent.db"), 40);
        router.ask(vm("vm1", {"10.0.0.11"}));
        router.ask(route_set({"10.1.0.0/16"}, over("vm1")));
        routes = router.routes();
        plane = router.plane.text();
        std::vector<std::string> many;
        for (int i = 0; i < 20000; ++i) {
            many.push_back(fmt::format("11.{}.{}.{}/32", i / 62500, i / 250 % 250, i % 250));
        }
        std::optional<Result<Done>> answers[3];
        router.start(route_set(many, over("vm1")), answers[0]);
        router.start(route_set({"10.1.0.0/16"}, over("vm1")), answers[1]);
        router.start(vm("vm1", {"10.0.0.11"}, "cli"), answers[2]);
        router.wait([&] { return answers[0] && answers[1] && answers[2]; });
        EXPECT_EQ((*answers[0]).error().code, ErrorCode::kStorage) << text(*answers[0]);
        // Those that need no room are answered as if the first had never come.
        EXPECT_EQ((*answers[1])->counts.unchanged, 1u);
        EXPECT_EQ((*answers[2])->counts.unchanged, 1u);
        EXPECT_EQ(router.routes(), routes);
        EXPECT_EQ(router.plane.text(), plane);
        EXPECT_EQ(router.store->status().state, StoreStatus::State::kFailed);
        EXPECT_EQ(router.state().static_routes(), 1u);
        // And what fits is taken again.
        EXPECT_TRUE(router.ask(vm("vm2")).has_value());
        EXPECT_EQ(router.store->status().state, StoreStatus::State::kOk);
    }
    Router again(dir.file("intent.db"));
    EXPECT_EQ(again.state().ports_wanted(), 2u);
    EXPECT_EQ(again.state().static_routes(), 1u);
}

TEST(Intent, RefusesMoreRoutesThanTheTablesHold) {
    Router router;
    RouteApply bulk;
    bulk.owner = "cli";
    bulk.routes.resize(1);
    auto& prefixes = bulk.routes[0].prefixes;
    for (uint32_t i = 0; i <= kMaxHostRoutes; ++i) {
        prefixes.push_back({Ip4{Be32(0x0a000000u + i)}, 32});
    }
    EXPECT_EQ(text(router.ask(bulk)), "5  at most 1048576 IPv4 host routes");
    prefixes.resize(1000);
    EXPECT_TRUE(router.ask(bulk).has_value());
}

}  // namespace
}  // namespace slash32
