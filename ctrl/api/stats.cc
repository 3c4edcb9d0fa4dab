// SPDX-License-Identifier: Apache-2.0
// stats, worker.stages: counters of workers, ports and drops.
#include "ctrl/api/api.h"
#include "ctrl/rpc/clock_text.h"
#include "ctrl/rpc/decode.h"
#include "dp/abi/counters.h"

#include <fmt/format.h>

#include <algorithm>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Path;
using rpc::PortName;
using rpc::Reply;
using rpc::Session;

namespace {

enum class Section : uint8_t { kWorkers, kPorts, kDrops };
constexpr rpc::OneOf kSections{std::pair{std::string_view("workers"), Section::kWorkers},
                               std::pair{std::string_view("ports"), Section::kPorts},
                               std::pair{std::string_view("drops"), Section::kDrops}};

Json stages_json(const std::vector<StageStats>& stages) {
    Json out = Json::array();
    for (const StageStats& stage : stages) {
        out.push_back({{"name", stage.name},
                       {"cycles", stage.cycles},
                       {"packets", stage.packets},
                       {"bursts", stage.bursts}});
    }
    return out;
}

Json worker_json(const WorkerStats& worker) {
    Json out = {{"id", worker.id},
                {"core", worker.core},
                {"state", worker.asleep ? "asleep" : "polling"},
                {"rx_packets", worker.rx_packets},
                {"tx_packets", worker.tx_packets},
                {"dropped_packets", worker.dropped_packets},
                {"punted_packets", worker.punted_packets},
                {"consumed_packets", worker.consumed_packets},
                {"busy_cycles", worker.busy_cycles},
                {"idle_cycles", worker.idle_cycles},
                {"busy_percent", worker.busy_percent},
                {"cycles_per_packet", worker.cycles_per_packet},
                {"wakeups", worker.wakeups},
                {"rx_queues", worker.rx_queues},
                {"stages_enabled", worker.stages_enabled}};
    if (!worker.stages.empty()) out["stages"] = stages_json(worker.stages);
    return out;
}

Json port_stats_json(const std::string& name, const PortStats& stats) {
    Json drops = Json::object();
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        if (stats.drops[i] != 0) drops[std::string(kDropReasonTexts[i].name)] = stats.drops[i];
    }
    return {{"name", name},
            {"rx_packets", stats.rx_packets},
            {"rx_bytes", stats.rx_bytes},
            {"tx_packets", stats.tx_packets},
            {"tx_bytes", stats.tx_bytes},
            {"rx_dropped", stats.rx_dropped},
            {"tx_dropped", stats.tx_dropped},
            {"punted", stats.punted},
            {"consumed", stats.consumed},
            {"drops", std::move(drops)}};
}

}  // namespace

void Api::stats(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::vector<Section> sections{Section::kWorkers, Section::kPorts, Section::kDrops};
    std::optional<std::string> port;
    fields.optional("sections", sections, Count{1, 3}, kSections)
        .optional("port", port, PortName{});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    const State& state = intent_.state();
    if (port && state.ports.find(*port) == PortTable::kNone) {
        return reply.error(
            {ErrorCode::kNotFound, "$.params.port", fmt::format("there is no port {}", *port)});
    }
    const auto wanted = [&](Section section) { return std::ranges::count(sections, section) != 0; };
    Json result = {{"seq", events_.seq()}, {"time", rpc::now_text()}};
    if (wanted(Section::kWorkers)) {
        Json& workers = result["workers"] = Json::array();
        for (const WorkerStats& worker : telemetry_.workers())
            workers.push_back(worker_json(worker));
    }
    if (!wanted(Section::kPorts) && !wanted(Section::kDrops)) return reply.ok(std::move(result));
    Json ports = Json::array();
    std::array<uint64_t, kDropReasonCount> totals{};
    state.ports.visit_all([&](uint16_t, const PortSlot& slot) {
        if (slot.id == kNoPort || (port && slot.name != *port)) return;
        const PortStats stats = telemetry_.port(slot.id);
        for (size_t i = 0; i < kDropReasonCount; ++i)
            totals[i] += stats.drops[i];
        if (wanted(Section::kPorts)) ports.push_back(port_stats_json(slot.name, stats));
    });
    if (wanted(Section::kPorts)) result["ports"] = std::move(ports);
    if (wanted(Section::kDrops)) {
        Json& drops = result["drops"] = Json::array();
        for (size_t i = 0; i < kDropReasonCount; ++i) {
            if (totals[i] == 0) continue;
            drops.push_back({{"reason", kDropReasonTexts[i].name},
                             {"description", kDropReasonTexts[i].description},
                             {"packets", totals[i]}});
        }
    }
    reply.ok(std::move(result));
}

void Api::worker_stages(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    bool enabled = false;
    fields.required("enabled", enabled);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    telemetry_.enable_stages(enabled, [enabled, done = answer(std::move(reply))] {
        done(Json{{"enabled", enabled}, {"sampling", kStageSampling}});
    });
}

}  // namespace slash32
