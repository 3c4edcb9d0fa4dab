// SPDX-License-Identifier: Apache-2.0
// status, memory, rings, log.get, log.set: the daemon itself.
#include "ctrl/api/api.h"
#include "ctrl/log/log.h"
#include "ctrl/rpc/decode.h"

#include <unistd.h>

#include <chrono>
#include <cmath>

namespace slash32 {

using rpc::Fields;
using rpc::Json;
using rpc::Length;
using rpc::Path;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr double kPercentSteps = 10;  // one digit behind the point

Json store_json(const StoreStatus& store) {
    constexpr const char* kNames[] = {"ok", "memory", "set_aside", "failed"};
    Json out = {{"state", kNames[static_cast<size_t>(store.state)]}};
    if (!store.path.empty()) out["path"] = store.path;
    if (!store.detail.empty()) out["detail"] = store.detail;
    return out;
}

Json owners_json(const State& state) {
    Json out = Json::array();
    state.owners.visit([&](const std::string& name, const OwnerCounts& counts) {
        if (!counts.any()) return;
        out.push_back({{"owner", name},
                       {"ports", counts.ports},
                       {"routes", counts.routes},
                       {"neighbors", counts.neighbors},
                       {"groups", counts.groups},
                       {"vrfs", counts.vrfs},
                       {"stale", counts.stale}});
    });
    return out;
}

double rounded(double percent) {
    return std::round(percent * kPercentSteps) / kPercentSteps;
}

Json log_json() {
    Json modules = Json::array();
    for (const auto& [module, level] : log_levels()) {
        modules.push_back({{"module", module}, {"level", level}});
    }
    return {{"modules", std::move(modules)}};
}

}  // namespace

void Api::status(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    const State& state = intent_.state();
    std::array<uint64_t, 4> states{};
    uint64_t uplinks = 0;
    PortStats traffic;
    uint64_t dropped = 0;
    state.ports.visit_all([&](uint16_t, const PortSlot& slot) {
        if (slot.is_uplink()) {
            ++uplinks;
        } else if (!slot.host_view) {
            ++states[static_cast<size_t>(actual_of(slot).state)];
        }
        if (slot.id == kNoPort) return;
        const PortStats port = telemetry_.port(slot.id);
        traffic.rx_packets += port.rx_packets;
        traffic.rx_bytes += port.rx_bytes;
        traffic.tx_packets += port.tx_packets;
        traffic.tx_bytes += port.tx_bytes;
        dropped += port.rx_dropped;
    });
    Json workers = Json::array();
    for (const WorkerStats& worker : telemetry_.workers()) {
        workers.push_back({{"id", worker.id},
                           {"core", worker.core},
                           {"state", worker.asleep ? "asleep" : "polling"},
                           {"busy_percent", rounded(worker.busy_percent)}});
    }
    const MemoryStats memory = telemetry_.memory();
    Json warnings = warnings_;
    for (const std::string& problem : intent_.problems())
        warnings.push_back(problem);
    const int64_t now_ns = std::chrono::steady_clock::now().time_since_epoch().count();
    reply.ok(
        {{"version", info_.version},
         {"instance", info_.instance},
         {"pid", getpid()},
         {"started", info_.started},
         {"uptime_s", (now_ns - started_ns_) / 1'000'000'000},
         {"seq", events_.seq()},
         {"revision", state.revision},
         {"store", store_json(intent_.store_status())},
         {"owners", owners_json(state)},
         {"ports",
          {{"total", state.ports_wanted()},
           {"waiting", states[static_cast<size_t>(PortState::kWaiting)]},
           {"connected", states[static_cast<size_t>(PortState::kConnected)]},
           {"running", states[static_cast<size_t>(PortState::kRunning)]},
           {"failed", states[static_cast<size_t>(PortState::kFailed)]},
           {"uplinks", uplinks}}},
         {"routes",
          {{"ipv4", state.routes.size(Family::kIpv4)}, {"ipv6", state.routes.size(Family::kIpv6)}}},
         {"neighbors", state.neighbors.size()},
         {"workers", std::move(workers)},
         {"traffic",
          {{"rx_packets", traffic.rx_packets},
           {"rx_bytes", traffic.rx_bytes},
           {"tx_packets", traffic.tx_packets},
           {"tx_bytes", traffic.tx_bytes},
           {"dropped_packets", dropped}}},
         {"memory",
          {{"rss_bytes", memory.rss_bytes},
           {"hugepages_bytes", memory.hugepages_bytes},
           {"mbufs", memory.mbufs},
           {"mbufs_free", memory.mbufs_free}}},
         {"warnings", std::move(warnings)}});
}

void Api::rings(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    Json rings = Json::array();
    for (const RingStats& ring : telemetry_.rings()) {
        rings.push_back({{"worker", ring.worker},
                         {"entries", ring.entries},
                         {"depth", ring.depth},
                         {"pushed", ring.pushed},
                         {"acknowledged", ring.acknowledged},
                         {"lag", ring.pushed - ring.acknowledged},
                         {"waits", ring.waits},
                         {"asleep", ring.asleep}});
    }
    reply.ok({{"rings", std::move(rings)}});
}

void Api::offload(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    Json uplinks = Json::array();
    intent_.state().ports.visit_all([&](uint16_t, const PortSlot& slot) {
        if (!slot.is_uplink() || slot.id == kNoPort || slot.uplink->is_vlan()) return;
        Json rules = Json::array();
        for (const DeviceOffload& offload : plane_.device_offloads(slot.id)) {
            rules.push_back(
                {{"rule", offload.rule}, {"by", offload.hardware ? "hardware" : "software"}});
            if (!offload.reason.empty()) rules.back()["reason"] = offload.reason;
        }
        uplinks.push_back({{"uplink", slot.name}, {"rules", std::move(rules)}});
    });
    reply.ok({{"uplinks", std::move(uplinks)}});
}

void Api::memory(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    const MemoryStats memory = telemetry_.memory();
    Json pools = Json::array();
    for (const PoolStats& pool : memory.pools) {
        pools.push_back({{"name", pool.name},
                         {"size", pool.size},
                         {"available", pool.available},
                         {"element_bytes", pool.element_bytes}});
    }
    Json tables = Json::array();
    const auto add = [&](const TableStats& table) {
        tables.push_back({{"name", table.name},
                          {"used", table.used},
                          {"capacity", table.capacity},
                          {"bytes", table.bytes}});
    };
    for (const TableStats& table : memory.tables)
        add(table);
    const State& state = intent_.state();
    add({"rib", state.routes.size(), 2 * (kMaxHostRoutes + kMaxPrefixes),
         state.routes.memory_bytes()});
    reply.ok({{"rss_bytes", memory.rss_bytes},
              {"hugepages_bytes", memory.hugepages_bytes},
              {"pools", std::move(pools)},
              {"tables", std::move(tables)}});
}

void Api::log_get(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    reply.ok(log_json());
}

void Api::log_set(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::string level;
    std::string module;
    fields.required("level", level, Length{1, 16}).optional("module", module, Length{1, 32});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    if (auto ok = set_log_level(module, level); !ok) {
        Error error = ok.error();
        error.path = "$.params." + error.path;
        return reply.error(std::move(error));
    }
    reply.ok(log_json());
}

}  // namespace slash32
