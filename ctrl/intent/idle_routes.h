// SPDX-License-Identifier: Apache-2.0
// Routes that age: what no packet has gone by for its time is removed, in its owner's name.
//
// Belongs to the control thread.
#pragma once

#include "ctrl/intent/intent.h"

#include <cstdint>
#include <functional>
#include <string>

namespace slash32 {

class IdleRoutes {
  public:
    // Told of every route that has been removed.
    using Report = std::function<void(const RouteKey&, const std::string& owner)>;

    // Both outlive it.
    IdleRoutes(Intent& intent, const Plane& plane, Report report);

    // To be called every second or so, with the flow clock (dp/abi/flow_clock.h).
    void sweep(uint32_t now);

  private:
    // Those of an owner that are idle now.
    using Found = std::map<std::string, std::vector<RouteGroup>>;

    bool is_idle(const State& state, uint32_t hop, uint32_t now) const;
    Found find(const State& state, uint32_t now) const;
    void remove(const std::string& owner, uint32_t now);

    Intent& intent_;
    const Plane& plane_;
    Report report_;
    size_t pending_ = 0;  // owners whose routes are being removed
};

}  // namespace slash32
