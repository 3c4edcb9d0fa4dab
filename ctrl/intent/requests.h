// SPDX-License-Identifier: Apache-2.0
// What a client asks for, decoded and correct in itself; whether it fits what exists is judged by
// the planners (plan.h). Names are still names here.
#pragma once

#include "ctrl/intent/model.h"

#include <optional>
#include <string>
#include <vector>

namespace slash32 {

struct PortApply {
    PortIntent intent;
    bool force = false;
};

struct PortDelete {
    std::string name;
    std::string owner;
    bool force = false;
};

struct HopRequest {
    NextHopSpec::Kind kind = NextHopSpec::Kind::kBlackhole;
    std::string port;
    std::optional<IpAddress> via;
    std::optional<Mac> mac;
    SegmentHop segment_routing{};
    VrfId vrf{};
    // Has a port: kPort, and kSid that forwards over one.
    bool has_port() const { return !port.empty(); }
    auto operator<=>(const HopRequest&) const = default;
};

struct RouteGroup {
    VrfId vrf;
    std::vector<IpPrefix> prefixes;
    HopRequest next_hop;  // unused in a deletion
};

struct RouteApply {
    std::string owner;
    bool force = false;
    std::vector<RouteGroup> routes;
};

struct RouteDelete {
    std::string owner;
    bool force = false;
    std::vector<RouteGroup> routes;
};

struct VrfApply {
    VrfIntent intent;
    bool force = false;
};

// With the routes in it, and the segments that lead into it.
struct VrfDelete {
    VrfId id;
    std::string owner;
    bool force = false;
};

struct NeighborApply {
    std::string port;
    IpAddress address;
    Mac mac;
    std::string owner;
    bool force = false;
};

struct NeighborDelete {
    std::string port;
    IpAddress address;
    std::string owner;
    bool force = false;
};

struct GroupApply {
    GroupIntent intent;
    // All members of an address set; absent: they stay as they are.
    std::optional<std::vector<IpPrefix>> members;
    bool force = false;
};

struct GroupDelete {
    GroupKey key;
    std::string owner;
    bool force = false;
};

struct GroupUpdate {
    GroupKey key;
    std::vector<IpPrefix> add;
    std::vector<IpPrefix> remove;
    std::string owner;
    bool force = false;
};

}  // namespace slash32
