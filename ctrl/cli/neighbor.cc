// SPDX-License-Identifier: Apache-2.0
// slash32ctl neighbor add|del|list
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>

namespace slash32::cli {
namespace {

struct NeighborOptions {
    std::string port;
    std::string address;
    std::string mac;
    WriteOptions write;
};

void send(Context& context, const NeighborOptions& o, const char* method) {
    Json params{{"port", o.port}, {"address", o.address}};
    if (!o.mac.empty()) params["mac"] = o.mac;
    o.write.put(context, params);
    if (const auto result = context.call(method, params)) {
        print_outcome(context,
                      fmt::format("neighbor {} on {}: {}", o.address, o.port,
                                  text_at(*result, "change", "removed")),
                      *result);
    }
}

}  // namespace

void list_neighbors(Context& context, const Json& params) {
    const auto result = context.list("neighbor.list", "neighbors", params);
    if (!result || context.print_json(*result)) return;
    Table table({"PORT", "ADDRESS", "MAC", "OWNER"});
    for (const Json& neighbor : array_at(*result, "neighbors")) {
        table.row({text_at(neighbor, "port"), text_at(neighbor, "address"),
                   text_at(neighbor, "mac"),
                   text_at(neighbor, "owner") + (bool_at(neighbor, "stale") ? "*" : "")});
    }
    table.print(context.out);
}

void add_neighbor(CLI::App& app, Context& context) {
    CLI::App* neighbor = app.add_subcommand("neighbor", "Neighbours of uplinks: add, del, list");
    neighbor->require_subcommand(1);

    auto add_o = std::make_shared<NeighborOptions>();
    CLI::App* add = neighbor->add_subcommand("add", "Add a static neighbour, or change its MAC");
    add->add_option("port", add_o->port, "The uplink")->required();
    add->add_option("address", add_o->address, "Its address")->required();
    add->add_option("mac", add_o->mac, "Its MAC address")->required();
    add_o->write.add(*add);
    add->callback([&context, add_o] { send(context, *add_o, "neighbor.apply"); });

    auto del_o = std::make_shared<NeighborOptions>();
    CLI::App* del = neighbor->add_subcommand("del", "Delete a neighbour");
    del->add_option("port", del_o->port, "The uplink")->required();
    del->add_option("address", del_o->address, "Its address")->required();
    del_o->write.add(*del);
    del->callback([&context, del_o] { send(context, *del_o, "neighbor.delete"); });

    auto port = std::make_shared<std::string>();
    CLI::App* list = neighbor->add_subcommand("list", "List neighbours");
    list->add_option("--port", *port, "Only of this uplink");
    list->callback([&context, port] {
        Json params = Json::object();
        if (!port->empty()) params["port"] = *port;
        if (!context.globals.owner.empty()) params["owner"] = context.globals.owner;
        list_neighbors(context, params);
    });
}

}  // namespace slash32::cli
