// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/group_json.h"

#include "ctrl/intent/port_json.h"
#include "ctrl/rpc/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::Range;

namespace {

constexpr rpc::OneOf kDirections{std::pair{std::string_view("ingress"), PolicyDirection::kIngress},
                                 std::pair{std::string_view("egress"), PolicyDirection::kEgress}};
constexpr rpc::OneOf kFamilies{std::pair{std::string_view("ipv4"), Family::kIpv4},
                               std::pair{std::string_view("ipv6"), Family::kIpv6}};

// The names that Neutron's API knows, with their IANA numbers; the first of a number is ours.
constexpr std::array<std::pair<std::string_view, uint8_t>, 24> kProtocols{{
    {"icmp", 1},        {"igmp", 2},       {"ipip", 4},      {"tcp", 6},
    {"egp", 8},         {"udp", 17},       {"dccp", 33},     {"ipv6-encap", 41},
    {"ipv6-route", 43}, {"ipv6-frag", 44}, {"rsvp", 46},     {"gre", 47},
    {"esp", 50},        {"ah", 51},        {"icmpv6", 58},   {"ipv6-icmp", 58},
    {"ipv6-nonxt", 59}, {"ipv6-opts", 60}, {"ospf", 89},     {"vrrp", 112},
    {"pgm", 113},       {"sctp", 132},     {"udplite", 136}, {"mobility", 135},
}};
constexpr uint8_t kIcmp = 1;
constexpr uint8_t kIcmp6 = 58;

bool has_ports(uint8_t protocol) {
    return protocol == 6 || protocol == 17 || protocol == 132;
}

template <typename Rule, typename Enum>
std::string_view name_in(const Rule& rule, Enum value) {
    for (const auto& [name, known] : rule.names) {
        if (known == value) return name;
    }
    return "";
}

// Calls `visit` with the name and value of each member that is there. The strings have nothing in
// them that JSON would escape.
template <typename Visit>
void visit_members(const RuleIntent& rule, Visit&& visit) {
    visit("direction", name_in(kDirections, rule.direction));
    visit("ethertype", name_in(kFamilies, rule.family));
    if (rule.protocol) {
        const std::string name = protocol_name(*rule.protocol);
        const bool named = name.front() < '0' || name.front() > '9';
        if (named) {
            visit("protocol", name);
        } else {
            visit("protocol", *rule.protocol);
        }
    }
    if (rule.port_min) visit("port_min", *rule.port_min);
    if (rule.port_max) visit("port_max", *rule.port_max);
    if (rule.icmp_type) visit("icmp_type", *rule.icmp_type);
    if (rule.icmp_code) visit("icmp_code", *rule.icmp_code);
    if (rule.prefix) visit("remote_prefix", to_string(*rule.prefix));
    if (rule.remote) {
        const bool is_group = rule.remote->kind == GroupKind::kSecurityGroup;
        visit(is_group ? "remote_group" : "remote_set", rule.remote->name);
    }
}

// Appends a member and a comma, of tens of thousands in a large group.
struct Member {
    std::string& out;
    void operator()(std::string_view key, unsigned value) const {
        const fmt::format_int digits(value);
        begin(key).append(digits.data(), digits.size()) += ',';
    }
    void operator()(std::string_view key, std::string_view value) const {
        begin(key).append("\"").append(value) += "\",";
    }

  private:
    std::string& begin(std::string_view key) const {
        return out.append("\"").append(key).append("\":");
    }
};

Json without_rules(const GroupIntent& group) {
    Json out = {{"name", group.key.name}, {"owner", group.owner}, {"labels", group.labels}};
    if (group.key.kind == GroupKind::kSecurityGroup) out["stateful"] = group.stateful;
    return out;
}

Result<void> check_ports(const Path& path, RuleIntent& rule) {
    if (rule.port_max && !rule.port_min)
        return rpc::invalid(Path(path, "port_max"), "needs a port_min");
    if (!rule.port_min) return {};
    if (!rule.protocol || !has_ports(*rule.protocol))
        return rpc::invalid(Path(path, "port_min"), "is for tcp, udp and sctp");
    if (!rule.port_max) rule.port_max = rule.port_min;
    if (*rule.port_max < *rule.port_min)
        return rpc::invalid(Path(path, "port_max"), "is less than port_min");
    return {};
}

Result<void> check_icmp(const Path& path, const RuleIntent& rule) {
    if (rule.icmp_code && !rule.icmp_type)
        return rpc::invalid(Path(path, "icmp_code"), "needs an icmp_type");
    const uint8_t icmp = rule.family == Family::kIpv4 ? kIcmp : kIcmp6;
    if (rule.icmp_type && rule.protocol != icmp)
        return rpc::invalid(Path(path, "icmp_type"), "is for icmp and icmpv6");
    return {};
}

Result<void> check_remote(const Path& path, const RuleIntent& rule, bool group, bool set) {
    if (int{rule.prefix.has_value()} + int{group} + int{set} > 1)
        return rpc::invalid(path, "has more than one of remote_prefix, remote_group, remote_set");
    if (rule.prefix && rule.prefix->address.family != rule.family)
        return rpc::invalid(Path(path, "remote_prefix"), "is not of the rule's ethertype");
    return {};
}

}  // namespace

Result<void> decode_protocol(const Json& json, const Path& path, uint8_t& out) {
    const auto* text = json.get_ptr<const std::string*>();
    if (text == nullptr) return rpc::decode(json, path, out, Range{0, 255});
    const auto known =
        std::ranges::find(kProtocols, *text, &decltype(kProtocols)::value_type::first);
    if (known == kProtocols.end())
        return rpc::invalid(path, "is not a protocol's name; numbers from 0 to 255 are taken too");
    out = known->second;
    return {};
}

std::string protocol_name(uint8_t protocol) {
    const auto known =
        std::ranges::find(kProtocols, protocol, &decltype(kProtocols)::value_type::second);
    return known != kProtocols.end() ? std::string(known->first) : std::to_string(protocol);
}

Result<void> decode(const Json& json, const Path& path, RuleIntent& out) {
    Fields fields(json, path);
    std::optional<std::string> group;
    std::optional<std::string> set;
    fields.required("direction", out.direction, kDirections)
        .optional("ethertype", out.family, kFamilies)
        .optional("port_min", out.port_min)
        .optional("port_max", out.port_max)
        .optional("icmp_type", out.icmp_type)
        .optional("icmp_code", out.icmp_code)
        .optional("remote_prefix", out.prefix)
        .optional("remote_group", group, Name{kGroupNameMax})
        .optional("remote_set", set, Name{kGroupNameMax});
    const Json* protocol = fields.find("protocol");
    auto ok = fields.done();
    if (ok && protocol != nullptr) {
        out.protocol.emplace();
        ok = decode_protocol(*protocol, Path(path, "protocol"), *out.protocol);
    }
    if (!ok) return ok;
    // As Neutron's API takes it: the name goes with the address family.
    if (out.family == Family::kIpv6 && out.protocol == kIcmp) out.protocol = kIcmp6;
    if (out.family == Family::kIpv4 && out.protocol == kIcmp6)
        return rpc::invalid(Path(path, "protocol"), "is not a protocol of IPv4");
    ok = check_ports(path, out);
    if (ok) ok = check_icmp(path, out);
    if (ok) ok = check_remote(path, out, group.has_value(), set.has_value());
    if (!ok) return ok;
    if (group) out.remote = GroupKey{GroupKind::kSecurityGroup, std::move(*group)};
    if (set) out.remote = GroupKey{GroupKind::kAddressSet, std::move(*set)};
    return {};
}

Json to_json(const RuleIntent& rule) {
    Json out = Json::object();
    visit_members(rule, [&](const char* key, const auto& value) { out[key] = value; });
    return out;
}

Json to_json(const GroupIntent& group) {
    Json out = without_rules(group);
    if (group.key.kind == GroupKind::kAddressSet) return out;
    Json& rules = out["rules"] = Json::array();
    for (const RuleIntent& rule : group.rules)
        rules.push_back(to_json(rule));
    return out;
}

std::string to_text(const GroupIntent& group) {
    std::string out = rpc::dump_json(without_rules(group));
    if (group.key.kind == GroupKind::kAddressSet) return out;
    out.back() = ',';
    out += R"("rules":[)";
    constexpr size_t kUsualRule = 120;
    out.reserve(out.size() + group.rules.size() * kUsualRule);
    for (const RuleIntent& rule : group.rules) {
        out += '{';
        visit_members(rule, Member{out});
        out.back() = '}';
        out += ',';
    }
    if (!group.rules.empty()) out.pop_back();
    return out += "]}";
}

Json to_json(const std::vector<IpPrefix>& members) {
    Json out = Json::array();
    for (const IpPrefix& member : members)
        out.push_back(to_string(member));
    return out;
}

void read_group(Fields& fields, GroupIntent& out) {
    fields.required("name", out.key.name, Name{kGroupNameMax})
        .optional("labels", out.labels, Count{0, kMaxLabels})
        .optional("owner", out.owner, Name{});
    if (out.key.kind == GroupKind::kAddressSet) return;
    fields.optional("stateful", out.stateful)
        .optional("rules", out.rules, Count{0, kMaxRulesPerPort});
    std::ranges::sort(out.rules);
    out.rules.erase(std::unique(out.rules.begin(), out.rules.end()), out.rules.end());
}

Result<void> finish_group(const Path& path, const GroupIntent& group) {
    if (group.key.kind != GroupKind::kSecurityGroup || group.key.name != kGroupAny) return {};
    return rpc::invalid(Path(path, "name"), "this group is built in");
}

Result<GroupIntent> parse_group(GroupKind kind, const std::string& text) {
    const Result<Json> json = rpc::parse_json(text);
    if (!json) return tl::unexpected(json.error());
    const Path path("$");
    Fields fields(*json, path);
    GroupIntent group;
    group.key.kind = kind;
    read_group(fields, group);
    if (auto ok = fields.done(); !ok) return tl::unexpected(ok.error());
    if (auto ok = finish_group(path, group); !ok) return tl::unexpected(ok.error());
    return group;
}

std::string describe(const GroupKey& key) {
    return fmt::format("{} {}",
                       key.kind == GroupKind::kSecurityGroup ? "security group" : "address set",
                       key.name);
}

std::string describe(const RuleIntent& rule) {
    std::string out =
        fmt::format("{} {}", name_in(kDirections, rule.direction), name_in(kFamilies, rule.family));
    if (rule.protocol) out += " " + protocol_name(*rule.protocol);
    if (rule.port_min) {
        out += fmt::format(" {}", *rule.port_min);
        if (rule.port_max != rule.port_min) out += fmt::format("-{}", *rule.port_max);
    }
    if (rule.icmp_type) out += fmt::format(" type {}", *rule.icmp_type);
    if (rule.icmp_code) out += fmt::format(" code {}", *rule.icmp_code);
    if (!rule.prefix && !rule.remote) return out;
    out += rule.direction == PolicyDirection::kIngress ? " from " : " to ";
    return out + (rule.prefix ? to_string(*rule.prefix) : describe(*rule.remote));
}

}  // namespace slash32
