// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/next_hop_table.h"

#include "dp/base/assert.h"

namespace slash32 {

Result<uint32_t> NextHopTable::pin(const HopSpec& spec) {
    const auto known = by_spec_.find(spec);
    if (known != by_spec_.end()) {
        ++entries_[known->second].pins;
        return known->second;
    }
    uint32_t index = 0;
    if (!free_.empty()) {
        index = free_.back();
        free_.pop_back();
    } else if (entries_.size() < kMaxNextHops) {
        index = static_cast<uint32_t>(entries_.size());
        entries_.emplace_back();
    } else {
        return fail(ErrorCode::kLimit, "", "no more next hops can be held");
    }
    entries_[index] = Entry{spec, 0, 1, kNoNextHop};
    by_spec_.emplace(spec, index);
    if (spec.segment_routing.aging) aging_.insert(index);
    return index;
}

void NextHopTable::unpin(uint32_t index) {
    S32_ASSERT(entries_[index].pins > 0);
    --entries_[index].pins;
    free_if_unused(index);
}

void NextHopTable::drop_route(uint32_t index) {
    S32_ASSERT(entries_[index].routes > 0);
    --entries_[index].routes;
    free_if_unused(index);
}

void NextHopTable::free_if_unused(uint32_t index) {
    Entry& entry = entries_[index];
    if (entry.routes != 0 || entry.pins != 0) return;
    if (entry.id != kNoNextHop) release_(entry.id);
    entry.id = kNoNextHop;
    by_spec_.erase(entry.spec);
    aging_.erase(index);
    free_.push_back(index);
}

void NextHopTable::forget_port(uint16_t port) {
    for (Entry& entry : entries_) {
        if (entry.id == kNoNextHop || !entry.spec.leads_over(port)) continue;
        release_(entry.id);
        entry.id = kNoNextHop;
    }
}

}  // namespace slash32
