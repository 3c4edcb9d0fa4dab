// SPDX-License-Identifier: Apache-2.0
// slash32ctl worker stages on|off, and show workers --stages.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

namespace slash32::cli {
namespace {

// "-" where nothing was measured.
std::string ratio_text(uint64_t part, uint64_t whole, double scale) {
    if (whole == 0) return "-";
    return fmt::format("{:.1f}", scale * static_cast<double>(part) / static_cast<double>(whole));
}

void print_stages(Context& context, const Json& worker) {
    const Json& stages = array_at(worker, "stages");
    uint64_t all = 0;
    for (const Json& stage : stages)
        all += number_at(stage, "cycles");
    const uint64_t bursts = stages.empty() ? 0 : number_at(stages.front(), "bursts");
    fmt::print(context.out, "worker {}, core {}: {} bursts measured\n", number_at(worker, "id"),
               number_at(worker, "core"), bursts);
    if (bursts == 0) return;
    Table table({"STAGE", ">CYCLES/PKT", ">SHARE %", ">PACKETS"});
    for (const Json& stage : stages) {
        const uint64_t cycles = number_at(stage, "cycles");
        const uint64_t packets = number_at(stage, "packets");
        table.row({text_at(stage, "name"), ratio_text(cycles, packets, 1),
                   ratio_text(cycles, all, 100), std::to_string(packets)});
    }
    table.print(context.out);
}

void switch_stages(Context& context, bool enabled) {
    const auto result = context.call("worker.stages", {{"enabled", enabled}});
    if (!result || context.print_json(*result)) return;
    if (bool_at(*result, "enabled")) {
        fmt::print(context.out, "cycle accounting is on: one burst in {} is measured\n",
                   number_at(*result, "sampling"));
    } else {
        fmt::print(context.out, "cycle accounting is off\n");
    }
}

}  // namespace

void show_stages(Context& context) {
    const auto result = context.call("stats", {{"sections", {"workers"}}});
    if (!result || context.print_json(*result)) return;
    const Json& workers = array_at(*result, "workers");
    if (!workers.empty() && !bool_at(workers.front(), "stages_enabled"))
        context.out << "cycle accounting is off; to switch it on: slash32ctl worker stages on\n";
    for (const Json& worker : workers) {
        if (!array_at(worker, "stages").empty()) print_stages(context, worker);
    }
}

void add_worker(CLI::App& app, Context& context) {
    CLI::App* worker = app.add_subcommand("worker", "What workers measure: stages on|off");
    worker->require_subcommand(1);
    CLI::App* stages =
        worker->add_subcommand("stages", "Cycle accounting of the stages (show workers --stages)");
    stages->require_subcommand(1);
    stages->add_subcommand("on", "Measure one burst in 64")->callback([&context] {
        switch_stages(context, true);
    });
    stages->add_subcommand("off", "Measure none")->callback([&context] {
        switch_stages(context, false);
    });
}

}  // namespace slash32::cli
