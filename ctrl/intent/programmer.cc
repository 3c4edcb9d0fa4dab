// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/programmer.h"

#include "ctrl/intent/group_json.h"
#include "ctrl/intent/plan.h"
#include "dp/base/assert.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace slash32 {
namespace {

std::string device_key(const PortIntent& intent) {
    return intent.kind == PortKind::kVhost ? "socket " + intent.socket : "tap " + intent.tap;
}

}  // namespace

// One change set on its way: knows how far it has come, so that it can go back.
class Programmer::Attempt {
  public:
    Attempt(Programmer& programmer, ChangeSet& change)
        : programmer_(programmer),
          state_(programmer.state_),
          plane_(programmer.plane_),
          change_(change) {}

    Result<void> make() {
        if (auto ok = make_groups(); !ok) return ok;
        break_ports();
        for (const PortChange* port : in_device_order()) {
            if (auto ok = make_port(*port); !ok) return ok;
        }
        for (const NeighborChange& neighbor : change_.neighbors) {
            if (!neighbor.after) continue;
            plane_.set_neighbor(state_.ports.at(neighbor.key.port).id, neighbor.key.address,
                                neighbor.after->mac);
        }
        if (needs_room()) remove_routes();
        for (; next_route_ < change_.routes.size(); ++next_route_) {
            if (auto ok = make_route(change_.routes[next_route_]); !ok) return ok;
        }
        return {};
    }

    void finish() {
        if (!routes_removed_) remove_routes();
        state_.finish(change_);
        for (const NeighborChange& neighbor : change_.neighbors) {
            if (neighbor.after) continue;
            plane_.set_neighbor(state_.ports.at(neighbor.key.port).id, neighbor.key.address,
                                std::nullopt);
        }
        for (const PortChange& port : change_.ports) {
            if (!port.after) remove_port(port.port);
        }
        for (const MemberChange& members : change_.members) {
            if (!is_removed(members.key)) plane_.remove_members(members.key, members.removed);
        }
        for (const GroupChange& group : change_.groups) {
            if (!group.after) plane_.remove_group(group.key);
        }
    }

    void roll_back();

  private:
    Result<void> make_groups();
    void roll_back_groups();
    bool is_removed(const GroupKey& key) const;
    void break_ports();
    std::vector<const PortChange*> in_device_order() const;
    Result<void> make_port(const PortChange& change);
    Result<void> make_route(const RouteChange& change);
    void remove_routes();
    void remove_port(uint16_t port);
    bool needs_room() const;
    void restore_route(const RouteChange& change);

    Programmer& programmer_;
    State& state_;
    Plane& plane_;
    ChangeSet& change_;
    std::vector<const GroupChange*> made_groups_;
    size_t made_members_ = 0;                // of change_.members
    std::vector<const PortChange*> broken_;  // removed before anything was made
    struct Made {
        const PortChange* change;
        bool added;
    };
    std::vector<Made> made_;
    size_t next_route_ = 0;
    bool routes_removed_ = false;
};

// New groups before changed ones, whose rules may name them.
Result<void> Programmer::Attempt::make_groups() {
    for (const bool is_new : {true, false}) {
        for (const GroupChange& group : change_.groups) {
            if (!group.after || (group.before == nullptr) != is_new) continue;
            if (auto ok = plane_.set_group(group.after->intent); !ok) return ok;
            made_groups_.push_back(&group);
        }
    }
    for (const MemberChange& members : change_.members) {
        if (auto ok = plane_.add_members(members.key, members.added); !ok) return ok;
        ++made_members_;
    }
    return {};
}

void Programmer::Attempt::roll_back_groups() {
    for (size_t i = 0; i < made_members_; ++i)
        plane_.remove_members(change_.members[i].key, change_.members[i].added);
    for (auto at = made_groups_.rbegin(); at != made_groups_.rend(); ++at) {
        if (!(*at)->before) {
            plane_.remove_group((*at)->key);
        } else if (!plane_.set_group((*at)->before->intent)) {
            continue;  // as with ports: it keeps what it has
        }
    }
}

bool Programmer::Attempt::is_removed(const GroupKey& key) const {
    return std::ranges::any_of(
        change_.groups, [&](const GroupChange& group) { return group.key == key && !group.after; });
}

// Removes the ports that go and whose device another port takes.
void Programmer::Attempt::break_ports() {
    std::set<std::string> wanted;
    for (const PortChange& port : change_.ports) {
        if (port.after) wanted.insert(device_key(port.after->intent));
    }
    if (wanted.empty()) return;
    for (const PortChange& port : change_.ports) {
        if (port.after || !wanted.contains(device_key(port.before->intent))) continue;
        for (const RouteChange& route : change_.routes) {
            if (!route.had || route.before.origin_port != 0) continue;
            const HopSpec& hop = state_.hops.spec(route.before.hop);
            if (!hop.leads_over(port.port)) continue;
            plane_.remove_route(route.key.vrf, route.key.prefix);
        }
        state_.hops.forget_port(port.port);
        remove_port(port.port);
        broken_.push_back(&port);
    }
}

// Ports to be made, such that a device is let go of before another port takes it. Ports that swap
// devices have no such order and keep the one they came in.
std::vector<const PortChange*> Programmer::Attempt::in_device_order() const {
    std::vector<const PortChange*> waiting;
    std::set<std::string> held;  // by a port that has not had its turn
    for (const PortChange& port : change_.ports) {
        if (!port.after) continue;
        waiting.push_back(&port);
        if (port.before) held.insert(device_key(port.before->intent));
    }
    std::vector<const PortChange*> order;
    while (!waiting.empty()) {
        const size_t before = order.size();
        std::erase_if(waiting, [&](const PortChange* port) {
            const std::string wanted = device_key(port->after->intent);
            const std::string own = port->before ? device_key(port->before->intent) : "";
            if (wanted != own && held.contains(wanted)) return false;
            held.erase(own);
            order.push_back(port);
            return true;
        });
        if (order.size() > before) continue;
        order.insert(order.end(), waiting.begin(), waiting.end());
        break;
    }
    return order;
}

Result<void> Programmer::Attempt::make_port(const PortChange& change) {
    PortSlot& slot = state_.ports.at(change.port);
    if (slot.id != kNoPort) {
        if (auto ok = plane_.change_port(slot.id, change.after->intent); !ok) return ok;
        made_.push_back({&change, false});
        return {};
    }
    const Result<PortId> id = plane_.add_port(change.after->intent);
    if (!id) return tl::unexpected(id.error());
    state_.ports.set_id(change.port, *id);
    made_.push_back({&change, true});
    slot.failure.clear();
    // One that could not be made at start may have routes that wait for it.
    return change.before ? programmer_.program_routes_over(change.port) : Result<void>{};
}

// Whether adding before removing would not fit.
bool Programmer::Attempt::needs_room() const {
    constexpr size_t kAmple = kMaxHostRoutes / 2;
    return state_.routes.size() + change_.routes.size() > kAmple;
}

Result<void> Programmer::Attempt::make_route(const RouteChange& change) {
    if (!change.has || change.after.origin_port != 0) return {};
    const Result<NextHopId> id = programmer_.acquire(change.after.hop);
    if (!id) return tl::unexpected(id.error());
    if (*id == kNoNextHop) return {};
    return plane_.set_route(change.key.vrf, change.key.prefix, *id);
}

void Programmer::Attempt::remove_routes() {
    routes_removed_ = true;
    for (const RouteChange& change : change_.routes) {
        if (change.has || change.before.origin_port != 0) continue;
        plane_.remove_route(change.key.vrf, change.key.prefix);
    }
}

void Programmer::Attempt::remove_port(uint16_t port) {
    const PortId id = state_.ports.at(port).id;
    if (id == kNoPort) return;
    state_.ports.set_id(port, kNoPort);
    plane_.remove_port(id);
}

void Programmer::Attempt::roll_back() {
    for (size_t i = 0; i < next_route_; ++i) {
        const RouteChange& route = change_.routes[i];
        if (!route.has || route.after.origin_port != 0) continue;
        restore_route(route);
    }
    if (routes_removed_) {
        for (const RouteChange& route : change_.routes) {
            if (!route.has && route.before.origin_port == 0) restore_route(route);
        }
    }
    for (const NeighborChange& neighbor : change_.neighbors) {
        if (!neighbor.after) continue;
        std::optional<Mac> old;
        if (neighbor.before) old = neighbor.before->mac;
        plane_.set_neighbor(state_.ports.at(neighbor.key.port).id, neighbor.key.address, old);
    }
    for (auto at = made_.rbegin(); at != made_.rend(); ++at) {
        const PortChange& port = *at->change;
        if (at->added) {
            if (port.before) programmer_.unprogram_routes_over(port.port);
            state_.hops.forget_port(port.port);
            remove_port(port.port);
            continue;
        }
        // What stood before was accepted before: it is not refused now but by a lack of resources
        // that nothing can be done about here; the port then keeps what it has.
        const PortId id = state_.ports.at(port.port).id;
        if (!plane_.change_port(id, port.before->intent)) continue;
    }
    // Routes that had become addresses of ports.
    for (const RouteChange& route : change_.routes) {
        if (route.had && route.has && route.before.origin_port == 0 &&
            route.after.origin_port != 0) {
            restore_route(route);
        }
    }
    for (const PortChange* port : broken_) {
        PortSlot& slot = state_.ports.at(port->port);
        const Result<PortId> id = plane_.add_port(port->before->intent);
        if (!id) {
            slot.failure = id.error().message;
            continue;
        }
        state_.ports.set_id(port->port, *id);
        for (const RouteChange& route : change_.routes) {
            if (route.had && route.before.origin_port == 0) restore_route(route);
        }
    }
    roll_back_groups();
}

void Programmer::Attempt::restore_route(const RouteChange& change) {
    if (!change.had || change.before.origin_port != 0) {
        plane_.remove_route(change.key.vrf, change.key.prefix);
        return;
    }
    // Replacing takes no room, so this holds; if it does not, no route is better than a wrong one.
    const Result<NextHopId> id = programmer_.acquire(change.before.hop);
    if (id && *id != kNoNextHop && plane_.set_route(change.key.vrf, change.key.prefix, *id)) return;
    plane_.remove_route(change.key.vrf, change.key.prefix);
}

Result<void> Programmer::program(ChangeSet& change) {
    Attempt attempt(*this, change);
    if (auto ok = attempt.make(); !ok) {
        attempt.roll_back();
        return ok;
    }
    attempt.finish();
    return {};
}

Result<NextHopId> Programmer::acquire(uint32_t hop) {
    const NextHopId known = state_.hops.id(hop);
    if (known != kNoNextHop) return known;
    const HopSpec& spec = state_.hops.spec(hop);
    NextHopSpec resolved{spec.kind, kNoPort, spec.via, spec.mac, spec.segment_routing, spec.vrf};
    if (spec.has_port()) {
        resolved.port = state_.ports.at(spec.port).id;
        if (resolved.port == kNoPort) return kNoNextHop;
    }
    Result<NextHopId> id = plane_.acquire_next_hop(resolved);
    if (id) state_.hops.set_id(hop, *id);
    return id;
}

Result<void> Programmer::program_routes_over(uint16_t port) {
    Result<void> result;
    if (state_.ports.at(port).routes == 0) return result;
    state_.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        if (value.origin_port != 0) return true;
        const HopSpec& hop = state_.hops.spec(value.hop);
        if (!hop.leads_over(port)) return true;
        const Result<NextHopId> id = acquire(value.hop);
        if (!id) {
            result = tl::unexpected(id.error());
        } else {
            result = plane_.set_route(key.vrf, key.prefix, *id);
        }
        return result.has_value();
    });
    return result;
}

void Programmer::unprogram_routes_over(uint16_t port) {
    state_.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        if (value.origin_port != 0) return true;
        const HopSpec& hop = state_.hops.spec(value.hop);
        if (hop.leads_over(port)) {
            plane_.remove_route(key.vrf, key.prefix);
        }
        return true;
    });
}

void Programmer::program_groups(Restored& restored) {
    for (const auto& [key, slot] : state_.groups.all()) {
        auto ok = plane_.set_group(slot.record->intent);
        if (ok) ok = plane_.add_members(key, {slot.members.begin(), slot.members.end()});
        if (!ok) {
            restored.problems.push_back(fmt::format("{}: {}", describe(key), ok.error().message));
        }
    }
}

Programmer::Restored Programmer::program_all() {
    Restored restored;
    program_groups(restored);
    std::vector<uint16_t> wanted;
    state_.ports.visit_all([&](uint16_t index, const PortSlot& slot) {
        if (slot.record) wanted.push_back(index);
    });
    for (const uint16_t index : wanted) {
        PortSlot& slot = state_.ports.at(index);
        const Result<PortId> id = plane_.add_port(slot.record->intent);
        if (id) {
            state_.ports.set_id(index, *id);
            ++restored.ports;
            continue;
        }
        slot.failure = id.error().message;
        restored.problems.push_back(fmt::format("port {}: {}", slot.name, slot.failure));
    }
    for (const auto& [key, record] : state_.neighbors) {
        plane_.set_neighbor(state_.ports.at(key.port).id, key.address, record.mac);
    }
    size_t failed = 0;
    std::string why;
    state_.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        if (value.origin_port != 0) return true;
        const Result<NextHopId> id = acquire(value.hop);
        if (id && *id == kNoNextHop) return true;
        Result<void> done;
        if (id) {
            done = plane_.set_route(key.vrf, key.prefix, *id);
        } else {
            done = tl::unexpected(id.error());
        }
        if (done) {
            ++restored.routes;
        } else if (failed++ == 0) {
            why = done.error().message;
        }
        return true;
    });
    if (failed > 0) restored.problems.push_back(fmt::format("{} route(s): {}", failed, why));
    return restored;
}

}  // namespace slash32
