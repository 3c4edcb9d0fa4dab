// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/firewall.h"

#include "ctrl/intent/group_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
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

// As the compiler wants it; its remote set is not in it.
PolicyRule policy_rule(const RuleIntent& intent, RuleId id, bool stateful) {
    PolicyRule out{.direction = intent.direction,
                   .family = intent.family,
                   .protocol = intent.protocol,
                   .low = intent.port_min.value_or(0),
                   .high = intent.port_max.value_or(UINT16_MAX),
                   .prefix = intent.prefix,
                   .set = kNoSet,
                   .stateful = stateful,
                   .id = id};
    if (intent.icmp_type) {
        const auto first = static_cast<uint16_t>(*intent.icmp_type << 8);
        out.low = static_cast<uint16_t>(first | intent.icmp_code.value_or(0));
        out.high = static_cast<uint16_t>(first | intent.icmp_code.value_or(UINT8_MAX));
    }
    return out;
}

// Does it to all of them; or undoes what has been done, and says why.
template <typename Range, typename Apply, typename Undo>
Result<void> apply_to_all(Range&& range, Apply&& apply, Undo&& undo) {
    for (auto at = range.begin(); at != range.end(); ++at) {
        Result<void> applied = apply(*at);
        if (applied) continue;
        for (auto done = range.begin(); done != at; ++done)
            undo(*done);
        return applied;
    }
    return {};
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
    for (const auto& [vrf, scope] : at->second.scopes)
        destroy_later(scope.set);
    groups_.erase(at);
}

// A policy that has just been replaced may still be looked at.
void Firewall::destroy_later(SetId set) {
    publisher_.when_quiescent([this, set] { sets_.destroy(set); });
}

// The group in the VRF, with what its owner has told. What an address set holds is told alone: it
// is the same one in all VRFs. REQUIRES: the group is there.
Result<Firewall::Scope*> Firewall::scope(const GroupKey& key, VrfId vrf) {
    Group& group = groups_.at(key);
    if (key.kind == GroupKind::kAddressSet) vrf = VrfId{0};
    const auto [at, is_new] = group.scopes.try_emplace(vrf);
    Scope& made = at->second;
    if (!is_new) return &made;
    const Result<SetId> set = sets_.make();
    if (!set) {
        group.scopes.erase(at);
        return tl::unexpected<Error>(set.error());
    }
    made.set = *set;
    for (const auto& [member, times] : group.told) {
        if (auto added = add_member(made, member); !added) {
            destroy_later(made.set);
            group.scopes.erase(at);
            return tl::unexpected<Error>(added.error());
        }
    }
    return &made;
}

// Of VRFs in which neither a port of the group nor any policy is left.
void Firewall::free_unused_scopes() {
    std::set<VrfId> alive;
    for (const auto& [of, policy] : policies_)
        alive.insert(of.first);
    for (auto& [key, group] : groups_) {
        if (key.kind == GroupKind::kAddressSet) continue;
        std::erase_if(group.scopes, [&](const auto& entry) {
            if (entry.second.ports != 0 || alive.contains(entry.first)) return false;
            destroy_later(entry.second.set);
            return true;
        });
    }
}

Result<void> Firewall::add_member(Scope& scope, const IpPrefix& member) {
    const auto [at, is_new] = scope.members.try_emplace(member, 0);
    if (is_new) {
        if (auto added = sets_.add(scope.set, member); !added) {
            scope.members.erase(at);
            return added;
        }
    }
    ++at->second;
    return {};
}

void Firewall::remove_member(Scope& scope, const IpPrefix& member) {
    const auto at = scope.members.find(member);
    if (at == scope.members.end() || --at->second > 0) return;
    sets_.remove(scope.set, member);
    scope.members.erase(at);
}

Result<void> Firewall::add_everywhere(Group& group, const IpPrefix& member) {
    auto added = apply_to_all(
        group.scopes, [&](auto& entry) { return add_member(entry.second, member); },
        [&](auto& entry) { remove_member(entry.second, member); });
    if (added) ++group.told[member];
    return added;
}

void Firewall::remove_everywhere(Group& group, const IpPrefix& member) {
    const auto at = group.told.find(member);
    if (at == group.told.end()) return;
    for (auto& [vrf, scope] : group.scopes)
        remove_member(scope, member);
    if (--at->second == 0) group.told.erase(at);
}

Result<void> Firewall::add_members(const GroupKey& key, const std::vector<IpPrefix>& members) {
    Group& group = groups_.at(key);
    return apply_to_all(
        members, [&](const IpPrefix& member) { return add_everywhere(group, member); },
        [&](const IpPrefix& member) { remove_everywhere(group, member); });
}

void Firewall::remove_members(const GroupKey& key, const std::vector<IpPrefix>& members) {
    Group& group = groups_.at(key);
    for (const IpPrefix& member : members)
        remove_everywhere(group, member);
}

Result<void> Firewall::add_port(Scope& scope, const std::vector<IpPrefix>& addresses) {
    auto added = apply_to_all(
        addresses, [&](const IpPrefix& address) { return add_member(scope, address); },
        [&](const IpPrefix& address) { remove_member(scope, address); });
    if (added) ++scope.ports;
    return added;
}

void Firewall::remove_port(Scope& scope, const std::vector<IpPrefix>& addresses) {
    for (const IpPrefix& address : addresses)
        remove_member(scope, address);
    --scope.ports;
}

Result<void> Firewall::join(const PortIntent& port) {
    const std::vector<IpPrefix> addresses = addresses_of(port);
    return apply_to_all(
        groups_of(port),
        [&](const GroupKey& key) -> Result<void> {
            const Result<Scope*> in = scope(key, port.vrf);
            if (!in) return tl::unexpected<Error>(in.error());
            return add_port(**in, addresses);
        },
        [&](const GroupKey& key) { remove_port(groups_.at(key).scopes.at(port.vrf), addresses); });
}

void Firewall::leave(const PortIntent& port) {
    for (const GroupKey& key : groups_of(port)) {
        const auto group = groups_.find(key);
        if (group == groups_.end()) continue;
        const auto at = group->second.scopes.find(port.vrf);
        if (at != group->second.scopes.end()) remove_port(at->second, addresses_of(port));
    }
}

Result<SharedPolicy> Firewall::policy(const PortIntent& port) {
    const bool open = std::ranges::find(port.groups, kGroupAny) != port.groups.end();
    if (open || !port.port_security || port.groups.empty()) return SharedPolicy();
    Combination of{port.vrf, port.groups};
    std::ranges::sort(of.second);
    if (const auto at = policies_.find(of); at != policies_.end()) {
        if (SharedPolicy known = at->second.lock()) return known;
    }
    std::erase_if(policies_, [](const auto& entry) { return entry.second.expired(); });
    free_unused_scopes();
    auto compiled = compile(of);
    if (compiled) policies_[of] = *compiled;
    return compiled;
}

Result<SharedPolicy> Firewall::compile(const Combination& of) {
    std::vector<PolicyRule> rules;
    for (const std::string& name : of.second) {
        const auto at = groups_.find({GroupKind::kSecurityGroup, name});
        if (at == groups_.end()) continue;
        const bool stateful = at->second.stateful;
        for (const auto& [intent, id] : at->second.rules) {
            if (intent.remote && !groups_.contains(*intent.remote)) continue;
            rules.push_back(policy_rule(intent, id, stateful));
            if (!intent.remote) continue;
            const Result<Scope*> remote = scope(*intent.remote, of.first);
            if (!remote) return tl::unexpected<Error>(remote.error());
            rules.back().set = (*remote)->set;
        }
    }
    auto compiled = compile_policy(rules, next_generation_++);
    if (!compiled) return tl::unexpected<Error>(compiled.error());
    return SharedPolicy(std::move(*compiled));
}

// Every policy that the group is part of; all or none.
Result<void> Firewall::recompile(const std::string& name) {
    std::map<Combination, std::weak_ptr<const Policy>> fresh;
    std::vector<SharedPolicy> alive;
    for (const auto& [of, policy] : policies_) {
        if (policy.expired() || !std::ranges::binary_search(of.second, name)) continue;
        auto compiled = compile(of);
        if (!compiled) return tl::unexpected<Error>(compiled.error());
        fresh[of] = *compiled;
        alive.push_back(std::move(*compiled));
    }
    for (auto& [of, policy] : fresh)
        policies_[of] = policy;
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
