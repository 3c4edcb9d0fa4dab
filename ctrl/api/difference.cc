// SPDX-License-Identifier: Apache-2.0
// What a dry run answers: a change set as JSON.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/intent/group_json.h"
#include "ctrl/intent/port_json.h"
#include "ctrl/intent/vrf_json.h"

namespace slash32 {

using rpc::Json;

namespace {

constexpr size_t kObjectsMax = 1000;

Json changed_fields(const Json& from, const Json& to) {
    Json fields = Json::object();
    for (const auto& [key, value] : to.items()) {
        const auto old = from.find(key);
        if (old != from.end() && *old == value) continue;
        fields[key] = {{"from", old != from.end() ? *old : Json()}, {"to", value}};
    }
    for (const auto& [key, value] : from.items()) {
        if (!to.contains(key)) fields[key] = {{"from", value}, {"to", Json()}};
    }
    return fields;
}

}  // namespace

Json Api::difference(const ChangeSet& change) const {
    const State& state = intent_.state();
    const ChangeCounts counts = change.counts();
    Json objects = Json::array();
    bool truncated = false;
    const auto add = [&](Json object, bool had, bool has, auto&& from, auto&& to) {
        object["op"] = op_name(had, has);
        if (had && has) object["fields"] = changed_fields(from(), to());
        objects.push_back(std::move(object));
    };
    const auto full = [&] { return truncated = objects.size() >= kObjectsMax; };
    for (const VrfChange& vrf : change.vrfs) {
        if (full()) break;
        add(
            {{"object", "vrf"}, {"vrf", vrf.id.value()}}, vrf.before != nullptr,
            vrf.after != nullptr, [&] { return to_json(vrf.before->intent); },
            [&] { return to_json(vrf.after->intent); });
    }
    for (const PortChange& port : change.ports) {
        if (full()) break;
        add(
            {{"object", "port"}, {"name", state.ports.at(port.port).name}}, port.before != nullptr,
            port.after != nullptr, [&] { return to_json(port.before->intent); },
            [&] { return to_json(port.after->intent); });
    }
    for (const RouteChange& route : change.routes) {
        const bool had = route.had && route.before.origin_port == 0;
        const bool has = route.has && route.after.origin_port == 0;
        if (!had && !has) continue;
        if (full()) break;
        const auto describe = [&](RouteValue value) {
            return Json{{"next_hop", next_hop_json(value.hop)},
                        {"owner", state.owners.name(value.owner)}};
        };
        add(
            {{"object", "route"},
             {"vrf", route.key.vrf.value()},
             {"prefix", to_string(route.key.prefix)}},
            had, has, [&] { return describe(route.before); },
            [&] { return describe(route.after); });
    }
    for (const NeighborChange& neighbor : change.neighbors) {
        if (full()) break;
        const auto describe = [&](const NeighborRecord& record) {
            return Json{{"mac", to_string(record.mac)}, {"owner", state.owners.name(record.owner)}};
        };
        add(
            {{"object", "neighbor"},
             {"port", state.ports.at(neighbor.key.port).name},
             {"address", to_string(neighbor.key.address)}},
            neighbor.before.has_value(), neighbor.after.has_value(),
            [&] { return describe(*neighbor.before); }, [&] { return describe(*neighbor.after); });
    }
    const auto object_of = [](const GroupKey& key) {
        return Json{{"object", key.kind == GroupKind::kSecurityGroup ? "sg" : "addrset"},
                    {"name", key.name}};
    };
    for (const GroupChange& group : change.groups) {
        if (full()) break;
        add(
            object_of(group.key), group.before != nullptr, group.after != nullptr,
            [&] { return to_json(group.before->intent); },
            [&] { return to_json(group.after->intent); });
    }
    for (const MemberChange& members : change.members) {
        if (full()) break;
        Json object = object_of(members.key);
        object["op"] = "members";
        object["members"] = {{"added", members.added.size()}, {"removed", members.removed.size()}};
        objects.push_back(std::move(object));
    }
    return {{"added", counts.added},     {"changed", counts.changed},
            {"removed", counts.removed}, {"unchanged", counts.unchanged},
            {"truncated", truncated},    {"objects", std::move(objects)}};
}

}  // namespace slash32
