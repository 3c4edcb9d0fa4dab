// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/group_table.h"

namespace slash32 {

void GroupTable::set(const GroupKey& key, const GroupRecordPtr& record, bool stale) {
    size_t& count = counts_[static_cast<size_t>(key.kind)];
    const auto at = groups_.find(key);
    if (at != groups_.end()) {
        rules_ -= at->second.record->intent.rules.size();
        --count;
        if (!record) {
            for (const IpPrefix& member : at->second.members)
                --members_of(member);
            groups_.erase(at);
            return;
        }
    }
    if (!record) return;
    GroupSlot& slot = at != groups_.end() ? at->second : groups_[key];
    slot.record = record;
    slot.stale = stale;
    rules_ += record->intent.rules.size();
    ++count;
}

void GroupTable::add_member(const GroupKey& key, const IpPrefix& member) {
    if (groups_.at(key).members.insert(member).second) ++members_of(member);
}

void GroupTable::remove_member(const GroupKey& key, const IpPrefix& member) {
    if (groups_.at(key).members.erase(member) > 0) --members_of(member);
}

}  // namespace slash32
