// SPDX-License-Identifier: Apache-2.0
// The methods of the control socket, without the socket.
#include "tests/unit/ctrl/api/fakes.h"

namespace slash32 {
namespace {

using rpc::Json;

constexpr const char* kPort = R"({"name":"vm1","socket":"/run/vm1","mac":"52:54:00:00:00:01",
    "addresses":["10.0.0.11/24"],"groups":["any"],"labels":{"instance":"b3c7"}})";

struct Refusal {
    const char* method;
    const char* params;
    const char* error;  // number of the kind, path
};

// Each is asked of a router that has port vm1 (10.0.0.11), uplink0 (192.0.2.2), a route over each,
// and a neighbour; each changes nothing.
const Refusal kRefusals[] = {
    // Members
    {"port.apply", "{}", "1 $.params.name"},
    {"port.apply", R"({"name":"x"})", "1 $.params.mac"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02"})", "1 $.params.socket"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","bogus":1})",
     "1 $.params.bogus"},
    {"port.apply", R"({"name":1,"mac":"52:54:00:00:00:02","socket":"/s"})", "1 $.params.name"},
    {"port.apply", R"({"name":"sixteen-letters-","mac":"52:54:00:00:00:02","socket":"/s"})",
     "1 $.params.name"},
    {"port.apply", R"({"name":"..","mac":"52:54:00:00:00:02","socket":"/s"})", "1 $.params.name"},
    {"port.apply", R"({"name":"a b","mac":"52:54:00:00:00:02","socket":"/s"})", "1 $.params.name"},
    {"port.apply", R"({"name":"x","mac":"53:54:00:00:00:02","socket":"/s"})", "1 $.params.mac"},
    {"port.apply", R"({"name":"x","mac":"00:00:00:00:00:00","socket":"/s"})", "1 $.params.mac"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00","socket":"/s"})", "1 $.params.mac"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"s"})", "1 $.params.socket"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s/"})", "1 $.params.socket"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","tap":"t"})",
     "1 $.params.tap"},
    {"port.apply", R"({"name":"x","kind":"tap","mac":"52:54:00:00:00:02","socket":"/s"})",
     "1 $.params.socket"},
    {"port.apply", R"({"name":"x","kind":"uplink","mac":"52:54:00:00:00:02"})", "1 $.params.kind"},
    {"port.apply", R"({"name":"x","kind":"tap","tap":"a/b","mac":"52:54:00:00:00:02"})",
     "1 $.params.tap"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","vrf":4096})",
     "1 $.params.vrf"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","mtu":1279})",
     "1 $.params.mtu"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","mtu":9217})",
     "1 $.params.mtu"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","queues":0})",
     "1 $.params.queues"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","queues":9})",
     "1 $.params.queues"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","announce":"no"})",
     "1 $.params.announce"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","labels":{"a":1}})",
     "1 $.params.labels.a"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","owner":"config"})",
     "1 $.params.owner"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.9","10.0.0.300"]})",
     "1 $.params.addresses[1]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.9/33"]})",
     "1 $.params.addresses[0]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.9/0"]})",
     "1 $.params.addresses[0]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.9/024"]})",
     "1 $.params.addresses[0]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.9/"]})",
     "1 $.params.addresses[0]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["224.0.0.1"]})",
     "1 $.params.addresses[0]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["127.0.0.1"]})",
     "1 $.params.addresses[0]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["fe80::1"]})",
     "1 $.params.addresses[0]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.9","10.0.0.9/24"]})",
     "1 $.params.addresses[1]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","allowed_pairs":[{"prefix":"10.0.0.1/24"}]})",
     "1 $.params.allowed_pairs[0].prefix"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s",)"
     R"("allowed_pairs":[{"prefix":"10.0.0.0/24","mac":"01:00:5e:00:00:01"}]})",
     "1 $.params.allowed_pairs[0].mac"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s",)"
     R"("allowed_pairs":[{"prefix":"10.0.0.0/24"},{"prefix":"10.0.0.0/24"}]})",
     "1 $.params.allowed_pairs[1]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.9"],"gateways":["10.0.0.9"]})",
     "1 $.params.gateways[0]"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","groups":["any","any"]})",
     "1 $.params.groups[1]"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","groups":["any","web"]})",
     "2 $.params.groups[1]"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","sync":1,"dry_run":true})",
     "1 $.params.dry_run"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","sync":1})",
     "2 $.params.sync"},
    // Other objects
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/run/vm1"})",
     "3 $.params.socket"},
    {"port.apply",
     R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","addresses":["10.0.0.12","10.0.0.11"]})",
     "3 $.params.addresses[1]"},
    {"port.apply", R"({"name":"uplink0","mac":"52:54:00:00:00:02","socket":"/s"})",
     "3 $.params.name"},
    {"port.apply", R"({"name":"vm1","mac":"52:54:00:00:00:02","socket":"/s","owner":"neutron"})",
     "4 $.params.name"},
    {"port.delete", R"({"name":"vm9"})", "2 $.params.name"},
    {"port.delete", R"({"name":"uplink0"})", "3 $.params.name"},
    {"port.delete", R"({"name":"vm1"})", "3 $.params.name"},
    {"port.get", R"({"name":"vm9"})", "2 $.params.name"},
    {"port.list", R"({"limit":0})", "1 $.params.limit"},
    {"port.list", R"({"limit":10001})", "1 $.params.limit"},
    {"port.list", R"({"state":"up"})", "1 $.params.state"},
    // Routes
    {"route.apply", "{}", "1 $.params.routes"},
    {"route.apply", R"({"routes":[]})", "1 $.params.routes"},
    {"route.apply", R"({"routes":[{"prefixes":[],"next_hop":{"blackhole":true}}]})",
     "1 $.params.routes[0].prefixes"},
    {"route.apply", R"({"routes":[{"prefixes":["10.1.0.0/16"]}]})",
     "1 $.params.routes[0].next_hop"},
    {"route.apply", R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{}}]})",
     "1 $.params.routes[0].next_hop"},
    {"route.apply", R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"blackhole":false}}]})",
     "1 $.params.routes[0].next_hop"},
    {"route.apply",
     R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"port":"vm1","blackhole":true}}]})",
     "1 $.params.routes[0].next_hop"},
    {"route.apply",
     R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"blackhole":true,"via":"10.0.0.1"}}]})",
     "1 $.params.routes[0].next_hop.via"},
    {"route.apply",
     R"({"routes":[{"prefixes":["10.1.0.0/16","10.1.0.1/16"],"next_hop":{"blackhole":true}}]})",
     "1 $.params.routes[0].prefixes[1]"},
    {"route.apply",
     R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"blackhole":true}},)"
     R"({"prefixes":["10.2.0.0/16","10.1.0.0/16"],"next_hop":{"unreachable":true}}]})",
     "1 $.params.routes[1].prefixes[1]"},
    {"route.apply", R"({"routes":[{"prefixes":["224.0.0.0/8"],"next_hop":{"blackhole":true}}]})",
     "1 $.params.routes[0].prefixes[0]"},
    {"route.apply", R"({"routes":[{"prefixes":["fe80::/64"],"next_hop":{"blackhole":true}}]})",
     "1 $.params.routes[0].prefixes[0]"},
    {"route.apply",
     R"({"routes":[{"vrf":4096,"prefixes":["10.1.0.0/16"],"next_hop":{"blackhole":true}}]})",
     "1 $.params.routes[0].vrf"},
    {"route.apply", R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"port":"vm9"}}]})",
     "2 $.params.routes[0].next_hop.port"},
    {"route.apply", R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"port":"uplink0"}}]})",
     "1 $.params.routes[0].next_hop.via"},
    {"route.apply",
     R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"port":"vm1","via":"10.0.0.1"}}]})",
     "1 $.params.routes[0].next_hop.via"},
    {"route.apply",
     R"({"routes":[{"prefixes":["10.1.0.0/16"],)"
     R"("next_hop":{"port":"uplink0","via":"192.0.2.1","mac":"52:54:00:00:00:02"}}]})",
     "1 $.params.routes[0].next_hop.mac"},
    {"route.apply",
     R"({"routes":[{"prefixes":["10.1.0.0/16","2001:db8::/32"],"next_hop":{"port":"uplink0","via":"192.0.2.1"}}]})",
     "1 $.params.routes[0].prefixes[1]"},
    {"route.apply", R"({"routes":[{"prefixes":["10.0.0.11/32"],"next_hop":{"blackhole":true}}]})",
     "3 $.params.routes[0].prefixes[0]"},
    {"route.apply",
     R"({"owner":"x","routes":[{"prefixes":["0.0.0.0/0"],"next_hop":{"blackhole":true}}]})",
     "4 $.params.routes[0].prefixes[0]"},
    {"route.delete", R"({"routes":[{"prefixes":["10.0.0.11/32"]}]})",
     "3 $.params.routes[0].prefixes[0]"},
    {"route.delete", R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"blackhole":true}}]})",
     "1 $.params.routes[0].next_hop"},
    {"route.get", "{}", "1 $.params.prefix"},
    {"route.get", R"({"prefix":"10.0.0.0/8","address":"10.0.0.1"})", "1 $.params.address"},
    {"route.get", R"({"prefix":"10.77.0.0/16"})", "2 $.params.prefix"},
    {"route.list", R"({"cursor":"rubbish"})", "1 $.params.cursor"},
    {"route.list", R"({"cursor":"9999,10.0.0.0/8"})", "1 $.params.cursor"},
    {"route.list", R"({"port":"vm9"})", "2 $.params.port"},
    // Neighbours
    {"neighbor.apply", R"({"port":"vm1","address":"192.0.2.1","mac":"52:54:00:00:00:02"})",
     "1 $.params.port"},
    {"neighbor.apply", R"({"port":"up9","address":"192.0.2.1","mac":"52:54:00:00:00:02"})",
     "2 $.params.port"},
    {"neighbor.apply", R"({"port":"uplink0","address":"224.0.0.1","mac":"52:54:00:00:00:02"})",
     "1 $.params.address"},
    {"neighbor.apply", R"({"port":"uplink0","address":"192.0.2.2","mac":"52:54:00:00:00:02"})",
     "1 $.params.address"},
    {"neighbor.apply", R"({"port":"uplink0","address":"192.0.2.1","mac":"ff:ff:ff:ff:ff:ff"})",
     "1 $.params.mac"},
    {"neighbor.apply",
     R"({"port":"uplink0","address":"192.0.2.1","mac":"52:54:00:00:00:02","owner":"x"})",
     "4 $.params.address"},
    {"neighbor.delete", R"({"port":"uplink0","address":"192.0.2.9"})", "2 $.params.address"},
    {"neighbor.list", R"({"cursor":"uplink0"})", "1 $.params.cursor"},
    // The rest
    {"sync.begin", R"({"objects":["port","network"]})", "1 $.params.objects[1]"},
    {"sync.begin", R"({"owner":"config"})", "1 $.params.owner"},
    {"sync.commit", R"({"sync":77})", "2 $.params.sync"},
    {"sync.abort", R"({"sync":77})", "2 $.params.sync"},
    {"watch", R"({"types":["port.*","prot.added"]})", "1 $.params.types[1]"},
    {"stats", R"({"port":"vm9"})", "2 $.params.port"},
    {"stats", R"({"sections":["threads"]})", "1 $.params.sections[0]"},
    {"worker.stages", "{}", "1 $.params.enabled"},
    {"worker.stages", R"({"enabled":1})", "1 $.params.enabled"},
    {"worker.stages", R"({"enabled":true,"worker":0})", "1 $.params.worker"},
    {"status", R"({"x":1})", "1 $.params.x"},
    {"rings", R"({"x":1})", "1 $.params.x"},
    {"log.set", R"({"level":"loud"})", "1 $.params.level"},
    {"log.set", R"({"level":"info","module":"nothing"})", "1 $.params.module"},
    {"explain", R"({"port":"vm1","src":"10.0.0.11","dst":"2001:db8::1","proto":"tcp"})",
     "1 $.params.dst"},
    {"explain", R"({"port":"vm1","src":"10.0.0.11","dst":"10.0.0.12","proto":"quic"})",
     "1 $.params.proto"},
    {"explain", R"({"port":"vm1","src":"10.0.0.11","dst":"10.0.0.12"})", "1 $.params.proto"},
    {"explain", R"({"port":"vm1","src":"10.0.0.11","dst":"10.0.0.12","proto":6})", "9 "},
    {"capture.start", R"({"port":"vm1","direction":"up"})", "1 $.params.direction"},
    {"capture.start", R"({"port":"vm1"})", "9 "},
};

TEST_F(ApiTest, RefusesWithThePathAndChangesNothing) {
    call("port.apply", kPort);
    call("route.apply",
         R"({"routes":[{"prefixes":["0.0.0.0/0"],"next_hop":{"port":"uplink0","via":"192.0.2.1"}},
                                      {"prefixes":["10.5.0.0/16"],"next_hop":{"port":"vm1"}}]})");
    call("neighbor.apply", R"({"port":"uplink0","address":"192.0.2.1","mac":"02:00:00:00:00:01"})");
    const uint64_t revision = router.state().revision;
    const size_t calls = router.plane.calls;
    const std::string routes = router.routes();
    ASSERT_EQ(revision, 3u);
    for (const Refusal& refusal : kRefusals) {
        const Json answer = call(refusal.method, refusal.params);
        EXPECT_EQ(answer.value("error", "accepted"), refusal.error)
            << refusal.method << " " << refusal.params << " " << answer;
        EXPECT_EQ(router.state().revision, revision);
        EXPECT_EQ(router.plane.calls, calls);
    }
    EXPECT_EQ(router.routes(), routes);
    EXPECT_EQ(router.plane.hops.size(), 2u);
}

TEST_F(ApiTest, AppliesAndShowsAPort) {
    const Json applied = call("port.apply", kPort);
    EXPECT_EQ(applied, Json::parse(R"({"change":"added","name":"vm1","id":2,"revision":1,"seq":1,
                                       "programmed":true})"));
    telemetry.ports[PortId{2}].rx_packets = 7;
    const Json got = call("port.get", R"({"name":"vm1"})");
    EXPECT_EQ(got["seq"], 1);
    EXPECT_EQ(got["port"]["desired"],
              Json::parse(R"({"name":"vm1","owner":"cli","kind":"vhost","socket":"/run/vm1",
                "socket_mode":"client","mac":"52:54:00:00:00:01","addresses":["10.0.0.11/24"],
                "allowed_pairs":[],"gateways":[],"vrf":0,"mtu":1500,"queues":1,"groups":["any"],
                "port_security":true,"log_denied":false,"announce":"auto","announce_table":0,
                "announce_metric":0,"withdraw_delay_ms":0,"labels":{"instance":"b3c7"}})"));
    EXPECT_EQ(got["port"]["actual"]["state"], "waiting");
    EXPECT_EQ(got["port"]["actual"]["stale"], false);
    EXPECT_EQ(got["port"]["counters"]["rx_packets"], 7);
    EXPECT_EQ(call("port.apply", kPort)["change"], "unchanged");
    Json changed = Json::parse(kPort);
    changed["mtu"] = 9000;
    EXPECT_EQ(call("port.apply", changed)["change"], "changed");
    EXPECT_EQ(call("port.delete", R"({"name":"vm1"})")["change"], "removed");
    EXPECT_EQ(call("port.get", R"({"name":"uplink0"})")["port"]["kind"], "uplink");
}

TEST_F(ApiTest, WhatItShowsCanBeAppliedAgain) {
    Json tap = Json::parse(R"({"name":"t1","kind":"tap","mac":"52:54:00:00:00:01","owner":"neutron",
        "addresses":["2001:db8::5/64","10.0.0.5"],"vrf":7,"mtu":9000,"queues":4,"announce":"hold",
        "allowed_pairs":[{"prefix":"10.9.0.0/16"},{"prefix":"::/0","mac":"02:00:00:00:00:09"}],
        "gateways":["fe80::1","10.0.0.1"],"port_security":false})");
    call("vrf.apply", R"({"vrf":7})");
    call("port.apply", tap);
    const Json shown = call("port.get", R"({"name":"t1"})")["port"]["desired"];
    EXPECT_EQ(call("port.apply", shown)["change"], "unchanged");
    EXPECT_EQ(shown["tap"], "t1");
}

TEST_F(ApiTest, ListsPortsByPageAndFilter) {
    for (int i = 1; i <= 7; ++i) {
        Json port = {{"name", fmt::format("vm{}", i)},
                     {"socket", fmt::format("/s{}", i)},
                     {"mac", fmt::format("52:54:00:00:00:0{}", i)},
                     {"owner", i % 2 == 0 ? "neutron" : "cli"},
                     {"labels", {{"project", i < 4 ? "a" : "b"}}}};
        ASSERT_EQ(call("port.apply", port)["change"], "added");
    }
    const auto names = [&](Json filter) {
        std::string out;
        for (;;) {
            const Json page = call("port.list", filter);
            for (const Json& port : page["ports"])
                out += port["name"].get<std::string>() + " ";
            if (!page.contains("cursor")) return out;
            out += "| ";
            filter["cursor"] = page["cursor"];
        }
    };
    EXPECT_EQ(names({{"limit", 3}}), "uplink0 vm1 vm2 | vm3 vm4 vm5 | vm6 vm7 ");
    EXPECT_EQ(names({{"limit", 8}}), "uplink0 vm1 vm2 vm3 vm4 vm5 vm6 vm7 ");
    EXPECT_EQ(names({{"owner", "neutron"}}), "vm2 vm4 vm6 ");
    EXPECT_EQ(names({{"kind", "uplink"}}), "uplink0 ");
    EXPECT_EQ(names({{"labels", {{"project", "a"}}}, {"owner", "cli"}}), "vm1 vm3 ");
    EXPECT_EQ(names({{"state", "running"}}), "");
}

TEST_F(ApiTest, ListsRoutesByPageWhileTheyChange) {
    call("port.apply", kPort);
    Json prefixes = Json::array();
    for (int i = 0; i < 100; ++i)
        prefixes.push_back(fmt::format("10.1.0.{}/32", i));
    const Json result = call(
        "route.apply", {{"routes", {{{"prefixes", prefixes}, {"next_hop", {{"port", "vm1"}}}}}}});
    EXPECT_EQ(result["added"], 100);
    call("vrf.apply", R"({"vrf":5})");
    call("route.apply",
         R"({"routes":[{"vrf":5,"prefixes":["2001:db8::/32"],"next_hop":{"unreachable":true}}]})");
    std::set<std::string> seen;
    Json filter = {{"limit", 7}};
    for (int page_number = 0;; ++page_number) {
        const Json page = call("route.list", filter);
        EXPECT_LE(page["routes"].size(), 7u);
        for (const Json& route : page["routes"]) {
            EXPECT_TRUE(seen.insert(route["prefix"].get<std::string>()).second);
        }
        if (!page.contains("cursor")) break;
        filter["cursor"] = page["cursor"];
        // Routes come and go around the cursor.
        const std::string gone = fmt::format("10.1.0.{}/32", page_number * 7 % 100);
        call("route.delete", {{"routes", {{{"prefixes", {gone}}}}}});
        call("route.apply", {{"routes",
                              {{{"prefixes", {fmt::format("9.0.0.{}/32", page_number)}},
                                {"next_hop", {{"blackhole", true}}}}}}});
    }
    for (int i = 99; i > 90; --i)
        EXPECT_TRUE(seen.contains(fmt::format("10.1.0.{}/32", i)));
    EXPECT_TRUE(seen.contains("2001:db8::/32"));
    const auto count = [&](const char* params) {
        return call("route.list", params)["routes"].size();
    };
    EXPECT_EQ(count(R"({"family":"ipv6"})"), 1u);
    EXPECT_EQ(count(R"({"vrf":5})"), 1u);
    EXPECT_EQ(count(R"({"vrf":5,"family":"ipv4"})"), 0u);
    EXPECT_EQ(count(R"({"vrf":0,"within":"10.1.0.96/30"})"), 4u);
    EXPECT_EQ(count(R"({"within":"10.1.0.96/30"})"), 4u);
    EXPECT_EQ(count(R"({"port":"uplink0"})"), 1u);
    EXPECT_EQ(count(R"({"owner":"config"})"), 1u);
}

TEST_F(ApiTest, GetsARouteExactlyOrByLongestMatch) {
    call("port.apply", kPort);
    call(
        "route.apply",
        R"({"routes":[{"prefixes":["0.0.0.0/0"],"next_hop":{"port":"uplink0","via":"fe80::1"}}]})");
    EXPECT_EQ(
        call("route.get", R"({"prefix":"0.0.0.0/0"})")["route"],
        Json::parse(R"({"vrf":0,"prefix":"0.0.0.0/0","next_hop":{"port":"uplink0","via":"fe80::1"},
                              "owner":"cli","origin":"static","stale":false})"));
    EXPECT_EQ(call("route.get", R"({"address":"10.0.0.11"})")["route"]["origin"], "port");
    EXPECT_EQ(call("route.get", R"({"address":"10.0.0.12"})")["route"]["prefix"], "0.0.0.0/0");
    EXPECT_EQ(call("route.get", R"({"address":"10.0.0.12","vrf":1})")["error"],
              "2 $.params.address");
}

TEST_F(ApiTest, KeepsNeighbours) {
    const char* kNeighbor = R"({"port":"uplink0","address":"192.0.2.1","mac":"02:00:00:00:00:01"})";
    EXPECT_EQ(call("neighbor.apply", kNeighbor)["change"], "added");
    EXPECT_EQ(call("neighbor.apply", kNeighbor)["change"], "unchanged");
    call("neighbor.apply",
         R"({"port":"uplink0","address":"2001:db8::1","mac":"02:00:00:00:00:02"})");
    EXPECT_EQ(router.plane.neighbors.size(), 2u);
    EXPECT_EQ(call("neighbor.get", R"({"port":"uplink0","address":"192.0.2.1"})")["neighbor"],
              Json::parse(R"({"port":"uplink0","address":"192.0.2.1","mac":"02:00:00:00:00:01",
                              "owner":"cli","stale":false})"));
    const Json first = call("neighbor.list", R"({"limit":1})");
    ASSERT_EQ(first["neighbors"].size(), 1u);
    const Json second = call("neighbor.list", {{"limit", 1}, {"cursor", first["cursor"]}});
    EXPECT_EQ(second["neighbors"][0]["address"], "2001:db8::1");
    EXPECT_FALSE(second.contains("cursor"));
    EXPECT_EQ(call("neighbor.delete", R"({"port":"uplink0","address":"192.0.2.1"})")["change"],
              "removed");
    EXPECT_EQ(router.plane.neighbors.size(), 1u);
}

TEST_F(ApiTest, ADryRunAnswersTheDifferenceAndChangesNothing) {
    call("port.apply", kPort);
    const size_t calls = router.plane.calls;
    Json port = Json::parse(kPort);
    port["mtu"] = 9000;
    port["dry_run"] = true;
    EXPECT_EQ(call("port.apply", port),
              Json::parse(
                  R"({"dry_run":true,"difference":{"added":0,"changed":1,"removed":0,"unchanged":0,
                "truncated":false,"objects":[{"op":"change","object":"port","name":"vm1",
                "fields":{"mtu":{"from":1500,"to":9000}}}]}})"));
    EXPECT_EQ(call("route.apply", R"({"dry_run":true,"routes":[{"prefixes":["10.1.0.0/16"],
                "next_hop":{"port":"vm1"}}]})")["difference"]["objects"][0],
              Json::parse(R"({"op":"add","object":"route","vrf":0,"prefix":"10.1.0.0/16"})"));
    EXPECT_EQ(call("port.delete", R"({"name":"vm1","dry_run":true})")["difference"]["removed"], 1);
    Json many = Json::array();
    for (int i = 0; i < 1500; ++i)
        many.push_back(fmt::format("10.1.{}.{}/32", i / 250, i % 250));
    const Json big = call(
        "route.apply", {{"dry_run", true},
                        {"routes", {{{"prefixes", many}, {"next_hop", {{"blackhole", true}}}}}}});
    EXPECT_EQ(big["difference"]["added"], 1500);
    EXPECT_EQ(big["difference"]["objects"].size(), 1000u);
    EXPECT_EQ(big["difference"]["truncated"], true);
    EXPECT_EQ(router.plane.calls, calls);
    EXPECT_EQ(router.state().revision, 1u);
    EXPECT_EQ(router.state().hops.size(), 0u);
}

TEST_F(ApiTest, SyncMakesAnOwnersSetTrue) {
    call("port.apply", kPort);
    call("route.apply", R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"port":"vm1"}}]})");
    const uint64_t id = call("sync.begin")["sync"];
    EXPECT_EQ(call("sync.begin")["error"], "3 $.params.owner");
    Json port = Json::parse(kPort);
    port["sync"] = id;
    EXPECT_EQ(call("port.apply", port), Json::parse(R"({"staged":true})"));
    port["owner"] = "neutron";
    EXPECT_EQ(call("port.apply", port)["error"], "4 $.params.owner");
    const Json difference = call("sync.commit", {{"sync", id}, {"dry_run", true}})["difference"];
    EXPECT_EQ(difference["removed"], 1);
    EXPECT_EQ(difference["unchanged"], 1);
    const Json done = call("sync.commit", {{"sync", id}});
    EXPECT_EQ(done["removed"], 1);
    EXPECT_EQ(done["unchanged"], 1);
    EXPECT_EQ(call("sync.commit", {{"sync", id}})["error"], "2 $.params.sync");
}

TEST_F(ApiTest, ASyncThatFailsStaysOpenAndOneThatIsAbortedIsGone) {
    call("port.apply", kPort);
    const uint64_t id = call("sync.begin", R"({"owner":"neutron"})")["sync"];
    Json port = Json::parse(kPort);
    port["name"] = "vm2";
    port["owner"] = "neutron";
    port["sync"] = id;
    call("port.apply", port);
    EXPECT_EQ(call("sync.commit", {{"sync", id}})["error"], "3 $.params.sync");
    port["socket"] = "/run/vm2";
    port["addresses"] = {"10.0.0.12"};
    call("port.apply", port);
    EXPECT_EQ(call("sync.commit", {{"sync", id}})["added"], 1);
    const uint64_t second = call("sync.begin", R"({"owner":"neutron"})")["sync"];
    EXPECT_EQ(call("sync.abort", {{"sync", second}}), Json::object());
    EXPECT_EQ(call("sync.commit", {{"sync", second}})["error"], "2 $.params.sync");
    EXPECT_EQ(router.state().ports_wanted(), 2u);
}

TEST_F(ApiTest, ADroppedConnectionSweepsNothing) {
    Json port = Json::parse(kPort);
    port["owner"] = "neutron";
    call("port.apply", port);
    FakeSession agent(7);
    const uint64_t id = call("sync.begin", R"({"owner":"neutron"})", &agent)["sync"];
    EXPECT_EQ(call("sync.commit", {{"sync", id}})["error"], "2 $.params.sync");
    agent.close();
    EXPECT_EQ(call("sync.commit", {{"sync", id}}, &agent)["error"], "2 $.params.sync");
    EXPECT_EQ(router.state().ports_wanted(), 1u);
    // Another connection may begin at once.
    EXPECT_TRUE(call("sync.begin", R"({"owner":"neutron"})").contains("sync"));
}

TEST_F(ApiTest, TellsWatchersWhatHappens) {
    FakeSession watcher(5);
    EXPECT_EQ(call("watch", Json::object(), &watcher),
              Json::parse(R"({"instance":"0123456789abcdef","seq":0,"lost":false})"));
    call("port.apply", kPort);
    ASSERT_EQ(watcher.events.size(), 1u);
    EXPECT_EQ(watcher.events[0]["type"], "port.added");
    EXPECT_EQ(watcher.events[0]["labels"]["instance"], "b3c7");
    EXPECT_EQ(watcher.events[0]["revision"], 1);
    watcher.events.clear();
    call("port.apply", kPort);
    EXPECT_EQ(watcher.types(), "");
    call("route.apply",
         R"({"routes":[{"prefixes":["10.1.0.0/16","10.2.0.0/16"],"next_hop":{"port":"vm1"}}]})");
    EXPECT_EQ(watcher.events.at(0)["added"], 2);
    call("neighbor.apply", R"({"port":"uplink0","address":"192.0.2.1","mac":"02:00:00:00:00:01"})");
    EXPECT_EQ(watcher.events.at(1)["op"], "add");
    watcher.events.clear();
    const PortId id{2};
    router.plane.emit({PlaneEvent::Type::kConnected, id, {}, ""});
    router.plane.emit({PlaneEvent::Type::kWired, id, {}, ""});
    router.plane.emit({PlaneEvent::Type::kRingsReady, id, {}, ""});
    router.plane.emit({PlaneEvent::Type::kDisconnected, id, {}, "gone"});
    router.plane.emit({PlaneEvent::Type::kFailed, id, {}, "ring"});
    router.plane.emit({PlaneEvent::Type::kFailed, PortId{99}, {}, "nobody"});
    EXPECT_EQ(watcher.types(),
              "port.connected port.wired port.rings_ready port.disconnected port.failed ");
    call("port.delete", R"({"name":"vm1","force":true})");
    EXPECT_EQ(watcher.types(), "port.removed route.changed ");
    watcher.close();
    call("port.apply", kPort);
    EXPECT_EQ(watcher.types(), "");
}

TEST_F(ApiTest, TellsWhoHeldAnAddressBefore) {
    FakeSession watcher(5);
    call("watch", Json::object(), &watcher);
    for (int i = 2; i <= 3; ++i) {
        call("port.apply", {{"name", fmt::format("vm{}", i)},
                            {"socket", fmt::format("/s{}", i)},
                            {"mac", fmt::format("52:54:00:00:00:0{}", i)},
                            {"allowed_pairs", {{{"prefix", "10.0.0.100/32"}}}}});
    }
    watcher.events.clear();
    const IpAddress shared = *parse_ip("10.0.0.100");
    router.plane.emit({PlaneEvent::Type::kAddressMoved, PortId{2}, shared, ""});
    router.plane.emit({PlaneEvent::Type::kAddressMoved, PortId{3}, shared, "rarp"});
    ASSERT_EQ(watcher.events.size(), 2u);
    EXPECT_EQ(watcher.events[0]["how"], "garp");
    EXPECT_EQ(watcher.events[0]["mac"], "52:54:00:00:00:02");
    EXPECT_FALSE(watcher.events[0].contains("from"));
    EXPECT_EQ(watcher.events[1]["how"], "rarp");
    EXPECT_EQ(watcher.events[1]["from"], "vm2");
    router.plane.emit({PlaneEvent::Type::kAddressConflict, PortId{3}, shared, "",
                       *parse_mac("02:00:00:00:00:07")});
    EXPECT_EQ(watcher.events.back()["mac"], "02:00:00:00:00:07");
}

TEST_F(ApiTest, ResumesAWatchOrSaysThatItIsLost) {
    call("port.apply", kPort);
    const uint64_t seq = call("port.list")["seq"];
    call("route.apply", R"({"routes":[{"prefixes":["10.1.0.0/16"],"next_hop":{"port":"vm1"}}]})");
    FakeSession watcher(5);
    EXPECT_EQ(call("watch", {{"since", seq}, {"instance", "0123456789abcdef"}}, &watcher)["lost"],
              false);
    EXPECT_EQ(watcher.types(), "route.changed ");
    EXPECT_EQ(call("watch", {{"since", 0}, {"types", {"port.*"}}}, &watcher)["lost"], false);
    EXPECT_EQ(watcher.types(), "port.added ");
    EXPECT_EQ(call("watch", {{"since", 3}}, &watcher)["lost"], true);
    EXPECT_EQ(call("watch", {{"since", 0}, {"instance", "ffffffffffffffff"}}, &watcher)["lost"],
              true);
    EXPECT_EQ(watcher.types(), "");
}

TEST_F(ApiTest, ReportsWhatAntiSpoofingRefuses) {
    call("port.apply", kPort);
    FakeSession watcher(5);
    call("watch", R"({"types":["denied"]})", &watcher);
    auto& drops = telemetry.ports[PortId{2}].drops;
    drops[static_cast<size_t>(DropReason::kNoRoute)] = 5;
    api.report_denied();
    EXPECT_EQ(watcher.types(), "");
    drops[static_cast<size_t>(DropReason::kSpoofedSource)] = 4;
    drops[static_cast<size_t>(DropReason::kSpoofedMac)] = 1;
    api.report_denied();
    ASSERT_EQ(watcher.events.size(), 2u);
    EXPECT_EQ(watcher.events[0]["reason"], "spoofed_mac");
    EXPECT_EQ(watcher.events[0]["packets"], 1);
    EXPECT_EQ(watcher.events[1]["reason"], "spoofed_source");
    EXPECT_EQ(watcher.events[1]["packets"], 4);
    watcher.events.clear();
    api.report_denied();
    EXPECT_EQ(watcher.types(), "");
}

TEST_F(ApiTest, ShowsTheDaemonOnOneScreen) {
    call("port.apply", kPort);
    telemetry.ports[PortId{2}].rx_packets = 3;
    telemetry.ports[PortId{2}].drops[static_cast<size_t>(DropReason::kNoRoute)] = 2;
    const Json status = call("status");
    EXPECT_EQ(status["store"], Json::parse(R"({"state":"memory"})"));
    EXPECT_EQ(
        status["owners"],
        Json::parse(
            R"([{"owner":"cli","ports":1,"routes":0,"neighbors":0,"groups":0,"vrfs":0,"stale":0}])"));
    EXPECT_EQ(
        status["ports"],
        Json::parse(R"({"total":1,"waiting":1,"connected":0,"running":0,"failed":0,"uplinks":1})"));
    EXPECT_EQ(status["routes"], Json::parse(R"({"ipv4":2,"ipv6":0})"));
    EXPECT_EQ(status["traffic"]["rx_packets"], 3);
    EXPECT_EQ(status["workers"][0]["busy_percent"], 12.3);
    EXPECT_EQ(call("rings")["rings"][0]["lag"], 1);
    EXPECT_EQ(call("memory")["tables"].size(), 2u);
    const Json stats = call("stats");
    EXPECT_EQ(stats["ports"].size(), 2u);
    EXPECT_EQ(stats["drops"][0]["reason"], "no_route");
    EXPECT_EQ(call("stats", R"({"sections":["ports"],"port":"vm1"})")["ports"][0]["drops"],
              Json::parse(R"({"no_route":2})"));
    EXPECT_FALSE(call("stats", R"({"sections":["ports"]})").contains("workers"));
    EXPECT_TRUE(call("log.get").contains("modules"));
}

}  // namespace
}  // namespace slash32
