// SPDX-License-Identifier: Apache-2.0
// slash32ctl status: the daemon on one screen.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>

namespace slash32::cli {
namespace {

// More workers than this are summed up: the screen has 24 lines.
constexpr size_t kWorkersShown = 6;

void workers_line(const Json& workers, Sheet& sheet) {
    for (size_t i = 0; i < std::min(workers.size(), kWorkersShown); ++i) {
        const Json& worker = workers[i];
        sheet.line(
            fmt::format("worker {}", number_at(worker, "id")),
            fmt::format("core {}, {}, {} % busy", number_at(worker, "core"),
                        text_at(worker, "state"), plain(worker.value("busy_percent", Json(0)))));
    }
    if (workers.size() > kWorkersShown) {
        sheet.line("", fmt::format("and {} more: slash32ctl show workers",
                                   workers.size() - kWorkersShown));
    }
}

std::string owners_text(const Json& owners) {
    std::string out;
    for (const Json& owner : owners) {
        out += out.empty() ? "" : "; ";
        out += fmt::format("{}: {} ports, {} routes, {} neighbours", text_at(owner, "owner"),
                           number_at(owner, "ports"), number_at(owner, "routes"),
                           number_at(owner, "neighbors"));
        if (const uint64_t stale = number_at(owner, "stale"); stale > 0) {
            out += fmt::format(" ({} stale)", stale);
        }
    }
    return out;
}

void show_status(Context& context) {
    const auto result = context.call("status");
    if (!result || context.print_json(*result)) return;
    const Json& ports = object_at(*result, "ports");
    const Json& routes = object_at(*result, "routes");
    const Json& traffic = object_at(*result, "traffic");
    const Json& memory = object_at(*result, "memory");
    const Json& store = object_at(*result, "store");
    Sheet sheet;
    sheet.line("slash32d", fmt::format("{}, pid {}, up {}", text_at(*result, "version"),
                                       number_at(*result, "pid"),
                                       human_seconds(number_at(*result, "uptime_s"))));
    sheet.line("instance", fmt::format("{}, revision {}, event {}", text_at(*result, "instance"),
                                       number_at(*result, "revision"), number_at(*result, "seq")));
    const std::string detail = text_at(store, "detail");
    sheet.line("store", text_at(store, "state") + (detail.empty() ? "" : ": " + detail));
    sheet.line("ports", fmt::format("{} running, {} connected, {} waiting, {} failed; {} uplinks",
                                    number_at(ports, "running"), number_at(ports, "connected"),
                                    number_at(ports, "waiting"), number_at(ports, "failed"),
                                    number_at(ports, "uplinks")));
    sheet.line("routes", fmt::format("{} IPv4, {} IPv6; {} neighbours", number_at(routes, "ipv4"),
                                     number_at(routes, "ipv6"), number_at(*result, "neighbors")));
    sheet.line("owners", owners_text(array_at(*result, "owners")));
    workers_line(array_at(*result, "workers"), sheet);
    sheet.line(
        "traffic",
        fmt::format("{} packets in, {} out, {} dropped", number_at(traffic, "rx_packets"),
                    number_at(traffic, "tx_packets"), number_at(traffic, "dropped_packets")));
    sheet.line("memory", fmt::format("{} resident, {} of hugepages, {} of {} mbufs free",
                                     human_bytes(number_at(memory, "rss_bytes")),
                                     human_bytes(number_at(memory, "hugepages_bytes")),
                                     number_at(memory, "mbufs_free"), number_at(memory, "mbufs")));
    for (const Json& warning : array_at(*result, "warnings")) {
        sheet.line("warning", plain(warning));
    }
    sheet.print(context.out);
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
    app.add_subcommand("status", "The daemon on one screen")->callback([&context] {
        show_status(context);
    });
}

}  // namespace slash32::cli
