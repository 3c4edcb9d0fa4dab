// SPDX-License-Identifier: Apache-2.0
// From a request to the change set that would carry it out, or the reason why it cannot be.
//
// Planning changes nothing but pins. What is judged here is the end state as a whole: uniqueness,
// owners, references, capacities. Errors name the field as a path into the request.
#pragma once

#include "ctrl/intent/change_set.h"
#include "ctrl/intent/requests.h"
#include "ctrl/intent/state.h"
#include "ctrl/intent/sync_set.h"
#include "dp/base/result.h"

#include <string>
#include <vector>

namespace slash32 {

inline constexpr size_t kMaxNeighbors = 65536;

Result<ChangeSet> plan(State& state, const PortApply& request);
Result<ChangeSet> plan(State& state, const PortDelete& request);
Result<ChangeSet> plan(State& state, const RouteApply& request);
Result<ChangeSet> plan(State& state, const RouteDelete& request);
Result<ChangeSet> plan(State& state, const NeighborApply& request);
Result<ChangeSet> plan(State& state, const NeighborDelete& request);
Result<ChangeSet> plan(State& state, const VrfApply& request);
Result<ChangeSet> plan(State& state, const VrfDelete& request);
Result<ChangeSet> plan(State& state, const GroupApply& request);
Result<ChangeSet> plan(State& state, const GroupDelete& request);
Result<ChangeSet> plan(State& state, const GroupUpdate& request);
// With force, it takes over what others own of the set, and removes their routes over ports that
// go.
Result<ChangeSet> plan(State& state, const SyncSet& set, bool force);

// The members of a list that is a set by meaning, in one order, so that equal sets compare equal.
void canonicalize(PortIntent& intent);

// One prefix of a request, and where it stood.
struct RouteItem {
    RouteKey key;
    uint32_t group = 0;
    uint32_t index = 0;
    std::string path() const;  // "$.params.routes[3].prefixes[17]"
};
// All prefixes in order of key. Errors: kInvalid for a prefix that is there twice, that no route
// can have, or whose family its `via` cannot carry.
Result<std::vector<RouteItem>> sorted_items(const std::vector<RouteGroup>& groups);

}  // namespace slash32
