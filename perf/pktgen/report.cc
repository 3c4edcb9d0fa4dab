// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/report.h"

#include <fmt/format.h>
#include <rte_cycles.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace slash32::pktgen {
namespace {

constexpr const char* kColumns =
    "event,bytes,flows,seconds,wanted_pps,sent_pps,received_pps,received_gbps,loss,latency_p50_ns,"
    "latency_p99_ns\n";

nlohmann::json device_json(const DeviceResult& device, double seconds) {
    return {{"sent", device.sent},
            {"sent_pps", static_cast<double>(device.sent) / seconds},
            {"received", device.received},
            {"received_pps", static_cast<double>(device.received) / seconds},
            {"received_gbps", static_cast<double>(device.received_bytes) * 8e-9 / seconds},
            {"lost", device.lost},
            {"cut", device.cut},
            {"reordered", device.reordered},
            {"duplicated", device.duplicated},
            {"other", device.other}};
}

nlohmann::json latency_json(const Histogram& cycles) {
    const double ns = 1e9 / static_cast<double>(rte_get_tsc_hz());
    const auto at = [&](double percent) {
        return static_cast<double>(cycles.percentile(percent)) * ns;
    };
    return {{"samples", cycles.count()},
            {"min", static_cast<double>(cycles.min()) * ns},
            {"mean", cycles.mean() * ns},
            {"p50", at(50)},
            {"p90", at(90)},
            {"p99", at(99)},
            {"p999", at(99.9)},
            {"max", static_cast<double>(cycles.max()) * ns}};
}

nlohmann::json connections_json(const Connections& in, double seconds, const Connections& whole) {
    return {{"begun", in.begun},
            {"opened", in.opened},
            {"closed", in.closed},
            {"reset", in.reset},
            {"closed_per_second", static_cast<double>(in.closed) / seconds},
            {"whole_run",
             {{"begun", whole.begun},
              {"closed", whole.closed},
              {"unfinished", whole.begun - std::min(whole.begun, whole.closed)}}}};
}

size_t frame_bytes(const Options& options) {
    if (!options.tcp) return options.frame_bytes;
    return is_ipv6(options) ? kTcpFrameBytes6 : kTcpFrameBytes;
}

}  // namespace

nlohmann::json result_json(const Options& options, const Measurement& m) {
    DeviceResult sum;
    nlohmann::json devices = nlohmann::json::array();
    for (const DeviceResult& device : m.devices) {
        devices.push_back(device_json(device, m.seconds));
        sum.sent += device.sent;
        sum.received += device.received;
        sum.received_bytes += device.received_bytes;
        sum.lost += device.lost;
        sum.cut += device.cut;
        sum.reordered += device.reordered;
        sum.duplicated += device.duplicated;
        sum.other += device.other;
    }
    nlohmann::json result = {
        {"event", "result"},
        {"ok", true},
        {"seconds", m.seconds},
        {"bytes", frame_bytes(options)},
        {"flows", options.flows},
        {"hugepages", options.hugepages},
        {"total", device_json(sum, m.seconds)},
        {"devices", devices},
        {"whole_run", {{"sent", m.total_sent}, {"received", m.total_received}}},
        {"generator",
         {{"core", options.core},
          {"hz", rte_get_tsc_hz()},
          {"busy_percent", m.busy_percent},
          {"cycles_per_packet", m.cycles_per_packet},
          {"ceiling_pps", m.ceiling_pps},
          {"refused_percent", m.refused_percent},
          {"bounded_by_generator", m.bounded_by_generator}}}};
    if (options.latency || options.tcp) result["latency_ns"] = latency_json(m.latency);
    if (options.tcp)
        result["connections"] = connections_json(m.connections, m.seconds, m.total_connections);
    return result;
}

nlohmann::json trial_json(const Trial& trial, double senders) {
    return {{"event", "trial"},
            {"wanted_pps", trial.wanted * senders},
            {"offered_pps", trial.offered * senders},
            {"loss", trial.loss}};
}

nlohmann::json search_json(const Options& options, const RateSearch& search, double senders) {
    nlohmann::json found = {{"loss_goal", options.goal.loss},
                            {"holds_pps", search.holds() * senders},
                            {"fails_pps", nullptr},
                            {"trials", search.trials()},
                            {"trial_seconds", options.trial_seconds},
                            {"bounded_by_generator", search.bounded()}};
    if (search.fails()) found["fails_pps"] = *search.fails() * senders;
    return {{"event", "result"},
            {"ok", true},
            {"bytes", options.frame_bytes},
            {"flows", options.flows},
            {"search", std::move(found)}};
}

Csv::~Csv() {
    if (file_ != nullptr) std::fclose(file_);
}

Result<void> Csv::open(const std::string& path) {
    if (path.empty()) return {};
    file_ = std::fopen(path.c_str(), "we");
    if (file_ == nullptr)
        return fail(ErrorCode::kInvalid, "--csv",
                    fmt::format("{}: {}", path, std::strerror(errno)));
    fmt::print(file_, kColumns);
    return {};
}

void Csv::add(const Options& options, const Measurement& m) {
    if (file_ == nullptr) return;
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t bytes = 0;
    uint64_t lost = 0;
    for (const DeviceResult& device : m.devices) {
        sent += device.sent;
        received += device.received;
        bytes += device.received_bytes;
        lost += device.lost;
    }
    const auto rate = [&](uint64_t count) { return static_cast<double>(count) / m.seconds; };
    const double ns = 1e9 / static_cast<double>(rte_get_tsc_hz());
    const auto latency = [&](double percent) {
        if (!options.latency && !options.tcp) return std::string();
        return fmt::format("{:.0f}", static_cast<double>(m.latency.percentile(percent)) * ns);
    };
    fmt::print(file_, "result,{},{},{:.3f},{:.0f},{:.0f},{:.0f},{:.4f},{:.9f},{},{}\n",
               frame_bytes(options), options.flows, m.seconds, options.rate, rate(sent),
               rate(received), rate(bytes) * 8e-9,
               sent != 0 ? static_cast<double>(lost) / static_cast<double>(sent) : 0.0, latency(50),
               latency(99));
}

void Csv::add(const Options& options, const Trial& trial, double senders) {
    if (file_ == nullptr) return;
    const double offered = trial.offered * senders;
    const double arrived = offered * (1 - trial.loss);
    fmt::print(file_, "trial,{},{},{:.3f},{:.0f},{:.0f},{:.0f},{:.4f},{:.9f},,\n",
               options.frame_bytes, options.flows, options.trial_seconds, trial.wanted * senders,
               offered, arrived, arrived * static_cast<double>(options.frame_bytes) * 8e-9,
               trial.loss);
}

}  // namespace slash32::pktgen
