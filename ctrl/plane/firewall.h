// SPDX-License-Identifier: Apache-2.0
// Security groups as the forwarding plane keeps them: rules under ids, members in address sets, and
// one compiled policy for each combination of groups that some port has.
//
// Thread safety: the control thread alone. Invariants: an address is in the set of a group while
// the owner has told it or a port of the group has it; a rule keeps its id, and so its counter, as
// long as it stands in its group; an id is used again only after no worker decides by it.
#pragma once

#include "ctrl/intent/model.h"
#include "ctrl/policy/address_sets.h"
#include "ctrl/policy/compile.h"
#include "ctrl/publish/publisher.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace slash32 {

// Kept by whoever publishes it until the workers have let go.
using SharedPolicy = std::shared_ptr<const Policy>;

class Firewall {
  public:
    // Both outlive the firewall.
    Firewall(Publisher& publisher, AddressSets& sets);

    // As in Plane. set_group compiles anew what the group is part of: whoever has published a
    // policy asks for it again when `changed` is true.
    struct Set {
        bool changed = false;
    };
    Result<Set> set_group(const GroupIntent& group);
    void remove_group(const GroupKey& key);
    Result<void> add_members(const GroupKey& key, const std::vector<IpPrefix>& members);
    void remove_members(const GroupKey& key, const std::vector<IpPrefix>& members);
    std::vector<RuleId> rule_ids(const std::string& group) const;

    // What the union of the groups allows; nullptr where the port has none, or is open. Ports of
    // the same groups share it. Errors: kLimit.
    Result<SharedPolicy> policy(const PortIntent& port);

    // The port's addresses become members of its groups (stop being it). Errors: kLimit, with none
    // added.
    Result<void> join(const PortIntent& port);
    void leave(const PortIntent& port);

    // "rule 2 of security group web (ingress ipv4 tcp 80)"; "" for an id that is not in use.
    std::string describe_rule(RuleId id) const;
    // Told when an id is about to be given out again, so that its counters begin at 0.
    void on_rule_freed(std::function<void(RuleId)> hook) { rule_freed_ = std::move(hook); }

  private:
    struct Rule {
        RuleIntent intent;
        RuleId id;
    };
    struct Group {
        bool stateful = true;
        std::vector<Rule> rules;
        SetId set;
        std::map<IpPrefix, uint32_t> members;  // how often each has been added
    };
    using Names = std::vector<std::string>;  // in order

    Result<std::vector<Rule>> number(const std::vector<RuleIntent>& wanted,
                                     const std::vector<Rule>& present);
    void free_ids(const std::vector<Rule>& from, const std::vector<Rule>& kept);
    Result<SharedPolicy> compile(const Names& names);
    Result<void> recompile(const std::string& name);
    PolicyRule policy_rule(const Rule& rule, bool stateful) const;
    Result<void> add_member(Group& group, const IpPrefix& member);
    void remove_member(Group& group, const IpPrefix& member);

    Publisher& publisher_;
    AddressSets& sets_;
    std::map<GroupKey, Group> groups_;
    std::map<Names, std::weak_ptr<const Policy>> policies_;
    std::vector<RuleId> free_rules_;
    uint32_t next_generation_ = 1;
    std::function<void(RuleId)> rule_freed_ = [](RuleId) {};
};

}  // namespace slash32
