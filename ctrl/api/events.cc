// SPDX-License-Identifier: Apache-2.0
// watch, and where events come from: changes of intent, the plane, refused packets.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/intent/group_json.h"
#include "ctrl/intent/port_json.h"
#include "ctrl/log/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Length;
using rpc::Path;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr size_t kHoldersMax = 65536;
constexpr auto kDeniedInterval = std::chrono::seconds(1);

// The drops that anti-spoofing makes; they stand together in drop_reason.h.
constexpr size_t kFirstDenied = static_cast<size_t>(DropReason::kSpoofedMac);
constexpr size_t kLastDenied = static_cast<size_t>(DropReason::kSegmentRouting);

Json port_members(const PortIntent& intent) {
    return {{"port", intent.name}, {"owner", intent.owner}, {"labels", intent.labels}};
}

Json port_members(const PortSlot& slot) {
    if (slot.record) return port_members(slot.record->intent);
    return {{"port", slot.name}, {"owner", std::string(kUplinkOwner)}, {"labels", Json::object()}};
}

}  // namespace

void Api::watch(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::optional<std::string> instance;
    std::optional<uint64_t> since;
    std::vector<std::string> types;
    fields.optional("instance", instance, Length{1, 64})
        .optional("since", since)
        .optional("types", types, Count{0, 32}, Length{1, 64});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    for (size_t i = 0; i < types.size(); ++i) {
        if (EventLog::is_type_pattern(types[i])) continue;
        return reply.error(
            {ErrorCode::kInvalid, fmt::format("$.params.types[{}]", i), "is not a type of event"});
    }
    const bool lost =
        (instance && *instance != info_.instance) || (since && !events_.has_all_after(*since));
    follow(session);
    reply.ok({{"instance", info_.instance}, {"seq", events_.seq()}, {"lost", lost}});
    events_.watch(session, lost || !since ? events_.seq() : *since, std::move(types));
}

uint64_t Api::on_change(const ChangeSet& change) {
    const State& state = intent_.state();
    if (change.empty() && change.kind != ChangeSet::Kind::kSync) return events_.seq();
    for (const VrfChange& vrf : change.vrfs) {
        events_.append("vrf.changed", {{"owner", change.owner},
                                       {"vrf", vrf.id.value()},
                                       {"op", op_name(vrf.before != nullptr, vrf.after != nullptr)},
                                       {"revision", change.revision}});
    }
    for (const PortChange& port : change.ports) {
        const PortIntent& intent = (port.after ? port.after : port.before)->intent;
        Json members = port_members(intent);
        members["revision"] = change.revision;
        if (port.after) members["desired"] = to_json(intent);
        events_.append(!port.before  ? "port.added"
                       : !port.after ? "port.removed"
                                     : "port.changed",
                       std::move(members));
    }
    ChangeCounts routes;
    for (const RouteChange& route : change.routes) {
        const bool had = route.had && route.before.origin_port == 0;
        const bool has = route.has && route.after.origin_port == 0;
        if (had || has) ++(!had ? routes.added : !has ? routes.removed : routes.changed);
    }
    if (routes.added + routes.changed + routes.removed > 0) {
        events_.append("route.changed", {{"owner", change.owner},
                                         {"added", routes.added},
                                         {"changed", routes.changed},
                                         {"removed", routes.removed},
                                         {"revision", change.revision}});
    }
    for (const NeighborChange& neighbor : change.neighbors) {
        events_.append("neighbor.changed",
                       {{"owner", change.owner},
                        {"port", state.ports.at(neighbor.key.port).name},
                        {"address", to_string(neighbor.key.address)},
                        {"op", op_name(neighbor.before.has_value(), neighbor.after.has_value())},
                        {"revision", change.revision}});
    }
    std::map<GroupKey, std::pair<size_t, size_t>> members;
    for (const MemberChange& one : change.members)
        members[one.key] = {one.added.size(), one.removed.size()};
    for (const GroupChange& group : change.groups)
        members.try_emplace(group.key);
    for (const auto& [key, counts] : members) {
        const auto at = std::ranges::find(change.groups, key, &GroupChange::key);
        const bool rules = at != change.groups.end();
        events_.append(
            key.kind == GroupKind::kSecurityGroup ? "sg.changed" : "addrset.changed",
            {{"owner", change.owner},
             {"name", key.name},
             {"op", op_name(!rules || at->before != nullptr, !rules || at->after != nullptr)},
             {"members_added", counts.first},
             {"members_removed", counts.second},
             {"revision", change.revision}});
    }
    if (change.kind == ChangeSet::Kind::kSync) {
        const ChangeCounts counts = change.counts();
        const uint64_t revision = change.revision != 0 ? change.revision : state.revision;
        events_.append("sync.committed", {{"owner", change.owner},
                                          {"added", counts.added},
                                          {"changed", counts.changed},
                                          {"removed", counts.removed},
                                          {"unchanged", counts.unchanged},
                                          {"revision", revision}});
    }
    return events_.seq();
}

void Api::on_plane_event(const PlaneEvent& event) {
    using Type = PlaneEvent::Type;
    const State& state = intent_.state();
    const uint16_t index = state.ports.find(event.port);
    if (index == PortTable::kNone || !state.ports.at(index).exists()) return;
    const PortSlot& slot = state.ports.at(index);
    Json members = port_members(slot);
    switch (event.type) {
        case Type::kConnected:
            events_.append("port.connected", std::move(members));
            break;
        case Type::kWired:
            events_.append("port.wired", std::move(members));
            break;
        case Type::kRingsReady:
            members["queues"] = plane_.actual(event.port).queues;
            events_.append("port.rings_ready", std::move(members));
            break;
        case Type::kDisconnected:
            members["reason"] = event.reason;
            events_.append("port.disconnected", std::move(members));
            break;
        case Type::kFailed:
            members["reason"] = event.reason;
            events_.append("port.failed", std::move(members));
            break;
        case Type::kAddressMoved:
        case Type::kAddressConflict:
            if (event.address) address_event(event, slot, std::move(members));
            break;
    }
}

void Api::address_event(const PlaneEvent& event, const PortSlot& slot, Json members) {
    const VrfId vrf = slot.record ? slot.record->intent.vrf : slot.uplink->vrf;
    members["vrf"] = vrf.value();
    members["address"] = to_string(*event.address);
    if (event.type == PlaneEvent::Type::kAddressConflict) {
        members["mac"] = to_string(event.mac);
        events_.append("address.conflict", std::move(members));
        return;
    }
    if (!slot.record) return;
    Mac mac = slot.record->intent.mac;
    for (const AllowedPair& pair : slot.record->intent.allowed_pairs) {
        if (pair.prefix.contains(*event.address)) mac = pair.mac.value_or(mac);
    }
    members["mac"] = to_string(mac);
    members["how"] = !event.reason.empty()      ? event.reason
                     : event.address->is_ipv4() ? "garp"
                                                : "na";
    const auto key = std::make_pair(vrf, *event.address);
    const auto held = holders_.find(key);
    if (held != holders_.end() && held->second != slot.name) members["from"] = held->second;
    if (held != holders_.end()) {
        held->second = slot.name;
    } else if (holders_.size() < kHoldersMax) {
        holders_.emplace(key, slot.name);
    }
    events_.append("address.moved", std::move(members));
}

void Api::start_timer() {
    timer_.expires_after(kDeniedInterval);
    timer_.async_wait([this](const asio::error_code& error) {
        if (error) return;
        report_denied();
        start_timer();
    });
}

void Api::report_denied(const DeniedPacket& packet) {
    const State& state = intent_.state();
    const uint16_t index = state.ports.find(packet.port);
    if (index == PortTable::kNone || !state.ports.at(index).record) return;
    const PortIntent& port = state.ports.at(index).record->intent;
    const std::string_view reason = kDropReasonTexts[static_cast<size_t>(packet.reason)].name;
    Json members = port_members(port);
    members["reason"] = reason;
    members["packets"] = 1;
    members["direction"] = packet.reason == DropReason::kDeniedIngress ? "ingress" : "egress";
    members["groups"] = port.groups;
    members["src"] = to_string(packet.src);
    members["dst"] = to_string(packet.dst);
    members["protocol"] = protocol_name(packet.protocol);
    if (packet.sport) members["sport"] = *packet.sport;
    if (packet.dport) members["dport"] = *packet.dport;
    log("firewall")
        .info("port {} {}: {} {} to {}{}", port.name, reason, protocol_name(packet.protocol),
              to_string(packet.src), to_string(packet.dst),
              packet.dport ? fmt::format(" port {}", *packet.dport) : "");
    events_.append("denied", std::move(members));
}

void Api::report_miss(VrfId vrf, const DeniedPacket& packet) {
    const PortTable& ports = intent_.state().ports;
    const uint16_t index = ports.find(packet.port);
    if (index == PortTable::kNone) return;
    events_.append("route.miss", {{"vrf", vrf.value()},
                                  {"dst", to_string(packet.dst)},
                                  {"src", to_string(packet.src)},
                                  {"port", ports.at(index).name}});
}

void Api::report_expired(const RouteKey& route, const std::string& owner) {
    events_.append(
        "route.expired",
        {{"vrf", route.vrf.value()}, {"prefix", to_string(route.prefix)}, {"owner", owner}});
}

void Api::report_denied() {
    const State& state = intent_.state();
    std::unordered_map<uint16_t, std::array<uint64_t, kDropReasonCount>> now;
    state.ports.visit_all([&](uint16_t, const PortSlot& slot) {
        if (slot.id == kNoPort || !slot.record) return;
        const auto& drops = telemetry_.port(slot.id).drops;
        now.emplace(slot.id.value(), drops);
        const auto old = denied_.find(slot.id.value());
        for (size_t i = kFirstDenied; i <= kLastDenied; ++i) {
            const uint64_t before = old != denied_.end() ? old->second[i] : 0;
            if (drops[i] <= before) continue;
            Json members = port_members(slot);
            members["reason"] = kDropReasonTexts[i].name;
            members["packets"] = drops[i] - before;
            events_.append("denied", std::move(members));
        }
    });
    denied_ = std::move(now);
}

}  // namespace slash32
