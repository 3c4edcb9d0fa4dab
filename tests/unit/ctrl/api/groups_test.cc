// SPDX-License-Identifier: Apache-2.0
// sg.*, addrset.* and conntrack.* over fakes.
#include "tests/unit/ctrl/api/fakes.h"

namespace slash32 {
namespace {

using rpc::Json;

struct Refusal {
    const char* method;
    const char* params;
    const char* error;  // number of the kind, and path
};

constexpr Refusal kRefusals[] = {
    {"sg.apply", "{}", "1 $.params.name"},
    {"sg.apply", R"({"name":"any"})", "1 $.params.name"},
    {"sg.apply", R"({"name":"a","rules":[{"direction":"ingress"},{"direction":"ingress","x":1}]})",
     "1 $.params.rules[1].x"},
    {"sg.apply",
     R"({"name":"a","rules":[{"direction":"ingress","protocol":"tcp","port_min":2,"port_max":1}]})",
     "1 $.params.rules[0].port_max"},
    {"sg.apply", R"({"name":"a","rules":[{"direction":"ingress","remote_group":"b"}]})",
     "2 $.params.rules[0].remote_group"},
    {"sg.apply", R"({"name":"a","rules":[{"direction":"ingress","remote_set":"b"}]})",
     "2 $.params.rules[0].remote_set"},
    {"sg.apply", R"({"name":"a","rules":{}})", "1 $.params.rules"},
    {"sg.apply", R"({"name":"a","sync":77})", "2 $.params.sync"},
    {"sg.delete", R"({"name":"a"})", "2 $.params.name"},
    {"sg.members", R"({"name":"a","add":["10.0.0.1"]})", "2 $.params.name"},
    {"sg.get", R"({"name":"a"})", "2 $.params.name"},
    {"sg.list", R"({"limit":0})", "1 $.params.limit"},
    {"addrset.apply", R"({"name":"a","rules":[]})", "1 $.params.rules"},
    {"addrset.apply", R"({"name":"a","members":["10.0.0.1/8"]})", "1 $.params.members[0]"},
    {"addrset.update", R"({"name":"a","add":["x"]})", "1 $.params.add[0]"},
    {"addrset.delete", R"({"name":"a"})", "2 $.params.name"},
    {"addrset.get", R"({"name":"a","cursor":"x"})", "1 $.params.cursor"},
    {"port.apply", R"({"name":"vm2","mac":"52:54:00:00:00:02","socket":"/x","groups":["a"]})",
     "2 $.params.groups[0]"},
    {"conntrack.list", R"({"port":"vm9"})", "2 $.params.port"},
    {"conntrack.list", R"({"protocol":"quic"})", "1 $.params.protocol"},
    {"conntrack.flush", "{}", "9 "},
    {"conntrack.config", R"({"half_open":0})", "1 $.params.half_open"},
    {"conntrack.config", R"({"timeouts":{"udp_timeout":-1}})", "1 $.params.timeouts.udp_timeout"},
};

TEST_F(ApiTest, RefusesImpossibleGroupsWithThePathAndChangesNothing) {
    for (const Refusal& refusal : kRefusals) {
        const Json answer = call(refusal.method, refusal.params);
        EXPECT_EQ(answer.value("error", "accepted"), refusal.error)
            << refusal.method << " " << refusal.params << " " << answer;
    }
    EXPECT_EQ(router.state().revision, 0u);
    EXPECT_EQ(router.plane.calls, 0u);
}

TEST_F(ApiTest, AppliesAndShowsGroupsAndSets) {
    FakeSession session(2);
    call("watch", R"({"types":["sg.*","addrset.*"]})", &session);
    call("addrset.apply", R"({"name":"trusted","members":["10.0.0.1","2001:db8::/32"]})");
    const Json applied = call("sg.apply", R"({"name":"web","labels":{"project":"p1"},"rules":[
        {"direction":"ingress","protocol":"tcp","port_min":80,"remote_set":"trusted"},
        {"direction":"egress"},{"direction":"egress","ethertype":"ipv4"}]})");
    EXPECT_EQ(applied["change"], "added");
    const Json got = call("sg.get", R"({"name":"web"})");
    EXPECT_EQ(got["group"]["desired"],
              Json::parse(R"({"name":"web","owner":"cli","stateful":true,"labels":{"project":"p1"},
                "rules":[{"direction":"egress","ethertype":"ipv4"},
                         {"direction":"ingress","ethertype":"ipv4","protocol":"tcp","port_min":80,
                          "port_max":80,"remote_set":"trusted"}]})"));
    EXPECT_EQ(got["group"]["hits"], Json::parse("[10,20]"));
    EXPECT_EQ(call("sg.apply", got["group"]["desired"])["change"], "unchanged");
    EXPECT_EQ(call("addrset.update", R"({"name":"trusted","add":["10.0.0.2"],
                                         "remove":["10.0.0.1","10.0.0.9"]})"),
              Json::parse(R"({"added":1,"removed":1,"unchanged":0,"missing":1,"revision":3,"seq":3,
                              "programmed":true})"));
    const Json page = call("addrset.get", R"({"name":"trusted","limit":1})");
    EXPECT_EQ(page["members"], Json::parse(R"(["10.0.0.2/32"])"));
    const Json rest = call("addrset.get", {{"name", "trusted"}, {"cursor", page["cursor"]}});
    EXPECT_EQ(rest["members"], Json::parse(R"(["2001:db8::/32"])"));
    EXPECT_FALSE(rest.contains("cursor"));
    const Json dry = call("sg.apply", R"({"name":"web","dry_run":true})")["difference"];
    EXPECT_EQ(dry["objects"][0]["object"], "sg");
    EXPECT_EQ(dry["objects"][0]["op"], "change");
    EXPECT_EQ(call("sg.list")["groups"].size(), 1u);
    EXPECT_EQ(call("addrset.list", R"({"owner":"neutron"})")["sets"].size(), 0u);
    EXPECT_EQ(call("addrset.delete", R"({"name":"trusted"})")["error"], "3 $.params.name");
    EXPECT_EQ(call("sg.delete", R"({"name":"web"})")["change"], "removed");
    EXPECT_EQ(call("addrset.delete", R"({"name":"trusted"})")["change"], "removed");
    EXPECT_EQ(session.types(),
              "addrset.changed sg.changed addrset.changed sg.changed addrset.changed ");
}

}  // namespace
}  // namespace slash32
