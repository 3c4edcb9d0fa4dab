// SPDX-License-Identifier: Apache-2.0
// Security groups and address sets as intent: planned, stored, carried out, undone.
#include "ctrl/intent/group_json.h"
#include "tests/unit/ctrl/intent/router.h"

#include <sqlite3.h>

namespace slash32 {
namespace {

GroupApply group(const std::string& name, const char* rules = "[]",
                 const std::string& owner = "cli") {
    GroupApply request;
    request.intent.key = {GroupKind::kSecurityGroup, name};
    request.intent.owner = owner;
    const rpc::Json json = rpc::Json::parse(rules);
    const rpc::Path path("$");
    for (const rpc::Json& one : json) {
        RuleIntent rule;
        EXPECT_TRUE(decode(one, path, rule).has_value()) << one;
        request.intent.rules.push_back(rule);
    }
    return request;
}

GroupApply set(const std::string& name, const std::vector<std::string>& members = {},
               const std::string& owner = "cli") {
    GroupApply request;
    request.intent.key = {GroupKind::kAddressSet, name};
    request.intent.owner = owner;
    request.members.emplace();
    for (const std::string& member : members)
        request.members->push_back(*parse_prefix(member));
    return request;
}

GroupUpdate update(GroupKind kind, const std::string& name, const std::vector<std::string>& add,
                   const std::vector<std::string>& remove = {}) {
    GroupUpdate request{{kind, name}, {}, {}, "cli", false};
    for (const std::string& member : add)
        request.add.push_back(*parse_prefix(member));
    for (const std::string& member : remove)
        request.remove.push_back(*parse_prefix(member));
    return request;
}

GroupDelete removal(GroupKind kind, const std::string& name) {
    return GroupDelete{{kind, name}, "cli", false};
}

PortApply member_of(const std::string& port, const std::vector<std::string>& groups) {
    PortApply request = vm(port);
    request.intent.groups = groups;
    return request;
}

constexpr auto kSg = GroupKind::kSecurityGroup;
constexpr auto kSet = GroupKind::kAddressSet;
constexpr const char* kFromSet = R"([{"direction":"ingress","remote_set":"trusted"}])";

TEST(Groups, ComeBackAfterARestartWithTheirMembersAndAreStale) {
    TempDir dir;
    std::string before;
    {
        Router router(dir.file("intent.db"));
        ASSERT_TRUE(router.ask(set("trusted", {"10.0.0.0/8", "2001:db8::1/128"})).has_value());
        ASSERT_TRUE(router.ask(group("web", kFromSet)).has_value());
        ASSERT_TRUE(router.ask(update(kSg, "web", {"192.0.2.7/32"})).has_value());
        ASSERT_TRUE(router.ask(update(kSet, "trusted", {"10.9.9.9/32"}, {"10.0.0.0/8"})));
        ASSERT_TRUE(router.ask(member_of("vm1", {"web"})).has_value());
        before = router.plane.text();
    }
    Router router(dir.file("intent.db"));
    EXPECT_EQ(router.plane.text(), before);
    const GroupSlot* slot = router.state().groups.find({kSet, "trusted"});
    ASSERT_NE(slot, nullptr);
    EXPECT_TRUE(slot->stale);
    EXPECT_EQ(slot->members.size(), 2u);
    ASSERT_TRUE(router.ask(set("trusted", {"10.9.9.9/32", "2001:db8::1/128"})).has_value());
    EXPECT_FALSE(router.state().groups.find({kSet, "trusted"})->stale);
}

// Tables that the earlier schemas did not have.
class EarlierSchema : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(
    Versions, EarlierSchema,
    testing::Values(
        "DROP TABLE security_group; DROP TABLE member; DROP TABLE vrf; PRAGMA user_version=1;",
        "DROP TABLE vrf; PRAGMA user_version=2;"));

TEST_P(EarlierSchema, IsBroughtUpToDate) {
    TempDir dir;
    {
        Router router(dir.file("intent.db"));
        ASSERT_TRUE(router.ask(vm("vm1")).has_value());
    }
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(dir.file("intent.db").c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, GetParam(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
    {
        Router router(dir.file("intent.db"));
        EXPECT_NE(router.state().ports.find("vm1"), PortTable::kNone);
        ASSERT_TRUE(router.ask(group("web")).has_value());
        const VrfApply vrf{.intent = {.id = VrfId{7}, .name = "", .owner = "cli", .labels = {}}};
        ASSERT_TRUE(router.ask(vrf).has_value());
    }
    Router router(dir.file("intent.db"));
    EXPECT_NE(router.state().groups.find({kSg, "web"}), nullptr);
    EXPECT_TRUE(router.state().vrfs.exists(VrfId{7}));
}

TEST(Groups, RefusedRequestsNameThePathAndChangeNothing) {
    Router router;
    ASSERT_TRUE(router.ask(set("trusted")).has_value());
    ASSERT_TRUE(router.ask(group("web", kFromSet)).has_value());
    ASSERT_TRUE(router.ask(member_of("vm1", {"web"})).has_value());
    const std::string before = router.plane.text();
    const auto refusal = [&](auto request) { return text(router.ask(request)); };
    EXPECT_EQ(refusal(removal(kSg, "web")),
              "3 $.params.name security group web is in use by port vm1");
    EXPECT_EQ(refusal(removal(kSet, "trusted")),
              "3 $.params.name address set trusted is in use by a rule of security group web");
    EXPECT_EQ(refusal(removal(kSet, "web")), "2 $.params.name there is no address set web");
    EXPECT_EQ(refusal(member_of("vm2", {"web", "wbe"})),
              "2 $.params.groups[1] there is no security group wbe");
    EXPECT_EQ(refusal(group("db", R"([{"direction":"egress"},
                                      {"direction":"ingress","remote_group":"wbe"}])")),
              "2 $.params.rules[1].remote_group there is no security group wbe");
    EXPECT_EQ(refusal(group("web", "[]", "neutron")),
              "4 $.params.name security group web belongs to owner cli; force takes it");
    EXPECT_EQ(router.plane.text(), before);
    // Without its user it may go.
    ASSERT_TRUE(router.ask(member_of("vm1", {})).has_value());
    ASSERT_TRUE(router.ask(removal(kSg, "web")).has_value());
    ASSERT_TRUE(router.ask(removal(kSet, "trusted")).has_value());
    EXPECT_TRUE(router.plane.groups.empty());
}

TEST(Groups, GroupMayNameItselfAndGoAgain) {
    Router router;
    const GroupApply self = group("web", R"([{"direction":"ingress","remote_group":"web"}])");
    // Its name exists once the request is done.
    ASSERT_TRUE(router.ask(self).has_value());
    EXPECT_EQ(text(router.ask(removal(kSg, "web"))), "ok");
}

TEST(Groups, MemberChangesAreCountedOneByOne) {
    Router router;
    ASSERT_TRUE(router.ask(set("trusted", {"10.0.0.1/32"})).has_value());
    const auto done =
        router.ask(update(kSet, "trusted", {"10.0.0.1/32", "10.0.0.2/32"}, {"10.0.0.3/32"}));
    ASSERT_TRUE(done.has_value()) << text(done);
    EXPECT_EQ(done->counts.added, 1u);
    EXPECT_EQ(done->counts.removed, 0u);
    EXPECT_EQ(done->counts.unchanged, 1u);
    EXPECT_EQ(done->counts.missing, 1u);
    EXPECT_EQ(router.plane.members.at({kSet, "trusted"}).size(), 2u);
}

TEST(Groups, WhatThePlaneRefusesIsUndoneInMemoryAndStore) {
    TempDir dir;
    std::string before;
    {
        Router router(dir.file("intent.db"));
        ASSERT_TRUE(router.ask(set("trusted", {"10.0.0.1/32"})).has_value());
        ASSERT_TRUE(router.ask(group("web", kFromSet)).has_value());
        before = router.plane.text();
        router.plane.members_max = 1;
        EXPECT_FALSE(router.ask(update(kSet, "trusted", {"10.0.0.2/32"})).has_value());
        EXPECT_FALSE(router.ask(set("trusted", {"10.0.0.3/32"})).has_value());
        router.plane.fail_group = "web";
        EXPECT_FALSE(router.ask(group("web")).has_value());
        EXPECT_FALSE(router.ask(group("web", kFromSet, "cli")).error().message.empty() &&
                     router.plane.text() != before);
        EXPECT_EQ(router.plane.text(), before);
        // The store is set right with the next request that reaches it.
        router.plane.fail_group.clear();
        router.plane.members_max = SIZE_MAX;
        ASSERT_TRUE(router.ask(vm("vm1")).has_value());
        before = router.plane.text();
    }
    Router router(dir.file("intent.db"));
    EXPECT_EQ(router.plane.text(), before);
}

TEST(Groups, SyncMakesGroupsSetsAndPortsExactlyTheOwnersInOneStep) {
    Router router;
    ASSERT_TRUE(router.ask(set("old")).has_value());
    ASSERT_TRUE(router.ask(group("web", R"([{"direction":"ingress","remote_set":"old"}])")));
    ASSERT_TRUE(router.ask(group("gone")).has_value());
    ASSERT_TRUE(router.ask(member_of("vm1", {"web", "gone"})).has_value());
    SyncSet wanted;
    wanted.owner = "cli";
    ASSERT_TRUE(wanted.stage(set("new", {"10.0.0.1/32"})).has_value());
    ASSERT_TRUE(wanted.stage(group("web", R"([{"direction":"ingress","remote_set":"new"}])")));
    ASSERT_TRUE(wanted.stage(group("db", R"([{"direction":"egress","remote_group":"web"}])")));
    ASSERT_TRUE(wanted.stage(member_of("vm1", {"db"})).has_value());
    const auto done = router.commit(wanted);
    ASSERT_TRUE(done.has_value()) << text(done);
    EXPECT_EQ(done->counts.added, 2u);    // new, db
    EXPECT_EQ(done->counts.changed, 2u);  // web, vm1
    EXPECT_EQ(done->counts.removed, 2u);  // old, gone
    EXPECT_EQ(router.plane.groups.size(), 3u);
    EXPECT_EQ(router.plane.members.at({kSet, "new"}).size(), 1u);
    // A group that a port outside of the sync uses does not go.
    ASSERT_TRUE(router.ask([] {
        PortApply other = member_of("vm2", {"db"});
        other.intent.owner = "neutron";
        return other;
    }()));
    SyncSet none;
    none.owner = "cli";
    EXPECT_EQ(text(router.commit(none)), "3 $.params.sync security group db is in use by port vm2");
}

struct BadRule {
    const char* json;
    const char* error;
};

constexpr BadRule kBadRules[] = {
    {R"({"ethertype":"ipv4"})", "$.direction"},
    {R"({"direction":"both"})", "$.direction"},
    {R"({"direction":"ingress","ethertype":"ipx"})", "$.ethertype"},
    {R"({"direction":"ingress","protocol":"quic"})", "$.protocol"},
    {R"({"direction":"ingress","protocol":256})", "$.protocol"},
    {R"({"direction":"ingress","protocol":"icmpv6"})", "$.protocol"},
    {R"({"direction":"ingress","port_min":80})", "$.port_min"},
    {R"({"direction":"ingress","protocol":"gre","port_min":80})", "$.port_min"},
    {R"({"direction":"ingress","protocol":"tcp","port_max":80})", "$.port_max"},
    {R"({"direction":"ingress","protocol":"tcp","port_min":81,"port_max":80})", "$.port_max"},
    {R"({"direction":"ingress","protocol":"tcp","port_min":65536})", "$.port_min"},
    {R"({"direction":"ingress","protocol":"tcp","icmp_type":8})", "$.icmp_type"},
    {R"({"direction":"ingress","protocol":"icmp","icmp_code":0})", "$.icmp_code"},
    {R"({"direction":"ingress","protocol":"icmp","icmp_type":256})", "$.icmp_type"},
    {R"({"direction":"ingress","remote_prefix":"2001:db8::/32"})", "$.remote_prefix"},
    {R"({"direction":"ingress","remote_prefix":"10.0.0.1/8"})", "$.remote_prefix"},
    {R"({"direction":"ingress","remote_prefix":"10.0.0.0/8","remote_set":"a"})", "$"},
    {R"({"direction":"ingress","remote_group":"a","remote_set":"a"})", "$"},
    {R"({"direction":"ingress","remote_group":"a b"})", "$.remote_group"},
    {R"({"direction":"ingress","action":"deny"})", "$.action"},
};

TEST(Groups, ImpossibleRulesAreRefusedWithTheirPath) {
    const rpc::Path path("$");
    for (const BadRule& bad : kBadRules) {
        RuleIntent rule;
        const auto decoded = decode(rpc::Json::parse(bad.json), path, rule);
        ASSERT_FALSE(decoded.has_value()) << bad.json;
        EXPECT_EQ(decoded.error().path, bad.error) << bad.json;
        EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
    }
}

TEST(Groups, RulesAreWrittenAsTheyAreRead) {
    const rpc::Path path("$");
    const std::pair<const char*, const char*> rules[] = {
        {R"({"direction":"egress","ethertype":"ipv4"})", "egress ipv4"},
        {R"({"direction":"ingress","ethertype":"ipv6","protocol":"icmpv6","icmp_type":128,
             "icmp_code":0})",
         "ingress ipv6 icmpv6 type 128 code 0"},
        {R"({"direction":"ingress","ethertype":"ipv4","protocol":"tcp","port_min":80,"port_max":81,
             "remote_prefix":"10.0.0.0/8"})",
         "ingress ipv4 tcp 80-81 from 10.0.0.0/8"},
        {R"({"direction":"egress","ethertype":"ipv6","protocol":253,"remote_group":"web"})",
         "egress ipv6 253 to security group web"},
        {R"({"direction":"ingress","ethertype":"ipv4","remote_set":"trusted"})",
         "ingress ipv4 from address set trusted"},
    };
    GroupIntent wanted;
    wanted.key.name = "web";
    wanted.owner = "someone";
    wanted.stateful = false;
    wanted.labels = {{"a", "\"b\\"}};
    for (const auto& [json, line] : rules) {
        RuleIntent rule;
        ASSERT_TRUE(decode(rpc::Json::parse(json), path, rule).has_value()) << json;
        EXPECT_EQ(to_json(rule), rpc::Json::parse(json));
        EXPECT_EQ(describe(rule), line);
        wanted.rules.push_back(rule);
    }
    EXPECT_EQ(rpc::Json::parse(to_text(wanted)), to_json(wanted));
    wanted.rules.clear();
    EXPECT_EQ(rpc::Json::parse(to_text(wanted)), to_json(wanted));
    wanted.key.kind = GroupKind::kAddressSet;
    EXPECT_EQ(rpc::Json::parse(to_text(wanted)), to_json(wanted));
    RuleIntent rule;
    const auto icmp = R"({"direction":"ingress","ethertype":"ipv6","protocol":"icmp"})";
    ASSERT_TRUE(decode(rpc::Json::parse(icmp), path, rule).has_value());
    EXPECT_EQ(rule.protocol, 58);
}

}  // namespace
}  // namespace slash32
