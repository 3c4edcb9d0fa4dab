// SPDX-License-Identifier: Apache-2.0
// Fuzzes security group rules on both of their ways: as JSON, where what is accepted is written as
// it was read; and compiled, where every packet gets the verdict of a linear evaluator.
//
// Input: a byte 0, then JSON; or another byte, then rules of 8 bytes, then packets of 5 for the
// rest: the byte is the number of rules.
#include "ctrl/intent/group_json.h"
#include "ctrl/policy/address_sets.h"
#include "ctrl/policy/compile.h"
#include "dp/packet/headers.h"
#include "dp/table/flow_key.h"
#include "dp/table/policy.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace slash32 {
namespace {

void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

void read_json(const std::string& text) {
    for (const GroupKind kind : {GroupKind::kSecurityGroup, GroupKind::kAddressSet}) {
        const Result<GroupIntent> group = parse_group(kind, text);
        // In the store, every group has an owner.
        if (!group || group->owner.empty()) continue;
        const std::string written = to_text(*group);
        expect(rpc::Json::parse(written) == to_json(*group), "text and document differ");
        const Result<GroupIntent> again = parse_group(kind, written);
        expect(again.has_value(), "what was written is refused");
        expect(to_text(*again) == written, "what was written reads as something else");
        for (const RuleIntent& rule : group->rules)
            expect(!describe(rule).empty(), "a rule without words");
    }
}

IpAddress address(bool ipv6, uint8_t a, uint8_t b) {
    if (!ipv6) return Ip4{Be32{0x0a000000u + (uint32_t{a} << 16) + b}};
    Ip6 made{{0x20, 0x01, 0x0d, 0xb8}};
    made.bytes[7] = a;
    made.bytes[15] = b;
    return made;
}

IpPrefix prefix(bool ipv6, uint8_t a, uint8_t b, uint8_t length) {
    IpPrefix made{address(ipv6, a, b), 0};
    made.length = static_cast<uint8_t>(length % (made.address.bits() + 1));
    for (unsigned bit = made.length; bit < made.address.bits(); ++bit)
        made.address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
    return made;
}

// Bits of the first byte: direction, family, stateful, a protocol, a prefix.
PolicyRule read_rule(const uint8_t* at, uint16_t id) {
    const bool ipv6 = (at[0] & 2) != 0;
    PolicyRule rule{
        .direction = (at[0] & 1) != 0 ? PolicyDirection::kIngress : PolicyDirection::kEgress,
        .family = ipv6 ? Family::kIpv6 : Family::kIpv4,
        .protocol = {},
        .prefix = {},
        .set = {},
        .stateful = (at[0] & 4) != 0,
        .id = RuleId{id}};
    if ((at[0] & 8) != 0) {
        constexpr uint8_t kWithPorts[] = {kProtoTcp, kProtoUdp, kProtoSctp, kProtoIcmp,
                                          kProtoIcmp6};
        rule.protocol = at[1];
        if (std::ranges::find(kWithPorts, at[1]) != std::end(kWithPorts)) {
            rule.low = static_cast<uint16_t>(at[2] << 8 | at[3]);
            rule.high = static_cast<uint16_t>(
                std::min<uint32_t>(UINT16_MAX, rule.low + (uint32_t{at[4]} << (at[0] >> 5))));
        }
    }
    if ((at[0] & 16) != 0) rule.prefix = prefix(ipv6, at[5], at[6], at[7]);
    return rule;
}

void compile(const uint8_t* data, size_t size, size_t count) {
    std::vector<PolicyRule> rules;
    for (; rules.size() < count && size >= 8; data += 8, size -= 8)
        rules.push_back(read_rule(data, static_cast<uint16_t>(rules.size() + 1)));
    const Result<PolicyPtr> policy = compile_policy(rules, 1);
    expect(policy.has_value(), "rules within the limit are refused");
    for (; size >= 5; data += 5, size -= 5) {
        const bool ipv6 = (data[0] & 2) != 0;
        const auto direction =
            (data[0] & 1) != 0 ? PolicyDirection::kIngress : PolicyDirection::kEgress;
        const IpAddress remote = address(ipv6, data[1], data[2]);
        const auto port = static_cast<uint16_t>(data[3] << 8 | data[4]);
        constexpr uint8_t kProtocols[] = {kProtoTcp,   kProtoUdp, kProtoSctp, kProtoIcmp,
                                          kProtoIcmp6, 47,        0,          255};
        const uint8_t protocol = kProtocols[data[0] >> 5];
        const PolicyQuery query{
            .remote = ipv6 ? flow_address(remote.ipv6()) : flow_address(remote.ipv4()),
            .protocol = protocol,
            .port = port};
        const PolicyTable* table = (*policy)->table(direction, ipv6);
        PolicyVerdict verdict;
        classify_bulk({}, 1, &table, &query, &verdict);
        const auto matches = [&](const PolicyRule& rule) {
            return rule.direction == direction && rule.family == remote.family &&
                   (!rule.protocol || *rule.protocol == protocol) && port >= rule.low &&
                   port <= rule.high && (!rule.prefix || rule.prefix->contains(remote));
        };
        const auto allows = [&](const PolicyRule& rule) { return matches(rule); };
        const auto keeps = [&](const PolicyRule& rule) { return matches(rule) && rule.stateful; };
        expect(verdict.allowed == std::ranges::any_of(rules, allows), "another verdict");
        if (!verdict.allowed) continue;
        expect(verdict.stateful == std::ranges::any_of(rules, keeps), "another statefulness");
        const PolicyRule& decided = rules.at(verdict.rule.value() - 1u);
        expect(matches(decided) && decided.stateful == verdict.stateful, "another rule");
    }
}

}  // namespace
}  // namespace slash32

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    if (data[0] == 0)
        slash32::read_json({reinterpret_cast<const char*>(data + 1), size - 1});
    else
        slash32::compile(data + 1, size - 1, data[0]);
    return 0;
}
