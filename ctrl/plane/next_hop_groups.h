// SPDX-License-Identifier: Apache-2.0
// Groups of next hops, as routes with several paths lead to them.
//
// A group keeps its id while its members change, so that a link that goes down is one change here
// and none of the routes. Thread safety: the control thread alone.
#pragma once

#include "ctrl/publish/publisher.h"
#include "dp/abi/next_hop_group.h"
#include "dp/base/result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace slash32 {

struct GroupMember {
    NextHopId hop;  // an adjacency
    uint16_t weight = 1;
    bool operator==(const GroupMember&) const = default;
};

// Shares the buckets out by weight. A bucket whose adjacency stays a member, and within its share,
// keeps it. REQUIRES: weights are above 0; at most kGroupBuckets members, each hop once.
NextHopGroup share_buckets(const NextHopGroup& before, std::span<const GroupMember> members);

class NextHopGroups {
  public:
    explicit NextHopGroups(Publisher& publisher) : publisher_(publisher) {}
    // REQUIRES: workers have stopped.
    ~NextHopGroups();
    NextHopGroups(const NextHopGroups&) = delete;
    NextHopGroups& operator=(const NextHopGroups&) = delete;

    // Of no members yet. Errors: kLimit.
    Result<NextHopId> create();
    // Whether they were others before.
    bool set_members(NextHopId id, std::vector<GroupMember> members);
    // REQUIRES: no route leads to it any more.
    void remove(NextHopId id);

    // REQUIRES: the id is in use.
    const std::vector<GroupMember>& members(NextHopId id) const {
        return entries_[group_index(id)].members;
    }
    size_t size() const { return used_; }
    // Of every id ever used; nullptr where there is no group now.
    template <typename F>
    void for_each(F&& visit) const {
        for (uint32_t i = 0; i < entries_.size(); ++i)
            visit(id_of(i), entries_[i].published);
    }

  private:
    struct Entry {
        std::vector<GroupMember> members;
        const NextHopGroup* published = nullptr;
    };

    static NextHopId id_of(uint32_t index) {
        return NextHopId{static_cast<uint32_t>(kMaxAdjacencies) + index};
    }
    void publish(NextHopId id, const NextHopGroup* group);

    Publisher& publisher_;
    std::vector<Entry> entries_;  // by group_index()
    std::vector<NextHopId> free_;
    size_t used_ = 0;
};

}  // namespace slash32
