// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/idle_routes.h"

#include <map>
#include <memory>
#include <utility>

namespace slash32 {

IdleRoutes::IdleRoutes(Intent& intent, const Plane& plane, Report report)
    : intent_(intent), plane_(plane), report_(std::move(report)) {}

bool IdleRoutes::is_idle(const State& state, uint32_t hop, uint32_t now) const {
    const NextHopId id = state.hops.id(hop);
    if (id == kNoNextHop) return false;
    const uint32_t used = plane_.last_used(id);
    // A worker's clock may be a second ahead.
    return used < now && now - used > state.hops.spec(hop).segment_routing.aging->idle_seconds;
}

IdleRoutes::Found IdleRoutes::find(const State& state, uint32_t now) const {
    Found found;
    for (const uint32_t hop : state.hops.aging()) {
        if (!is_idle(state, hop, now)) continue;
        const Aging& aging = *state.hops.spec(hop).segment_routing.aging;
        const RouteValue* route = state.routes.find({aging.vrf, aging.prefix});
        if (route == nullptr || route->hop != hop) continue;
        found[state.owners.name(route->owner)].push_back(
            {.vrf = aging.vrf, .prefixes = {aging.prefix}, .next_hop = {}});
    }
    return found;
}

void IdleRoutes::sweep(uint32_t now) {
    if (pending_ != 0) return;
    intent_.read([this, now](State& state) {
        for (const auto& [owner, routes] : find(state, now))
            remove(owner, now);
    });
}

// What has been used meanwhile stays.
void IdleRoutes::remove(const std::string& owner, uint32_t now) {
    ++pending_;
    auto removed = std::make_shared<std::vector<RouteGroup>>();
    intent_.write(
        [this, owner, now, removed](State& state) {
            *removed = std::move(find(state, now)[owner]);
            return plan(state, RouteDelete{.owner = owner, .force = false, .routes = *removed});
        },
        [this, owner, removed](const Result<Done>& done) {
            --pending_;
            if (!done) return;
            for (const RouteGroup& route : *removed)
                report_({route.vrf, route.prefixes.front()}, owner);
        });
}

}  // namespace slash32
