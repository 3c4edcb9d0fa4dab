// SPDX-License-Identifier: Apache-2.0
// port.apply, port.delete, port.get, port.list.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/intent/port_json.h"
#include "ctrl/rpc/clock_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::PortName;
using rpc::Range;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr rpc::OneOf kKinds{std::pair{std::string_view("vhost"), PortKind::kVhost},
                            std::pair{std::string_view("tap"), PortKind::kTap},
                            std::pair{std::string_view("uplink"), PortKind::kUplink},
                            std::pair{std::string_view("host"), PortKind::kHost}};
constexpr rpc::OneOf kStates{std::pair{std::string_view("waiting"), PortState::kWaiting},
                             std::pair{std::string_view("connected"), PortState::kConnected},
                             std::pair{std::string_view("running"), PortState::kRunning},
                             std::pair{std::string_view("failed"), PortState::kFailed}};

std::string_view state_name(PortState state) {
    for (const auto& [name, value] : kStates.names) {
        if (value == state) return name;
    }
    return "";
}

PortKind kind_of(const PortSlot& slot) {
    if (slot.host_view) return PortKind::kHost;
    return slot.is_uplink() ? PortKind::kUplink : slot.record->intent.kind;
}

std::string bond_name(BondMode mode) {
    const auto* found =
        std::ranges::find(kBondModes, mode, &std::pair<std::string_view, BondMode>::second);
    return std::string(found->first);
}

Json uplink_json(const UplinkSpec& uplink) {
    Json out = {{"name", uplink.name},
                {"vrf", uplink.vrf.value()},
                {"mtu", uplink.mtu},
                {"queues", uplink.queues},
                {"mode", uplink.l2 ? "l2" : "l3"},
                {"owner", std::string(kUplinkOwner)},
                {"addresses", Json::array()}};
    if (uplink.is_vlan()) {
        out["parent"] = uplink.parent;
        out["vlan"] = uplink.vlan;
    } else if (uplink.bond != BondMode::kNone) {
        out["bond"] = bond_name(uplink.bond);
        out["members"] = uplink.members;
    } else {
        out["devargs"] = uplink.devargs;
    }
    if (uplink.mac) out["mac"] = to_string(*uplink.mac);
    for (const IpAddress& address : uplink.addresses) {
        out["addresses"].push_back(to_string(address));
    }
    return out;
}

Json device_json(const DeviceCounters& device) {
    return {{"rx_missed", device.rx_missed},
            {"rx_errors", device.rx_errors},
            {"rx_no_buffer", device.rx_no_buffer},
            {"tx_errors", device.tx_errors}};
}

Json actual_json(const PortActual& actual, const PortSlot& slot) {
    using std::chrono::milliseconds;
    using std::chrono::system_clock;
    Json out = {{"state", std::string(state_name(actual.state))},
                {"programmed", actual.programmed},
                {"wired", actual.wired()},
                {"stale", slot.stale},
                {"revision", slot.record ? slot.record->revision : 0},
                {"since", rpc::time_text(system_clock::time_point(milliseconds(actual.since_ms)))}};
    if (!actual.reason.empty()) out["reason"] = actual.reason;
    if (!actual.last_error.empty()) out["last_error"] = actual.last_error;
    if (actual.mtu != 0) out["mtu"] = actual.mtu;
    if (actual.link) {
        out["link"] = {{"losses", actual.link->losses}};
        if (actual.link->speed_mbps != 0) out["link"]["speed_mbps"] = actual.link->speed_mbps;
    }
    if (actual.queues != 0) out["queues"] = actual.queues;
    if (!actual.features.empty()) out["features"] = actual.features;
    return out;
}

}  // namespace

PortActual Api::actual_of(const PortSlot& slot) const {
    if (slot.id != kNoPort) return plane_.actual(slot.id);
    PortActual failed;
    failed.state = PortState::kFailed;
    failed.reason = slot.failure;
    return failed;
}

Json Api::port_json(const PortSlot& slot) {
    const PortStats stats = slot.id != kNoPort ? telemetry_.port(slot.id) : PortStats{};
    Json actual = actual_json(actual_of(slot), slot);
    if (announce_ != nullptr && slot.id != kNoPort) {
        Json& announced = actual["announced"] = Json::array();
        for (const IpAddress& address : announce_->announced(slot.id))
            announced.push_back(to_string(address));
    }
    Json counters = {{"rx_packets", stats.rx_packets}, {"rx_bytes", stats.rx_bytes},
                     {"tx_packets", stats.tx_packets}, {"tx_bytes", stats.tx_bytes},
                     {"rx_dropped", stats.rx_dropped}, {"tx_dropped", stats.tx_dropped}};
    if (slot.is_uplink() && slot.id != kNoPort)
        counters["device"] = device_json(plane_.device_counters(slot.id));
    return {{"name", slot.name},
            {"id", slot.id.value()},
            {"kind", std::string(kind_name(kind_of(slot)))},
            {"desired",
             slot.is_configured() ? uplink_json(*slot.uplink) : to_json(slot.record->intent)},
            {"actual", std::move(actual)},
            {"counters", std::move(counters)}};
}

void Api::port_apply(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    PortApply request;
    WriteOptions options;
    // `owner` is one of the port's own members.
    request.intent.owner = options.owner;
    read_port(fields, request.intent);
    fields.optional("force", options.force)
        .optional("dry_run", options.dry_run)
        .optional("sync", options.sync);
    auto ok = fields.done();
    if (ok) ok = finish_port(params, path, request.intent);
    if (ok) ok = check_write_options(options);
    if (!ok) return reply.error(ok.error());
    options.owner = request.intent.owner;
    request.force = options.force;
    if (options.sync) return stage(session, options, std::move(request), std::move(reply));
    const std::string name = request.intent.name;
    change(options, std::move(request), std::move(reply), [name](const Done& done) {
        return Json{{"change", std::string(change_name(done))},
                    {"name", name},
                    {"id", done.port.value()},
                    {"revision", done.revision},
                    {"seq", done.seq},
                    {"programmed", true}};
    });
}

void Api::port_delete(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    PortDelete request;
    WriteOptions options;
    fields.required("name", request.name, Name{15});
    read_write_options(fields, options, false);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    request.owner = options.owner;
    request.force = options.force;
    const std::string name = request.name;
    change(options, std::move(request), std::move(reply), [name](const Done& done) {
        return Json{{"change", "removed"},
                    {"name", name},
                    {"revision", done.revision},
                    {"seq", done.seq},
                    {"programmed", true}};
    });
}

void Api::port_get(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::string name;
    fields.required("name", name, PortName{});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    intent_.read([this, name, done = answer(std::move(reply))](State& state) {
        const uint16_t index = state.ports.find(name);
        if (index == PortTable::kNone) {
            return done(fail(ErrorCode::kNotFound, "$.params.name",
                             fmt::format("there is no port {}", name)));
        }
        done(Json{{"seq", events_.seq()}, {"port", port_json(state.ports.at(index))}});
    });
}

void Api::port_list(Session&, const Json& params, Reply reply) {
    struct Filter : ListOptions {
        std::optional<PortKind> kind;
        std::optional<uint16_t> vrf;
        std::optional<PortState> state;
        std::map<std::string, std::string> labels;
    } filter;
    const Path path("$.params");
    Fields fields(params, path);
    read_list_options(fields, filter);
    fields.optional("kind", filter.kind, kKinds)
        .optional("vrf", filter.vrf, Range{0, kMaxVrfs - 1})
        .optional("state", filter.state, kStates)
        .optional("labels", filter.labels, Count{0, 32});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());

    intent_.read([this, filter, done = answer(std::move(reply))](State& state) {
        const auto matches = [&](const PortSlot& slot) {
            const PortIntent* intent = slot.record ? &slot.record->intent : nullptr;
            const VrfId vrf = intent != nullptr ? intent->vrf : slot.uplink->vrf;
            if (filter.owner && *filter.owner != (intent ? intent->owner : kUplinkOwner)) {
                return false;
            }
            if (filter.kind && *filter.kind != kind_of(slot)) return false;
            if (filter.vrf && *filter.vrf != vrf.value()) return false;
            if (filter.state && *filter.state != actual_of(slot).state) return false;
            return std::ranges::all_of(filter.labels, [&](const auto& label) {
                if (intent == nullptr) return false;
                const auto at = intent->labels.find(label.first);
                return at != intent->labels.end() && at->second == label.second;
            });
        };
        Json ports = Json::array();
        std::string last;
        bool more = false;
        state.ports.visit_after(filter.cursor.value_or(""), [&](uint16_t, const PortSlot& slot) {
            if (!matches(slot)) return true;
            if (ports.size() == filter.limit) {
                more = true;
                return false;
            }
            ports.push_back(port_json(slot));
            last = slot.name;
            return true;
        });
        Json result = {{"seq", events_.seq()}, {"ports", std::move(ports)}};
        if (more) result["cursor"] = last;
        done(std::move(result));
    });
}

}  // namespace slash32
