// SPDX-License-Identifier: Apache-2.0
// s32-pktgen: the traffic generator. perf/README.md shows how it is used. One JSON object a line on
// standard output: "measuring" when the warm-up is over, then the result.
#include "perf/pktgen/device.h"
#include "perf/pktgen/engine.h"
#include "perf/pktgen/options.h"
#include "perf/pktgen/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>

namespace slash32::pktgen {
namespace {

constexpr int kUnreachable = 1;
constexpr int kBadOption = 2;
constexpr int kNoDevice = 3;

std::atomic<bool> stop_requested{false};

void on_signal(int) {
    stop_requested = true;
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

void print(const nlohmann::json& line) {
    fmt::print("{}\n", line.dump());
    std::fflush(stdout);
}

int run(const Options& options) {
    Csv csv;
    if (auto opened = csv.open(options.csv); !opened) {
        fmt::print(stderr, "s32-pktgen: {}: {}\n", opened.error().path, opened.error().message);
        return kBadOption;
    }
    Devices devices;
    if (auto opened = devices.open(options); !opened) give_up(devices, opened.error(), kNoDevice);
    if (auto up = devices.wait_links(options.connect_seconds); !up)
        give_up(devices, up.error(), kUnreachable);
    Engine engine(options, devices);
    if (isatty(STDERR_FILENO) != 0) {
        engine.on_progress([](const Progress& progress) {
            fmt::print(stderr, "{:6.0f} s  {:8.3f} Mpps\n", progress.seconds,
                       progress.received_pps / 1e6);
        });
    }
    if (auto resolved = engine.resolve_gateways(); !resolved)
        give_up(devices, resolved.error(), kUnreachable);
    if (options.search) {
        const auto senders = static_cast<double>(engine.senders());
        const auto found = engine.search(stop_requested, [&](const Trial& trial) {
            print(trial_json(trial, senders));
            csv.add(options, trial, senders);
        });
        if (!found) give_up(devices, found.error(), kUnreachable);
        print(search_json(options, *found, senders));
        return 0;
    }
    const auto measured = engine.run(stop_requested, [] {
        // Scripts read the router's own counters over the same time.
        print({{"event", "measuring"}});
    });
    if (!measured) give_up(devices, measured.error(), kUnreachable);
    print(result_json(options, *measured));
    csv.add(options, *measured);
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
