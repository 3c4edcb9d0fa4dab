// SPDX-License-Identifier: Apache-2.0
// slash32ctl host show|routes|drain|undrain.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <memory>
#include <string>
#include <vector>

namespace slash32::cli {
namespace {

void print_host(Context& context, const Json& host) {
    Sheet sheet;
    const std::string drain = text_at(host, "drain");
    if (drain == "none") {
        sheet.line("drain", "none");
    } else {
        sheet.line("drain", fmt::format("{}: new ports are refused", drain));
    }
    if (const auto announce = host.find("announce"); announce != host.end()) {
        sheet.line("announced", fmt::format("{} routes", number_at(*announce, "routes")));
        sheet.line("problem", text_at(*announce, "problem"));
    }
    if (const auto kernel = host.find("kernel"); kernel != host.end()) {
        sheet.line(
            "kernel routes",
            fmt::format("{} prefixes by {} sets of next hops, {} unresolved, {} without room",
                        number_at(*kernel, "prefixes"), number_at(*kernel, "groups"),
                        number_at(*kernel, "unresolved"), number_at(*kernel, "failed")));
        sheet.line("netlink",
                   fmt::format("{} messages, {} unknown, {} dumps, {} overruns",
                               number_at(*kernel, "messages"), number_at(*kernel, "unknown"),
                               number_at(*kernel, "dumps"), number_at(*kernel, "overruns")));
    }
    if (const auto neighbors = host.find("neighbors"); neighbors != host.end()) {
        sheet.line("neighbours",
                   fmt::format("{} known, {} do not answer", number_at(*neighbors, "known"),
                               number_at(*neighbors, "failed")));
        sheet.line("packets to new ones", fmt::format("{} held, {} sent on, {} lost",
                                                      number_at(*neighbors, "packets_held"),
                                                      number_at(*neighbors, "packets_released"),
                                                      number_at(*neighbors, "packets_lost")));
    }
    sheet.print(context.out);
}

// "via 192.0.2.1 dev up0 weight 2", the ways of a route one after the other.
std::string ways_text(const Json& route) {
    if (const int64_t object = number_at(route, "next_hop_object"); object != 0)
        return fmt::format("nhid {}", object);
    std::vector<std::string> ways;
    for (const Json& way : array_at(route, "ways")) {
        const int64_t weight = number_at(way, "weight");
        std::string lead = text_at(way, "via");
        if (!lead.empty()) lead = fmt::format("via {} ", lead);
        std::vector<std::string> segments;
        for (const Json& segment : array_at(way, "segments"))
            segments.push_back(segment.get<std::string>());
        if (!segments.empty()) lead = fmt::format("segs {} ", fmt::join(segments, ","));
        if (bool_at(way, "segment")) lead += "segment ";
        ways.push_back(fmt::format("{}dev {}{}", lead, text_at(way, "interface"),
                                   weight > 1 ? fmt::format(" weight {}", weight) : ""));
    }
    return ways.empty() ? text_at(route, "type") : fmt::format("{}", fmt::join(ways, ", "));
}

void list_kernel_routes(Context& context, const Json& params) {
    const auto result = context.list("host.routes", "routes", params);
    if (!result || context.print_json(*result)) return;
    Table table({"VRF", "PREFIX", "TABLE", "METRIC", "LEADS", "WAYS"});
    for (const Json& route : array_at(*result, "routes")) {
        const char* leads = !bool_at(route, "used")      ? "unused"
                            : bool_at(route, "resolved") ? "yes"
                                                         : "nowhere";
        table.row({std::to_string(number_at(route, "vrf")), text_at(route, "prefix"),
                   std::to_string(number_at(route, "table")),
                   std::to_string(number_at(route, "metric")), leads, ways_text(route)});
    }
    table.print(context.out);
}

void call_and_print(Context& context, const char* method, const Json& params) {
    const auto result = context.call(method, params);
    if (!result || context.print_json(*result)) return;
    print_host(context, *result);
}

}  // namespace

void add_host(CLI::App& app, Context& context) {
    CLI::App* host =
        app.add_subcommand("host", "The host as a whole: show, routes, drain, undrain");
    host->require_subcommand(1);
    host->add_subcommand("show", "Its routes, out and in, and its neighbours")
        ->callback([&context] { call_and_print(context, "host.status", Json::object()); });
    struct RouteOptions {
        int64_t vrf = -1;
        std::string within;
        bool unresolved = false;
    };
    auto o = std::make_shared<RouteOptions>();
    CLI::App* routes = host->add_subcommand("routes", "The kernel's routes, as they are followed");
    routes->add_option("--vrf", o->vrf, "Only of this VRF");
    routes->add_option("--within", o->within, "Only within this prefix");
    routes->add_flag("--unresolved", o->unresolved, "Only those that lead nowhere");
    routes->callback([&context, o] {
        Json params = Json::object();
        if (o->vrf >= 0) params["vrf"] = o->vrf;
        if (!o->within.empty()) params["within"] = o->within;
        if (o->unresolved) params["unresolved"] = true;
        list_kernel_routes(context, params);
    });
    CLI::App* drain =
        host->add_subcommand("drain", "Withdraw the routes of all VMs, and refuse new ports");
    const auto worsen = std::make_shared<bool>(false);
    drain->add_flag("--worsen", *worsen, "Make the routes the worse way instead");
    drain->callback([&context, worsen] {
        call_and_print(context, "host.drain", {{"mode", *worsen ? "worsen" : "withdraw"}});
    });
    host->add_subcommand("undrain", "Back into service")->callback([&context] {
        call_and_print(context, "host.undrain", Json::object());
    });
}

}  // namespace slash32::cli
