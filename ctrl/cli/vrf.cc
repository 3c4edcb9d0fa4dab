// SPDX-License-Identifier: Apache-2.0
// slash32ctl vrf add|del|list
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>

namespace slash32::cli {
namespace {

struct VrfOptions {
    int64_t number = 0;
    std::string name;
    std::vector<std::string> labels;
    WriteOptions write;
};

void add_vrf_named(Context& context, const VrfOptions& o) {
    Json params{{"vrf", o.number}};
    if (!o.name.empty()) params["name"] = o.name;
    if (!put_labels(o.labels, params)) return context.usage("--label wants KEY=VALUE");
    o.write.put(context, params);
    if (const auto result = context.call("vrf.apply", params)) {
        print_outcome(context, fmt::format("VRF {}: {}", o.number, text_at(*result, "change")),
                      *result);
    }
}

void delete_vrf(Context& context, const VrfOptions& o) {
    Json params{{"vrf", o.number}};
    o.write.put(context, params);
    if (const auto result = context.call("vrf.delete", params)) {
        print_outcome(context,
                      fmt::format("VRF {}: removed, with {} routes", o.number,
                                  number_at(*result, "removed_routes")),
                      *result);
    }
}

void list_vrfs(Context& context) {
    Json params = Json::object();
    if (!context.globals.owner.empty()) params["owner"] = context.globals.owner;
    const auto result = context.list("vrf.list", "vrfs", params);
    if (!result || context.print_json(*result)) return;
    Table table({">VRF", "NAME", ">PORTS", ">ROUTES", "OWNER"});
    for (const Json& vrf : array_at(*result, "vrfs")) {
        table.row({std::to_string(number_at(vrf, "vrf")), text_at(vrf, "name"),
                   std::to_string(number_at(vrf, "ports")),
                   std::to_string(number_at(vrf, "routes")),
                   text_at(vrf, "owner") + (bool_at(vrf, "stale") ? "*" : "")});
    }
    table.print(context.out);
}

}  // namespace

void add_vrf(CLI::App& app, Context& context) {
    CLI::App* vrf = app.add_subcommand("vrf", "VRFs: add, del, list");
    vrf->require_subcommand(1);

    auto add_o = std::make_shared<VrfOptions>();
    CLI::App* add = vrf->add_subcommand("add", "Add a VRF, or change what is said of it");
    add->add_option("vrf", add_o->number, "Its number, from 1")->required();
    add->add_option("--name", add_o->name, "What people call it");
    add->add_option("--label", add_o->labels, "KEY=VALUE, returned in listings");
    add_o->write.add(*add);
    add->callback([&context, add_o] { add_vrf_named(context, *add_o); });

    auto del_o = std::make_shared<VrfOptions>();
    CLI::App* del = vrf->add_subcommand("del", "Delete a VRF without ports, with the routes in it");
    del->add_option("vrf", del_o->number, "Its number")->required();
    del_o->write.add(*del);
    del->callback([&context, del_o] { delete_vrf(context, *del_o); });

    CLI::App* list = vrf->add_subcommand("list", "List VRFs");
    list->callback([&context] { list_vrfs(context); });
}

}  // namespace slash32::cli
