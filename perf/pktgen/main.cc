// SPDX-License-Identifier: Apache-2.0
// s32-pktgen: the traffic generator. perf/README.md shows how it is used. One JSON object a line on
// standard output: "measuring" when the warm-up is over, then the result.
#include "perf/pktgen/device.h"
#include "perf/pktgen/engine.h"
#include "perf/pktgen/options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <rte_cycles.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>

namespace slash32::pktgen {
namespace {

constexpr int kUnreachable = 1;
constexpr int kNoDevice = 3;

std::atomic<bool> stop_requested{false};

void on_signal(int) {
    stop_requested = true;
}

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

nlohmann::json to_json(const Options& options, const Measurement& m) {
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
    return {{"event", "result"},
            {"ok", true},
            {"seconds", m.seconds},
            {"bytes", options.frame_bytes},
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
}

// The reason, and the end of the process.
[[noreturn]] void give_up(Devices& devices, const Error& error, int status) {
    const std::string message = fmt::format("{}: {}", error.path, error.message);
    fmt::print(stderr, "s32-pktgen: {}\n", message);
    fmt::print("{}\n",
               nlohmann::json{{"event", "result"}, {"ok", false}, {"error", message}}.dump());
    std::fflush(nullptr);
    devices.abandon();
    _exit(status);
}

int run(const Options& options) {
    Devices devices;
    if (auto opened = devices.open(options); !opened) give_up(devices, opened.error(), kNoDevice);
    if (auto up = devices.wait_links(options.connect_seconds); !up)
        give_up(devices, up.error(), kUnreachable);
    Engine engine(options, devices);
    if (auto resolved = engine.resolve_gateways(); !resolved)
        give_up(devices, resolved.error(), kUnreachable);
    const auto measured = engine.run(stop_requested, [] {
        // Scripts read the router's own counters over the same time.
        fmt::print("{}\n", nlohmann::json{{"event", "measuring"}}.dump());
        std::fflush(stdout);
    });
    if (!measured) give_up(devices, measured.error(), kUnreachable);
    fmt::print("{}\n", to_json(options, *measured).dump());
    std::fflush(stdout);
    return 0;
}

}  // namespace
}  // namespace slash32::pktgen

int main(int argc, char** argv) {
    using namespace slash32::pktgen;  // NOLINT: a main file
    Options options;
    if (const auto status = parse_command_line(argc, argv, options)) return *status;
    // Without SA_RESTART: a wait for a backend ends as well.
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);  // a backend that has gone is seen by its link
    return run(options);
}
