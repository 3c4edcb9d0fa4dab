// SPDX-License-Identifier: Apache-2.0
// vrf.*, sid.list, and routes into tunnels and to segments, over fakes.
#include "tests/unit/ctrl/api/fakes.h"

namespace slash32 {
namespace {

using rpc::Json;

const char* const kPort =
    R"({"name":"vm1","mac":"52:54:00:00:00:01","socket":"/run/vm1","addresses":["10.0.0.11"]})";

struct Refusal {
    const char* method;
    const char* params;
    const char* error;  // number of the kind, and path
};

constexpr Refusal kRefusals[] = {
    {"vrf.apply", R"({"vrf":0})", "1 $.params.vrf"},
    {"vrf.apply", R"({"vrf":4096})", "1 $.params.vrf"},
    {"vrf.apply", R"({"name":"x"})", "1 $.params.vrf"},
    {"vrf.delete", R"({"vrf":9})", "2 $.params.vrf"},
    {"vrf.get", R"({"vrf":9})", "2 $.params.vrf"},
    {"vrf.list", R"({"cursor":"x"})", "1 $.params.cursor"},
    {"sid.list", R"({"cursor":"10.0.0.0/8"})", "1 $.params.cursor"},
    {"port.apply", R"({"name":"x","mac":"52:54:00:00:00:02","socket":"/s","vrf":9})",
     "2 $.params.vrf"},
};

// Of one route.
struct RouteRefusal {
    const char* prefixes;
    const char* next_hop;
    const char* error;  // number of the kind, and path within the route
    int vrf = 0;
};

constexpr RouteRefusal kRouteRefusals[] = {
    {R"(["10.1.0.0/16"])", R"({"segments":[]})", "1 .next_hop.segments"},
    {R"(["10.1.0.0/16"])", R"({"segments":["fc00::1","fc00::2","fc00::3","fc00::4","fc00::5",
                                           "fc00::6","fc00::7","fc00::8","fc00::9"]})",
     "1 .next_hop.segments"},
    {R"(["10.1.0.0/16"])", R"({"segments":["fc00::1","192.0.2.1"]})", "1 .next_hop.segments[1]"},
    {R"(["10.1.0.0/16"])", R"({"segments":["ff02::1"]})", "1 .next_hop.segments[0]"},
    {R"(["10.1.0.0/16"])", R"({"segments":["fe80::1"]})", "1 .next_hop.segments[0]"},
    {R"(["10.1.0.0/16"])", R"({"segments":["fc00::1"],"encap":"l2"})", "1 .next_hop.encap"},
    {R"(["10.1.0.0/16"])", R"({"port":"vm1","encap":"full"})", "1 .next_hop.encap"},
    {R"(["10.1.0.0/16"])", R"({"port":"vm1","segments":["fc00::1"]})", "1 .next_hop"},
    {R"(["10.1.0.0/16"])",
     R"({"paths":[{"segments":["fc00::1"]},{"segments":["fc00::1"],"weight":2}]})",
     "1 .next_hop.paths[1]"},
    {R"(["10.1.0.0/16"])", R"({"paths":[{"segments":["fc00::1"],"weight":0}]})",
     "1 .next_hop.paths[0].weight"},
    {R"(["10.1.0.0/16"])", R"({"paths":[{"weight":1}]})", "1 .next_hop.paths[0].segments"},
    {R"(["10.1.0.0/16"])", R"({"sid":{"behavior":"end"}})", "1 .prefixes[0]"},
    {R"(["fc00::1","fc00::2"])", R"({"sid":{"behavior":"end"}})", "1 .prefixes"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end"}})", "1 .vrf", 1},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end.b6"}})", "1 .next_hop.sid.behavior"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end.dt4"}})", "1 .next_hop.sid.vrf"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end","vrf":0}})", "1 .next_hop.sid.vrf"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end.dx4"}})", "1 .next_hop.sid.port"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end","port":"vm1"}})", "1 .next_hop.sid.port"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end","via":"192.0.2.1"}})", "1 .next_hop.sid.via"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end.dt4","vrf":0,"flavors":["psp"]}})",
     "1 .next_hop.sid.flavors"},
    {R"(["fc00::1"])", R"({"sid":{"behavior":"end","flavors":["next-csid"]}})",
     "1 .next_hop.sid.block"},
    {R"(["fc00::/32"])", R"({"sid":{"behavior":"end","flavors":["next-csid"],"block":32}})",
     "1 .prefixes[0]"},
    {R"(["10.1.0.0/16"])", R"({"vrf":0})", "1 .next_hop.vrf"},  // its own
    {R"(["10.1.0.0/16"])", R"({"vrf":9})", "2 .next_hop.vrf"},
    {R"(["10.1.0.0/16"])", R"({"vrf":4096})", "1 .next_hop.vrf"},
    {R"(["10.1.0.0/16"])", R"({"vrf":1,"port":"vm1"})", "1 .next_hop"},
    {R"(["10.1.0.0/16"])", R"({"blackhole":true,"report_misses":true})",
     "1 .next_hop.report_misses"},
    {R"(["10.1.0.0/16"])", R"({"port":"vm1","idle_timeout":5})", "1 .next_hop.idle_timeout"},
    {R"(["10.1.0.0/16"])", R"({"segments":["fc00::1"],"idle_timeout":0})",
     "1 .next_hop.idle_timeout"},
    {R"(["10.1.0.1","10.1.0.2"])", R"({"segments":["fc00::1"],"idle_timeout":5})", "1 .prefixes"},
    // There is no locator.
    {R"(["fc00:0:1:7::"])", R"({"sid":{"behavior":"end"}})", "1 .next_hop.sid"},
    {R"(["10.1.0.0/16"])", R"({"segments":["fc00::1"]})", "1 .next_hop.segments"},
};

TEST_F(ApiTest, RefusesVrfsTunnelsAndSegmentsWithThePathAndChangesNothing) {
    call("port.apply", kPort);
    const uint64_t revision = router.state().revision;
    const size_t calls = router.plane.calls;
    for (const Refusal& refusal : kRefusals) {
        EXPECT_EQ(call(refusal.method, refusal.params).value("error", "accepted"), refusal.error)
            << refusal.method << " " << refusal.params;
    }
    for (const RouteRefusal& refusal : kRouteRefusals) {
        const Json route{{"vrf", refusal.vrf},
                         {"prefixes", Json::parse(refusal.prefixes)},
                         {"next_hop", Json::parse(refusal.next_hop)}};
        std::string expected = refusal.error;
        expected.insert(2, "$.params.routes[0]");
        const Json answer = call("route.apply", Json{{"routes", {route}}});
        EXPECT_EQ(answer.value("error", "accepted"), expected) << route << " " << answer;
    }
    EXPECT_EQ(router.state().revision, revision);
    EXPECT_EQ(router.plane.calls, calls);
}

TEST_F(ApiTest, ShowsTunnelsAndSegmentsAsTheyWereAsked) {
    router.intent->set_locator(*parse_prefix("fc00:0:1::/48"));
    call("port.apply", kPort);
    call("vrf.apply", R"({"vrf":7,"name":"a"})");
    const std::pair<const char*, const char*> routes[] = {
        {"10.0.0.0/8", R"({"segments":["fc00:0:2:7::"]})"},
        {"10.1.0.0/16", R"({"segments":["fc00:0:5::","fc00:0:2:7::"],"encap":"full"})"},
        {"10.2.0.0/16", R"({"paths":[{"segments":["fc00:0:8:7::"],"weight":3},
                                     {"segments":["fc00:0:9:7::"],"encap":"full","weight":1}]})"},
        {"10.3.0.0/16", R"({"segments":["fc00:0:2:7::"],"report_misses":true})"},
        {"10.3.0.1/32", R"({"segments":["fc00:0:2:7::"],"idle_timeout":60})"},
        {"10.3.0.2/32", R"({"paths":[{"segments":["fc00:0:8:7::"],"weight":1},
                                     {"segments":["fc00:0:9:7::"],"weight":1}],
                            "report_misses":true,"idle_timeout":604800})"},
        {"0.0.0.0/0", R"({"vrf":0})"},
        {"fc00:0:1:1::/128", R"({"sid":{"behavior":"end","flavors":["psp","usd"]}})"},
        {"fc00:0:1::/48", R"({"sid":{"behavior":"end","flavors":["next-csid"],"block":32}})"},
        {"fc00:0:1:7::/128", R"({"sid":{"behavior":"end.dt46","vrf":7}})"},
        {"fc00:0:1:8::/128", R"({"sid":{"behavior":"end.dx4","port":"vm1"}})"},
        {"fc00:0:1:9::/128", R"({"sid":{"behavior":"end.x","port":"uplink0","via":"192.0.2.1"}})"},
    };
    for (const auto& [prefix, next_hop] : routes) {
        const int vrf = std::string_view(prefix).starts_with("fc00") ? 0 : 7;
        const Json entry{{"vrf", vrf}, {"prefixes", {prefix}}, {"next_hop", Json::parse(next_hop)}};
        const Json request{{"routes", {entry}}};
        const Json applied = call("route.apply", request);
        EXPECT_EQ(applied.value("added", 0), 1) << prefix << " " << applied;
        const Json shown =
            call("route.get", Json{{"vrf", vrf}, {"prefix", prefix}})["route"]["next_hop"];
        EXPECT_EQ(shown, Json::parse(next_hop)) << prefix;
        EXPECT_EQ(call("route.apply", request)["unchanged"], 1) << prefix;
    }
    std::vector<std::string> sids;
    Json page = call("sid.list", R"({"limit":2})");
    for (; !page["sids"].empty();) {
        for (const Json& sid : page["sids"]) {
            EXPECT_EQ(sid["packets"], 3);
            sids.push_back(sid["prefix"]);
        }
        if (!page.contains("cursor")) break;
        page = call("sid.list", Json{{"limit", 2}, {"cursor", page["cursor"]}});
    }
    EXPECT_EQ(sids,
              (std::vector<std::string>{"fc00:0:1::/48", "fc00:0:1:1::/128", "fc00:0:1:7::/128",
                                        "fc00:0:1:8::/128", "fc00:0:1:9::/128"}));
    const Json vrf = call("vrf.get", R"({"vrf":7})")["vrf"];
    EXPECT_EQ(vrf["name"], "a");
    EXPECT_EQ(vrf["routes"], 7);
    const Json dry = call("vrf.delete", R"({"vrf":7,"dry_run":true})")["difference"];
    EXPECT_EQ(dry["removed"], 9);  // and the segment that leads there
    EXPECT_EQ(call("vrf.delete", R"({"vrf":7})")["removed_routes"], 8);
    EXPECT_EQ(call("vrf.list")["vrfs"].size(), 1u);  // VRF 0
}

}  // namespace
}  // namespace slash32
