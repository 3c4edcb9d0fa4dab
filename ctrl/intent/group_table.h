// SPDX-License-Identifier: Apache-2.0
// Security groups and address sets by kind and name, with their members. Belongs to the control
// thread.
//
// The members here are those that owners told; the addresses of local ports are members of their
// security groups too, but the plane adds these by itself. Limits: kMaxGroups, kMaxRules - 1 rules
// of all groups, kMaxSetMembers members of each family.
#pragma once

#include "ctrl/intent/model.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>

namespace slash32 {

inline constexpr size_t kMaxGroups = kMaxAddressSets - 1;  // each is a set, and id 0 is none

// A wanted group as it stands; replaced whole.
struct GroupRecord {
    GroupIntent intent;
    uint64_t revision = 0;
};
using GroupRecordPtr = std::shared_ptr<const GroupRecord>;

struct GroupSlot {
    GroupRecordPtr record;
    std::set<IpPrefix> members;
    bool stale = false;
};

class GroupTable {
  public:
    using Map = std::map<GroupKey, GroupSlot>;

    // nullptr when there is none.
    const GroupSlot* find(const GroupKey& key) const {
        const auto at = groups_.find(key);
        return at != groups_.end() ? &at->second : nullptr;
    }
    const Map& all() const { return groups_; }
    size_t count(GroupKind kind) const { return counts_[static_cast<size_t>(kind)]; }
    size_t rules() const { return rules_; }
    size_t members(Family family) const { return members_[family == Family::kIpv4 ? 0 : 1]; }

    // Adds, or replaces the record of; null removes, with all members.
    void set(const GroupKey& key, const GroupRecordPtr& record, bool stale);
    // REQUIRES: the group is there.
    void set_stale(const GroupKey& key, bool stale) { groups_.at(key).stale = stale; }
    void add_member(const GroupKey& key, const IpPrefix& member);
    void remove_member(const GroupKey& key, const IpPrefix& member);

  private:
    size_t& members_of(const IpPrefix& member) {
        return members_[member.address.is_ipv4() ? 0 : 1];
    }

    Map groups_;
    std::array<size_t, 2> counts_{};   // by GroupKind
    std::array<size_t, 2> members_{};  // IPv4, IPv6
    size_t rules_ = 0;
};

}  // namespace slash32
