// SPDX-License-Identifier: Apache-2.0
// A Plane that remembers what it was told, checks what the seam requires, and can be made to fail.
#pragma once

#include "ctrl/intent/group_json.h"
#include "ctrl/intent/plan.h"
#include "ctrl/plane/plane.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace slash32 {

class FakePlane final : public Plane {
  public:
    Result<PortId> add_port(const PortIntent& intent) override {
        ++calls;
        if (fail_port == intent.name) {
            return fail(ErrorCode::kUnavailable, "", "no device for " + intent.name);
        }
        for (const auto& [id, other] : ports) {
            EXPECT_FALSE(!intent.socket.empty() && other.socket == intent.socket)
                << intent.name << " takes the socket of " << other.name;
        }
        const PortId id{next_port_++};
        ports.emplace(id, intent);
        override_routes(intent);
        log.push_back("add " + intent.name);
        return id;
    }
    Result<void> change_port(PortId id, const PortIntent& intent) override {
        ++calls;
        EXPECT_TRUE(ports.contains(id));
        if (fail_port == intent.name) return fail(ErrorCode::kLimit, "", "no room");
        ports[id] = intent;
        override_routes(intent);
        log.push_back("change " + intent.name);
        return {};
    }
    void remove_port(PortId id) override {
        ++calls;
        ASSERT_TRUE(ports.contains(id));
        for (const auto& [hop, spec] : hops) {
            EXPECT_FALSE(spec.kind == NextHopSpec::Kind::kPort && spec.port == id)
                << "a next hop outlives its port " << ports[id].name;
        }
        log.push_back("remove " + ports[id].name);
        ports.erase(id);
    }
    DeviceCounters device_counters(PortId) const override { return {}; }
    std::vector<DeviceOffload> device_offloads(PortId) const override {
        return {{.rule = "drop", .hardware = true, .reason = ""},
                {.rule = "steer", .hardware = false, .reason = "refused"}};
    }
    PortActual actual(PortId id) const override {
        const auto at = actuals.find(id);
        return at != actuals.end() ? at->second : PortActual{};
    }

    Result<void> set_group(const GroupIntent& group) override {
        ++calls;
        if (fail_group == group.key.name) return fail(ErrorCode::kLimit, "", "no room");
        for (const RuleIntent& rule : group.rules) {
            // Of a new group they may come later in the same change.
            EXPECT_TRUE(!rule.remote || groups.contains(*rule.remote) ||
                        !groups.contains(group.key))
                << group.key.name << " names a group that is not there";
        }
        groups[group.key] = group;
        return {};
    }
    void remove_group(const GroupKey& key) override {
        ++calls;
        EXPECT_EQ(groups.erase(key), 1u);
        members.erase(key);
        for (const auto& [id, port] : ports) {
            for (const std::string& name : port.groups)
                EXPECT_FALSE(key.kind == GroupKind::kSecurityGroup && key.name == name) << name;
        }
    }
    Result<void> add_members(const GroupKey& key, const std::vector<IpPrefix>& added) override {
        calls += added.empty() ? 0 : 1;
        EXPECT_TRUE(groups.contains(key));
        if (members[key].size() + added.size() > members_max) {
            return fail(ErrorCode::kLimit, "", "no room for members");
        }
        for (const IpPrefix& member : added)
            EXPECT_TRUE(members[key].insert(member).second) << to_string(member);
        return {};
    }
    void remove_members(const GroupKey& key, const std::vector<IpPrefix>& removed) override {
        calls += removed.empty() ? 0 : 1;
        for (const IpPrefix& member : removed)
            EXPECT_EQ(members[key].erase(member), 1u) << to_string(member);
    }
    std::vector<RuleId> rule_ids(const std::string& group) const override {
        const auto at = groups.find({GroupKind::kSecurityGroup, group});
        EXPECT_NE(at, groups.end());
        std::vector<RuleId> ids;
        for (size_t i = 0; at != groups.end() && i < at->second.rules.size(); ++i)
            ids.push_back(RuleId{static_cast<uint16_t>(i + 1)});
        return ids;
    }

    Result<NextHopId> acquire_next_hop(const NextHopSpec& spec) override {
        EXPECT_TRUE(spec.kind != NextHopSpec::Kind::kPort || is_port(spec.port));
        const NextHopId id{next_hop_++};
        hops.emplace(id, spec);
        return id;
    }
    uint32_t last_used(NextHopId id) const override {
        const auto at = used.find(id);
        return at != used.end() ? at->second : 0;
    }
    void release_next_hop(NextHopId id) override {
        for (const auto& [key, hop] : routes) {
            EXPECT_NE(hop, id) << "the next hop of " << to_string(key.second) << " is released";
        }
        EXPECT_EQ(hops.erase(id), 1u);
    }
    void set_neighbor(PortId port, const IpAddress& address, std::optional<Mac> mac) override {
        ++calls;
        EXPECT_TRUE(is_port(port));
        if (mac) {
            neighbors[{port, address}] = *mac;
        } else {
            neighbors.erase({port, address});
        }
    }

    Result<void> set_route(VrfId vrf, const IpPrefix& prefix, NextHopId hop) override {
        ++calls;
        EXPECT_TRUE(hops.contains(hop)) << to_string(prefix);
        if (!routes.contains({vrf, prefix}) && routes.size() >= routes_max) {
            return fail(ErrorCode::kLimit, "", "no more routes");
        }
        routes[{vrf, prefix}] = hop;
        return {};
    }
    void remove_route(VrfId vrf, const IpPrefix& prefix) override {
        ++calls;
        routes.erase({vrf, prefix});
    }

    void when_programmed(std::function<void()> done) override {
        if (hold) {
            waiting.push_back(std::move(done));
        } else {
            done();
        }
    }
    void on_event(std::function<void(const PlaneEvent&)> listener) override {
        emit = std::move(listener);
    }

    // Uplinks are not made through the seam.
    PortId add_uplink() {
        const PortId id{next_port_++};
        uplinks.insert(id);
        return id;
    }
    bool is_port(PortId id) const { return ports.contains(id) || uplinks.contains(id); }

    // What stands in the plane, by name: comparable between two planes.
    std::string text() const {
        std::string out;
        std::map<std::string, std::string> by_name;
        for (const auto& [id, intent] : ports) {
            std::string line = intent.socket + intent.tap + " " + to_string(intent.mac);
            for (const FixedAddress& fixed : intent.addresses)
                line += " " + to_string(fixed.address);
            by_name[intent.name] = line;
        }
        for (const auto& [name, line] : by_name)
            out.append("port ").append(name).append(" ").append(line).append("\n");
        for (const auto& [key, hop] : routes) {
            const NextHopSpec& spec = hops.at(hop);
            out += "route " + std::to_string(key.first.value()) + " " + to_string(key.second) + " ";
            if (spec.kind != NextHopSpec::Kind::kPort) {
                out += "kind " + std::to_string(static_cast<int>(spec.kind));
            } else {
                out += uplinks.contains(spec.port) ? "uplink" : ports.at(spec.port).name;
            }
            if (spec.via) out += " via " + to_string(*spec.via);
            out += "\n";
        }
        for (const auto& [key, mac] : neighbors) {
            out += "neighbor " + to_string(key.second) + " " + to_string(mac) + "\n";
        }
        for (const auto& [key, group] : groups) {
            out += "group " + describe(key) + " " + to_json(group).dump() + "\n";
            for (const IpPrefix& member : members.contains(key) ? members.at(key) : kNobody)
                out += " " + to_string(member) + "\n";
        }
        return out;
    }

    inline static const std::set<IpPrefix> kNobody;
    std::map<GroupKey, GroupIntent> groups;
    std::map<GroupKey, std::set<IpPrefix>> members;
    std::string fail_group;         // set_group of this name fails
    size_t members_max = SIZE_MAX;  // add_members of one group holds no more
    std::map<PortId, PortIntent> ports;
    std::set<PortId> uplinks;
    std::map<NextHopId, NextHopSpec> hops;
    std::map<NextHopId, uint32_t> used;  // when, on the flow clock
    std::map<std::pair<VrfId, IpPrefix>, NextHopId> routes;
    std::map<std::pair<PortId, IpAddress>, Mac> neighbors;
    std::map<PortId, PortActual> actuals;
    std::vector<std::string> log;
    size_t calls = 0;

    std::string fail_port;         // add_port and change_port of this name fail
    size_t routes_max = SIZE_MAX;  // set_route holds no more
    bool hold = false;             // when_programmed waits
    std::vector<std::function<void()>> waiting;
    std::function<void(const PlaneEvent&)> emit;

  private:
    // A fixed address takes the place of a route.
    void override_routes(const PortIntent& intent) {
        for (const FixedAddress& fixed : intent.addresses) {
            routes.erase({intent.vrf, {fixed.address, fixed.address.bits()}});
        }
    }

    uint16_t next_port_ = 1;
    uint32_t next_hop_ = 1;
};

}  // namespace slash32
