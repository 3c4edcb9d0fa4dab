// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/firewall.h"

#include "ctrl/intent/group_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace slash32 {
namespace {

// What a port adds to the sets of its groups: what it may send from, as Neutron has it.
std::vector<IpPrefix> addresses_of(const PortIntent& port) {
    std::vector<IpPrefix> all;
    for (const FixedAddress& fixed : port.addresses)
        all.push_back({fixed.address, fixed.address.bits()});
    for (const AllowedPair& pair : port.allowed_pairs)
        all.push_back(pair.prefix);
    return all;
}

std::vector<GroupKey> groups_of(const PortIntent& port) {
    std::vector<GroupKey> keys;
    for (const std::string& name : port.groups) {
        if (name != kGroupAny) keys.push_back({GroupKind::kSecurityGroup, name});
    }
    return keys;
}

}  // namespace

Firewall::Firewall(Publisher& publisher, AddressSets& sets) : publisher_(publisher), sets_(sets) {
    for (size_t id = kMaxRules - 1; id > 0; --id)
        free_rules_.push_back(RuleId{static_cast<uint16_t>(id)});
}

// The wanted rules, each with the id that it has already or a free one. Both are in order.
Result<std::vector<Firewall::Rule>> Firewall::number(const std::vector<RuleIntent>& wanted,
                                                     const std::vector<Rule>& present) {
    std::vector<Rule> numbered;
    numbered.reserve(wanted.size());
    size_t fresh = 0;
    auto at = present.begin();
    for (const RuleIntent& rule : wanted) {
        while (at != present.end() && at->intent < rule)
            ++at;
        const bool is_known = at != present.end() && at->intent == rule;
        numbered.push_back({rule, is_known ? at->id : kNoRule});
        if (!is_known) ++fresh;
    }
    if (fresh > free_rules_.size()) return fail(ErrorCode::kLimit, "", "no more rules");
    for (Rule& rule : numbered) {
        if (rule.id != kNoRule) continue;
        rule.id = free_rules_.back();
        free_rules_.pop_back();
    }
    return numbered;
}

// Gives back the ids of `from` that `kept` has not, when no worker can decide by them.
void Firewall::free_ids(const std::vector<Rule>& from, const std::vector<Rule>& kept) {
    std::vector<bool> in_use(kMaxRules);
    for (const Rule& rule : kept)
        in_use[rule.id.value()] = true;
    std::vector<RuleId> unused;
    for (const Rule& rule : from) {
        if (!in_use[rule.id.value()]) unused.push_back(rule.id);
    }
    if (unused.empty()) return;
    // What replaces them is sent after this call, so it is waited for from the next turn on.
    publisher_.when_acknowledged([this, unused = std::move(unused)] {
        publisher_.when_acknowledged([this, unused] {
            for (const RuleId id : unused) {
                rule_freed_(id);
                free_rules_.push_back(id);
            }
        });
    });
}

Result<Firewall::Set> Firewall::set_group(const GroupIntent& group) {
    const auto [at, is_new] = groups_.try_emplace(group.key);
    Group& kept = at->second;
    if (is_new) {
        const Result<SetId> set = sets_.make();
        if (!set) {
            groups_.erase(at);
            return tl::unexpected<Error>(set.error());
        }
        kept.set = *set;
    }
    auto rules = number(group.rules, kept.rules);
    if (!rules) {
        if (is_new) remove_group(group.key);
        return tl::unexpected<Error>(rules.error());
    }
    const bool changed = kept.stateful != group.stateful ||
                         group.rules.size() != kept.rules.size() ||
                         !std::ranges::equal(group.rules, kept.rules, {}, {}, &Rule::intent);
    const std::vector<Rule> old = std::exchange(kept.rules, std::move(*rules));
    const bool was_stateful = std::exchange(kept.stateful, group.stateful);
    if (!changed || is_new) return Set{false};
    if (auto compiled = recompile(group.key.name); !compiled) {
        free_ids(kept.rules, old);
        kept.rules = old;
        kept.stateful = was_stateful;
        return tl::unexpected<Error>(compiled.error());
    }
    free_ids(old, kept.rules);
    return Set{true};
}

void Firewall::remove_group(const GroupKey& key) {
    const auto at = groups_.find(key);
    if (at == groups_.end()) return;
    free_ids(at->second.rules, {});
    // A policy that has just been replaced may still be looked at.
    publisher_.when_quiescent([this, set = at->second.set] { sets_.destroy(set); });
    groups_.erase(at);
}

Result<void> Firewall::add_member(Group& group, const IpPrefix& member) {
    const auto [at, is_new] = group.members.try_emplace(member, 0);
    if (is_new) {
        if (auto added = sets_.add(group.set, member); !added) {
            group.members.erase(at);
            return added;
        }
    }
    ++at->second;
    return {};
}

void Firewall::remove_member(Group& group, const IpPrefix& member) {
    const auto at = group.members.find(member);
    if (at == group.members.end() || --at->second > 0) return;
    sets_.remove(group.set, member);
    group.members.erase(at);
}

Result<void> Firewall::add_members(const GroupKey& key, const std::vector<IpPrefix>& members) {
    Group& group = groups_.at(key);
    for (size_t i = 0; i < members.size(); ++i) {
        auto added = add_member(group, members[i]);
        if (added) continue;
        for (size_t undone = 0; undone < i; ++undone)
            remove_member(group, members[undone]);
        return added;
    }
    return {};
}

void Firewall::remove_members(const GroupKey& key, const std::vector<IpPrefix>& members) {
    Group& group = groups_.at(key);
    for (const IpPrefix& member : members)
        remove_member(group, member);
}

Result<void> Firewall::join(const PortIntent& port) {
    const std::vector<GroupKey> keys = groups_of(port);
    const std::vector<IpPrefix> addresses = addresses_of(port);
    for (size_t i = 0; i < keys.size(); ++i) {
        auto added = add_members(keys[i], addresses);
        if (added) continue;
        for (size_t undone = 0; undone < i; ++undone)
            remove_members(keys[undone], addresses);
        return added;
    }
    return {};
}

void Firewall::leave(const PortIntent& port) {
    for (const GroupKey& key : groups_of(port)) {
        if (groups_.contains(key)) remove_members(key, addresses_of(port));
    }
}

Result<SharedPolicy> Firewall::policy(const PortIntent& port) {
    const bool open = std::ranges::find(port.groups, kGroupAny) != port.groups.end();
    if (open || !port.port_security || port.groups.empty()) return SharedPolicy();
    Names names = port.groups;
    std::ranges::sort(names);
    if (const auto at = policies_.find(names); at != policies_.end()) {
        if (SharedPolicy known = at->second.lock()) return known;
    }
    std::erase_if(policies_, [](const auto& entry) { return entry.second.expired(); });
    auto compiled = compile(names);
    if (compiled) policies_[names] = *compiled;
    return compiled;
}

PolicyRule Firewall::policy_rule(const Rule& rule, bool stateful) const {
    const RuleIntent& intent = rule.intent;
    PolicyRule out{.direction = intent.direction,
                   .family = intent.family,
                   .protocol = intent.protocol,
                   .low = intent.port_min.value_or(0),
                   .high = intent.port_max.value_or(UINT16_MAX),
                   .prefix = intent.prefix,
                   .set = kNoSet,
                   .stateful = stateful,
                   .id = rule.id};
    if (intent.icmp_type) {
        const auto first = static_cast<uint16_t>(*intent.icmp_type << 8);
        out.low = static_cast<uint16_t>(first | intent.icmp_code.value_or(0));
        out.high = static_cast<uint16_t>(first | intent.icmp_code.value_or(UINT8_MAX));
    }
    if (intent.remote) out.set = groups_.at(*intent.remote).set;
    return out;
}

Result<SharedPolicy> Firewall::compile(const Names& names) {
    std::vector<PolicyRule> rules;
    for (const std::string& name : names) {
        const auto at = groups_.find({GroupKind::kSecurityGroup, name});
        if (at == groups_.end()) continue;
        for (const Rule& rule : at->second.rules) {
            if (rule.intent.remote && !groups_.contains(*rule.intent.remote)) continue;
            rules.push_back(policy_rule(rule, at->second.stateful));
        }
    }
    auto compiled = compile_policy(rules, next_generation_++);
    if (!compiled) return tl::unexpected<Error>(compiled.error());
    return SharedPolicy(std::move(*compiled));
}

// Every policy that the group is part of; all or none.
Result<void> Firewall::recompile(const std::string& name) {
    std::map<Names, std::weak_ptr<const Policy>> fresh;
    std::vector<SharedPolicy> alive;
    for (const auto& [names, policy] : policies_) {
        if (policy.expired() || !std::ranges::binary_search(names, name)) continue;
        auto compiled = compile(names);
        if (!compiled) return tl::unexpected<Error>(compiled.error());
        fresh[names] = *compiled;
        alive.push_back(std::move(*compiled));
    }
    for (auto& [names, policy] : fresh)
        policies_[names] = policy;
    // Until the ports that have them ask.
    publisher_.when_acknowledged([alive = std::move(alive)] {});
    return {};
}

std::vector<RuleId> Firewall::rule_ids(const std::string& group) const {
    std::vector<RuleId> ids;
    for (const Rule& rule : groups_.at({GroupKind::kSecurityGroup, group}).rules)
        ids.push_back(rule.id);
    return ids;
}

std::string Firewall::describe_rule(RuleId id) const {
    for (const auto& [key, group] : groups_) {
        const auto at = std::ranges::find(group.rules, id, &Rule::id);
        if (at == group.rules.end()) continue;
        return fmt::format("rule {} of security group {} ({})", at - group.rules.begin() + 1,
                           key.name, describe(at->intent));
    }
    return "";
}

}  // namespace slash32
