// SPDX-License-Identifier: Apache-2.0
// slash32ctl show ports|routes|neighbors|drops|workers|memory|rings|offload|version,
// and log.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

namespace slash32::cli {
namespace {

std::string number_text(const Json& object, const char* key) {
    const auto at = object.find(key);
    if (at == object.end() || !at->is_number()) return "-";
    return at->is_number_float() ? fmt::format("{:.1f}", at->get<double>()) : at->dump();
}

void show_drops(Context& context, const std::string& port) {
    Json params{{"sections", {"drops"}}};
    if (!port.empty()) params["port"] = port;
    const auto result = context.call("stats", params);
    if (!result || context.print_json(*result)) return;
    Table table({">PACKETS", "REASON", "WHAT IT MEANS"});
    for (const Json& drop : array_at(*result, "drops")) {
        table.row(
            {number_text(drop, "packets"), text_at(drop, "reason"), text_at(drop, "description")});
    }
    if (table.empty()) {
        context.out << "no packet has been dropped\n";
    } else {
        table.print(context.out);
    }
}

void show_workers(Context& context) {
    const auto result = context.call("stats", {{"sections", {"workers"}}});
    if (!result || context.print_json(*result)) return;
    Table table(
        {">ID", ">CORE", "STATE", ">QUEUES", ">BUSY %", ">CYCLES/PKT", ">RX", ">TX", ">DROPS"});
    for (const Json& worker : array_at(*result, "workers")) {
        table.row({number_text(worker, "id"), number_text(worker, "core"), text_at(worker, "state"),
                   number_text(worker, "rx_queues"), number_text(worker, "busy_percent"),
                   number_text(worker, "cycles_per_packet"), number_text(worker, "rx_packets"),
                   number_text(worker, "tx_packets"), number_text(worker, "dropped_packets")});
    }
    table.print(context.out);
}

void show_memory(Context& context) {
    const auto result = context.call("memory");
    if (!result || context.print_json(*result)) return;
    fmt::print(context.out, "resident {}, hugepages {}\n\n",
               human_bytes(number_at(*result, "rss_bytes")),
               human_bytes(number_at(*result, "hugepages_bytes")));
    Table pools({"POOL", ">SIZE", ">AVAILABLE", ">ELEMENT"});
    for (const Json& pool : array_at(*result, "pools")) {
        pools.row({text_at(pool, "name"), number_text(pool, "size"), number_text(pool, "available"),
                   human_bytes(number_at(pool, "element_bytes"))});
    }
    pools.print(context.out);
    context.out << '\n';
    Table tables({"TABLE", ">USED", ">CAPACITY", ">MEMORY"});
    for (const Json& table : array_at(*result, "tables")) {
        tables.row({text_at(table, "name"), number_text(table, "used"),
                    number_text(table, "capacity"), human_bytes(number_at(table, "bytes"))});
    }
    tables.print(context.out);
}

void show_rings(Context& context) {
    const auto result = context.call("rings");
    if (!result || context.print_json(*result)) return;
    Table table(
        {">WORKER", ">ENTRIES", ">DEPTH", ">PUSHED", ">ACKNOWLEDGED", ">LAG", ">WAITS", "STATE"});
    for (const Json& ring : array_at(*result, "rings")) {
        table.row({number_text(ring, "worker"), number_text(ring, "entries"),
                   number_text(ring, "depth"), number_text(ring, "pushed"),
                   number_text(ring, "acknowledged"), number_text(ring, "lag"),
                   number_text(ring, "waits"), bool_at(ring, "asleep") ? "asleep" : "polling"});
    }
    table.print(context.out);
}

void show_offload(Context& context) {
    const auto result = context.call("offload");
    if (!result || context.print_json(*result)) return;
    Table table({"UPLINK", "RULE", "BY", "WHY"});
    for (const Json& uplink : array_at(*result, "uplinks")) {
        for (const Json& rule : array_at(uplink, "rules")) {
            table.row({text_at(uplink, "uplink"), text_at(rule, "rule"), text_at(rule, "by"),
                       text_at(rule, "reason")});
        }
    }
    if (table.empty()) {
        context.out << "no uplinks\n";
    } else {
        table.print(context.out);
    }
}

void show_version(Context& context) {
    Client* client = context.connect();
    if (client == nullptr) return;
    const client::Hello& hello = client->hello();
    if (context.print_json({{"slash32ctl", S32_VERSION}, {"slash32d", hello.raw}})) return;
    fmt::print(context.out, "slash32ctl {}\nslash32d {}, API {}, instance {}\n", S32_VERSION,
               hello.version, hello.api_version, hello.instance);
}

void log_levels(Context& context, const std::string& module, const std::string& level) {
    Json params = Json::object();
    if (!level.empty()) params["level"] = level;
    if (!module.empty()) params["module"] = module;
    const auto result = context.call(level.empty() ? "log.get" : "log.set", params);
    if (!result || context.print_json(*result)) return;
    Table table({"MODULE", "LEVEL"});
    for (const Json& entry : array_at(*result, "modules")) {
        table.row({text_at(entry, "module"), text_at(entry, "level")});
    }
    table.print(context.out);
}

}  // namespace

void add_show(CLI::App& app, Context& context) {
    CLI::App* show =
        app.add_subcommand("show", "Ports, routes, neighbors, drops, workers, memory, ...");
    show->require_subcommand(1);
    show->add_subcommand("ports", "All ports")->callback([&context] {
        list_ports(context, Json::object());
    });
    show->add_subcommand("routes", "All routes")->callback([&context] {
        list_routes(context, Json::object());
    });
    show->add_subcommand("neighbors", "All neighbours")->callback([&context] {
        list_neighbors(context, Json::object());
    });
    show->add_subcommand("segments", "Segments of this node, and what has come for each")
        ->callback([&context] { list_segments(context); });
    auto port = std::make_shared<std::string>();
    CLI::App* drops = show->add_subcommand("drops", "Dropped packets by reason");
    drops->add_option("--port", *port, "Only of this port");
    drops->callback([&context, port] { show_drops(context, *port); });
    auto stages = std::make_shared<bool>(false);
    CLI::App* workers = show->add_subcommand("workers", "Workers and their load");
    workers->add_flag("--stages", *stages, "What each stage of the packet path costs");
    workers->callback([&context, stages] {
        if (*stages) {
            show_stages(context);
        } else {
            show_workers(context);
        }
    });
    show->add_subcommand("memory", "Memory, pools and tables")->callback([&context] {
        show_memory(context);
    });
    show->add_subcommand("rings", "Command rings: depth, lag, acknowledged")->callback([&context] {
        show_rings(context);
    });
    show->add_subcommand("offload", "What uplinks' devices do of the router's work")
        ->callback([&context] { show_offload(context); });
    show->add_subcommand("version", "Versions of slash32ctl and slash32d")->callback([&context] {
        show_version(context);
    });
}

void add_log(CLI::App& app, Context& context) {
    CLI::App* log = app.add_subcommand("log", "Log levels");
    log->require_subcommand(1);
    auto words = std::make_shared<std::vector<std::string>>();
    CLI::App* level = log->add_subcommand("level", "Show levels, or set: level [MODULE] LEVEL");
    level->add_option("module-and-level", *words, "[MODULE] LEVEL")->expected(0, 2);
    level->callback([&context, words] {
        const std::string module = words->size() == 2 ? (*words)[0] : std::string();
        log_levels(context, module, words->empty() ? std::string() : words->back());
    });
}

}  // namespace slash32::cli
