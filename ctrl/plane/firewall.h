// SPDX-License-Identifier: Apache-2.0
// Security groups as the forwarding plane keeps them: rules under ids, members in address sets, and
// one compiled policy for each combination of groups that some port of a VRF has.
//
// A group has a set in each VRF where something asks for it: an address means another machine in
// another VRF. What owners tell is in all of them.
//
// Thread safety: the control thread alone. Invariants: an address is in the set of a group in a VRF
// while the owner has told it or a port of the group and the VRF has it; a rule keeps its id, and
// so its counter, as long as it stands in its group; an id is used again only after no worker
// decides by it.
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
#include <utility>
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
    // the same groups and VRF share it. Errors: kLimit.
    Result<SharedPolicy> policy(const PortIntent& port);

    // The port's addresses become members of its groups in its VRF (stop being it). Errors: kLimit,
    // with none added.
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
    using Members = std::map<IpPrefix, uint32_t>;  // how often each has been added
    // A group in a VRF.
    struct Scope {
        SetId set;
        Members members;
        size_t ports = 0;  // that have joined
    };
    struct Group {
        bool stateful = true;
        std::vector<Rule> rules;
        Members told;
        std::map<VrfId, Scope> scopes;
    };
    using Names = std::vector<std::string>;  // in order
    using Combination = std::pair<VrfId, Names>;

    Result<std::vector<Rule>> number(const std::vector<RuleIntent>& wanted,
                                     const std::vector<Rule>& present);
    void free_ids(const std::vector<Rule>& from, const std::vector<Rule>& kept);
    Result<SharedPolicy> compile(const Combination& of);
    Result<void> recompile(const std::string& name);
    Result<Scope*> scope(const GroupKey& key, VrfId vrf);
    void free_unused_scopes();
    void destroy_later(SetId set);
    Result<void> add_member(Scope& scope, const IpPrefix& member);
    void remove_member(Scope& scope, const IpPrefix& member);
    Result<void> add_everywhere(Group& group, const IpPrefix& member);
    void remove_everywhere(Group& group, const IpPrefix& member);
    Result<void> add_port(Scope& scope, const std::vector<IpPrefix>& addresses);
    void remove_port(Scope& scope, const std::vector<IpPrefix>& addresses);

    Publisher& publisher_;
    AddressSets& sets_;
    std::map<GroupKey, Group> groups_;
    std::map<Combination, std::weak_ptr<const Policy>> policies_;
    std::vector<RuleId> free_rules_;
    uint32_t next_generation_ = 1;
    std::function<void(RuleId)> rule_freed_ = [](RuleId) {};
};

}  // namespace slash32
