// SPDX-License-Identifier: Apache-2.0
// Security groups and address sets: what a request would change, and whether the end is sound.
#include "ctrl/intent/group_json.h"
#include "ctrl/intent/plan_internal.h"

#include <fmt/format.h>

#include <algorithm>

namespace slash32 {

using namespace planning;  // NOLINT: these files are one unit

namespace planning {

tl::unexpected<Error> GroupPlanner::at_fault(const GroupKey& key, ErrorCode code,
                                             std::string_view field, std::string message) const {
    const auto at = upserts_.find(key);
    if (at == upserts_.end()) return fail(code, "", std::move(message));
    const Upsert& upsert = at->second;
    return fail(code, upsert.fields ? fmt::format("{}.{}", upsert.path, field) : upsert.path,
                std::move(message));
}

Result<void> GroupPlanner::upsert(const GroupApply& request, const std::string& path, bool fields) {
    const GroupIntent& wanted = request.intent;
    const GroupKey& key = wanted.key;
    upserts_.emplace(key, Upsert{path, fields});
    const GroupSlot* slot = state_.groups.find(key);
    if (slot != nullptr) {
        auto ok = check_owner(slot->record->intent.owner, wanted.owner, request.force,
                              fields ? path + ".name" : path, describe(key));
        if (!ok) return ok;
    }
    const size_t members_before = change_.members.size();
    if (request.members) change_members(state_, change_, key, *request.members);
    if (slot == nullptr || slot->record->intent != wanted) {
        changes_.emplace(key, change_.groups.size());
        change_.groups.push_back({key, slot != nullptr ? slot->record : nullptr,
                                  std::make_shared<GroupRecord>(GroupRecord{wanted, 0})});
        return {};
    }
    if (change_.members.size() == members_before) ++change_.unchanged;
    if (slot->stale) change_.confirmed_groups.push_back(key);
    return {};
}

void GroupPlanner::remove(const GroupKey& key) {
    changes_.emplace(key, change_.groups.size());
    change_.groups.push_back({key, state_.groups.find(key)->record, nullptr});
    change_members(state_, change_, key, {});
}

const GroupIntent* GroupPlanner::find(const GroupKey& key) const {
    if (const auto at = changes_.find(key); at != changes_.end()) {
        const GroupRecordPtr& after = change_.groups[at->second].after;
        return after ? &after->intent : nullptr;
    }
    const GroupSlot* slot = state_.groups.find(key);
    return slot != nullptr ? &slot->record->intent : nullptr;
}

// visit(port, changed) → bool, for every port that is wanted in the end, while it returns true.
template <typename Visit>
void GroupPlanner::visit_ports(Visit&& visit) const {
    std::unordered_set<uint16_t> changed;
    for (const PortChange& port : change_.ports) {
        changed.insert(port.port);
        if (port.after && !visit(port.after->intent, true)) return;
    }
    state_.ports.visit_after("", [&](uint16_t index, const PortSlot& slot) {
        return !slot.record || changed.contains(index) || visit(slot.record->intent, false);
    });
}

Result<void> GroupPlanner::judge() const {
    for (const GroupChange& change : change_.groups) {
        if (!change.after) continue;
        if (auto ok = check_remotes(change); !ok) return ok;
    }
    if (auto ok = check_unused(); !ok) return ok;
    if (auto ok = check_rules_per_port(); !ok) return ok;
    return check_capacity();
}

Result<void> GroupPlanner::check_remotes(const GroupChange& change) const {
    const std::vector<RuleIntent>& rules = change.after->intent.rules;
    for (size_t i = 0; i < rules.size(); ++i) {
        const std::optional<GroupKey>& remote = rules[i].remote;
        if (!remote || exists(*remote)) continue;
        const bool is_group = remote->kind == GroupKind::kSecurityGroup;
        return at_fault(change.key, ErrorCode::kNotFound,
                        fmt::format("rules[{}].{}", i, is_group ? "remote_group" : "remote_set"),
                        fmt::format("there is no {}", describe(*remote)));
    }
    return {};
}

// What goes is named by nobody who stays.
Result<void> GroupPlanner::check_unused() const {
    const auto goes = [&](const GroupKey& key) {
        const auto at = changes_.find(key);
        return at != changes_.end() && !change_.groups[at->second].after;
    };
    const bool any_goes = std::ranges::any_of(
        change_.groups, [](const GroupChange& change) { return change.after == nullptr; });
    if (!any_goes) return {};
    // The request is about what goes, whoever uses it.
    const std::string path =
        change_.kind == ChangeSet::Kind::kSync ? "$.params.sync" : "$.params.name";
    Result<void> result;
    visit_ports([&](const PortIntent& port, bool) {
        for (const std::string& name : port.groups) {
            const GroupKey key{GroupKind::kSecurityGroup, name};
            if (!goes(key)) continue;
            result = fail(ErrorCode::kConflict, path,
                          fmt::format("{} is in use by port {}", describe(key), port.name));
        }
        return result.has_value();
    });
    if (!result) return result;
    for (const auto& [key, slot] : state_.groups.all()) {
        const GroupIntent* group = find(key);
        if (group == nullptr) continue;
        for (const RuleIntent& rule : group->rules) {
            if (!rule.remote || !goes(*rule.remote)) continue;
            return fail(
                ErrorCode::kConflict, path,
                fmt::format("{} is in use by a rule of {}", describe(*rule.remote), describe(key)));
        }
    }
    return {};
}

// Only what this change makes more can be too much.
Result<void> GroupPlanner::check_rules_per_port() const {
    const auto grows = [&](const std::string& name) {
        const auto at = changes_.find({GroupKind::kSecurityGroup, name});
        if (at == changes_.end()) return false;
        const GroupChange& change = change_.groups[at->second];
        return change.before && change.after &&
               change.after->intent.rules.size() > change.before->intent.rules.size();
    };
    const bool any_grows = std::ranges::any_of(
        change_.groups, [&](const GroupChange& change) { return grows(change.key.name); });
    if (!any_grows && change_.ports.empty()) return {};
    Result<void> result;
    visit_ports([&](const PortIntent& port, bool changed) {
        if (!changed && !any_grows) return false;  // those that change come first
        const auto grown = std::ranges::find_if(port.groups, grows);
        if (!changed && grown == port.groups.end()) return true;
        size_t rules = 0;
        for (const std::string& name : port.groups) {
            const GroupIntent* group = find({GroupKind::kSecurityGroup, name});
            rules += group != nullptr ? group->rules.size() : 0;
        }
        if (rules <= kMaxRulesPerPort) return true;
        const std::string message = fmt::format("the groups of port {} have {} rules, at most {}",
                                                port.name, rules, kMaxRulesPerPort);
        if (change_.kind == ChangeSet::Kind::kPort) {
            result = fail(ErrorCode::kLimit, "$.params.groups", message);
        } else if (grown != port.groups.end()) {
            result =
                at_fault({GroupKind::kSecurityGroup, *grown}, ErrorCode::kLimit, "rules", message);
        } else {
            result = fail(ErrorCode::kLimit, "$.params.sync", message);
        }
        return false;
    });
    return result;
}

Result<void> GroupPlanner::check_capacity() const {
    size_t groups = state_.groups.all().size();
    size_t rules = state_.groups.rules();
    const GroupKey* grown = nullptr;
    for (const GroupChange& change : change_.groups) {
        groups = groups + (change.after ? 1 : 0) - (change.before ? 1 : 0);
        rules = rules + (change.after ? change.after->intent.rules.size() : 0) -
                (change.before ? change.before->intent.rules.size() : 0);
        if (change.after) grown = &change.key;
    }
    if (grown != nullptr && groups > kMaxGroups) {
        return fail(ErrorCode::kLimit, "",
                    fmt::format("at most {} security groups and address sets", kMaxGroups));
    }
    if (grown != nullptr && rules >= kMaxRules) {
        return at_fault(*grown, ErrorCode::kLimit, "rules",
                        fmt::format("at most {} rules of all security groups", kMaxRules - 1));
    }
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const auto count = [family](const std::vector<IpPrefix>& list) {
            return static_cast<size_t>(std::ranges::count(
                list, family, [](const IpPrefix& member) { return member.address.family; }));
        };
        size_t added = 0;
        size_t removed = 0;
        for (const MemberChange& change : change_.members) {
            added += count(change.added);
            removed += count(change.removed);
        }
        if (added > removed && state_.groups.members(family) + added - removed > kMaxSetMembers) {
            return fail(ErrorCode::kLimit, "",
                        fmt::format("at most {} members of all groups and sets, of each family",
                                    kMaxSetMembers));
        }
    }
    return {};
}

void change_members(const State& state, ChangeSet& change, const GroupKey& key,
                    const std::vector<IpPrefix>& wanted) {
    static const std::set<IpPrefix> kNone;
    const GroupSlot* slot = state.groups.find(key);
    const std::set<IpPrefix>& present = slot != nullptr ? slot->members : kNone;
    const std::set<IpPrefix> sorted(wanted.begin(), wanted.end());
    MemberChange members{key, {}, {}};
    std::ranges::set_difference(sorted, present, std::back_inserter(members.added));
    std::ranges::set_difference(present, sorted, std::back_inserter(members.removed));
    if (members.added.empty() && members.removed.empty()) return;
    change.members.push_back(std::move(members));
}

}  // namespace planning

namespace {

constexpr const char* kNamePath = "$.params.name";

Result<const GroupSlot*> find_mine(const State& state, const GroupKey& key,
                                   const std::string& owner, bool force) {
    const GroupSlot* slot = state.groups.find(key);
    if (slot == nullptr) {
        return fail(ErrorCode::kNotFound, kNamePath, fmt::format("there is no {}", describe(key)));
    }
    auto mine = check_owner(slot->record->intent.owner, owner, force, kNamePath, describe(key));
    if (!mine) return tl::unexpected(mine.error());
    return slot;
}

}  // namespace

Result<ChangeSet> plan(State& state, const GroupApply& request) {
    if (auto owner = acting_owner(state, request.intent.owner); !owner) {
        return tl::unexpected(owner.error());
    }
    ChangeSet change(state, ChangeSet::Kind::kGroup, request.intent.owner);
    GroupPlanner planner(state, change);
    auto ok = planner.upsert(request, "$.params", true);
    if (ok) ok = planner.judge();
    if (!ok) return tl::unexpected(ok.error());
    return change;
}

Result<ChangeSet> plan(State& state, const GroupDelete& request) {
    if (auto slot = find_mine(state, request.key, request.owner, request.force); !slot) {
        return tl::unexpected(slot.error());
    }
    ChangeSet change(state, ChangeSet::Kind::kGroup, request.owner);
    GroupPlanner planner(state, change);
    planner.remove(request.key);
    if (auto ok = planner.judge(); !ok) return tl::unexpected(ok.error());
    return change;
}

Result<ChangeSet> plan(State& state, const GroupUpdate& request) {
    const auto slot = find_mine(state, request.key, request.owner, request.force);
    if (!slot) return tl::unexpected(slot.error());
    ChangeSet change(state, ChangeSet::Kind::kMembers, request.owner);
    MemberChange members{request.key, {}, {}};
    for (const IpPrefix& member : request.add) {
        if ((*slot)->members.contains(member)) {
            ++change.unchanged;
        } else {
            members.added.push_back(member);
        }
    }
    for (const IpPrefix& member : request.remove) {
        if ((*slot)->members.contains(member)) {
            members.removed.push_back(member);
        } else {
            ++change.missing;
        }
    }
    if (!members.added.empty() || !members.removed.empty()) {
        change.members.push_back(std::move(members));
    }
    if ((*slot)->stale) change.confirmed_groups.push_back(request.key);
    const GroupPlanner planner(state, change);
    if (auto ok = planner.judge(); !ok) return tl::unexpected(ok.error());
    return change;
}

}  // namespace slash32
