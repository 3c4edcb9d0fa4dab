// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/next_hop_groups.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace slash32 {
namespace {

// Buckets of each member by its weight: the whole parts first, then the largest remainders.
std::vector<uint32_t> shares_of(std::span<const GroupMember> members) {
    const uint64_t total = std::accumulate(
        members.begin(), members.end(), uint64_t{0},
        [](uint64_t sum, const GroupMember& member) { return sum + member.weight; });
    std::vector<uint32_t> shares;
    std::vector<std::pair<uint64_t, size_t>> remainders;
    shares.reserve(members.size());
    remainders.reserve(members.size());
    uint32_t left = kGroupBuckets;
    for (size_t i = 0; i < members.size(); ++i) {
        const uint64_t scaled = uint64_t{members[i].weight} * kGroupBuckets;
        shares.push_back(static_cast<uint32_t>(scaled / total));
        remainders.emplace_back(scaled % total, i);
        left -= shares.back();
    }
    std::ranges::stable_sort(remainders, std::greater{}, &std::pair<uint64_t, size_t>::first);
    for (size_t i = 0; left > 0; ++i, --left)
        ++shares[remainders[i].second];
    return shares;
}

}  // namespace

NextHopGroup share_buckets(const NextHopGroup& before, std::span<const GroupMember> members) {
    NextHopGroup after{};
    if (members.empty()) return after;
    const std::vector<uint32_t> shares = shares_of(members);
    std::map<NextHopId, uint32_t> left;
    for (size_t i = 0; i < members.size(); ++i)
        left[members[i].hop] = shares[i];
    std::vector<NextHopId*> open;
    for (size_t i = 0; i < kGroupBuckets; ++i) {
        const auto share = left.find(before.buckets[i]);
        if (share != left.end() && share->second > 0) {
            --share->second;
            after.buckets[i] = before.buckets[i];
        } else {
            open.push_back(&after.buckets[i]);
        }
    }
    // In turns, so that what one member had is spread over all others.
    auto next = left.begin();
    for (NextHopId* bucket : open) {
        while (next == left.end() || next->second == 0)
            next = next == left.end() ? left.begin() : std::next(next);
        *bucket = next->first;
        --next->second;
        ++next;
    }
    return after;
}

NextHopGroups::~NextHopGroups() {
    for (const Entry& entry : entries_)
        delete entry.published;
}

Result<NextHopId> NextHopGroups::create() {
    NextHopId id;
    if (!free_.empty()) {
        id = free_.back();
        free_.pop_back();
    } else if (entries_.size() < kMaxNextHopGroups) {
        id = id_of(static_cast<uint32_t>(entries_.size()));
        entries_.emplace_back();
    } else {
        return fail(ErrorCode::kLimit, "", "no more next-hop groups: all are in use");
    }
    ++used_;
    publish(id, new NextHopGroup{});
    return id;
}

bool NextHopGroups::set_members(NextHopId id, std::vector<GroupMember> members) {
    Entry& entry = entries_[group_index(id)];
    if (entry.members == members) return false;
    publish(id, new NextHopGroup(share_buckets(*entry.published, members)));
    entry.members = std::move(members);
    return true;
}

void NextHopGroups::remove(NextHopId id) {
    entries_[group_index(id)].members.clear();
    publish(id, nullptr);
    --used_;
    // A burst may have read the id from the FIB before its route went away.
    publisher_.when_quiescent([this, id] { free_.push_back(id); });
}

void NextHopGroups::publish(NextHopId id, const NextHopGroup* group) {
    const NextHopGroup* old = std::exchange(entries_[group_index(id)].published, group);
    publisher_.broadcast(Command::set_group(id, group));
    if (old != nullptr) publisher_.when_acknowledged([old] { delete old; });
}

}  // namespace slash32
