// SPDX-License-Identifier: Apache-2.0
// Carries change sets out in the plane: all of one, or nothing.
//
// Belongs to the control thread. Make before break: ports and routes are added and changed first,
// what goes goes last, and only then are its resources given back. A port whose socket or interface
// passes to another one in the same change is the exception: it goes first.
#pragma once

#include "ctrl/intent/change_set.h"
#include "ctrl/intent/state.h"
#include "ctrl/plane/plane.h"
#include "dp/base/result.h"

#include <cstddef>
#include <string>
#include <vector>

namespace slash32 {

class Programmer {
  public:
    Programmer(State& state, Plane& plane) : state_(state), plane_(plane) {}

    // REQUIRES: `change` has been applied to the state. On success it is finished there too; on an
    // error the plane is as it was, and the caller undoes it in the state.
    Result<void> program(ChangeSet& change);

    // At start: everything in the state, groups before ports, ports before neighbours before
    // routes. A port that cannot be made stays without PortId, with the reason in its slot; its
    // routes wait for it.
    struct Restored {
        size_t ports = 0;
        size_t routes = 0;
        std::vector<std::string> problems;
    };
    Restored program_all();

  private:
    class Attempt;
    void program_groups(Restored& restored);
    // The plane's id for a next hop, acquired if need be; kNoNextHop while its port is not there.
    Result<NextHopId> acquire(uint32_t hop);
    // Programs every route over a port that has got a new PortId.
    Result<void> program_routes_over(uint16_t port);
    void unprogram_routes_over(uint16_t port);

    State& state_;
    Plane& plane_;
};

}  // namespace slash32
