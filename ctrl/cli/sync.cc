// SPDX-License-Identifier: Apache-2.0
// slash32ctl sync FILE: an owner's complete set, from JSON {"ports": [...], "routes": [...],
// "neighbors": [...], "sgs": [...], "addrsets": [...], "vrfs": [...]}, each entry as the params of
// its apply call.
#include "ctrl/cli/commands.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <fstream>
#include <iostream>

namespace slash32::cli {
namespace {

constexpr size_t kRouteEntriesPerFrame = 1000;
constexpr std::string_view kArrays[] = {"ports", "routes", "neighbors", "sgs", "addrsets", "vrfs"};

struct SyncOptions {
    std::string file;
    bool dry_run = false;
    bool force = false;
};

std::optional<Json> read_file(Context& context, const std::string& name) {
    std::ifstream file;
    if (name != "-") file.open(name);
    std::istream& in = name == "-" ? std::cin : file;
    Json document = in ? Json::parse(in, nullptr, false) : Json(Json::value_t::discarded);
    if (!document.is_object()) {
        context.usage(name + " cannot be read, or is not a JSON object");
        return std::nullopt;
    }
    for (const auto& [key, value] : document.items()) {
        const bool known = std::ranges::find(kArrays, key) != std::end(kArrays);
        if (!known || !value.is_array()) {
            context.usage(fmt::format(
                "{}: '{}' is not one of the arrays ports, routes, neighbors, sgs, addrsets, vrfs",
                name, key));
            return std::nullopt;
        }
    }
    return document;
}

// Stages `requests`; false after an error that names the entry.
bool stage(Context& context, const char* method, const std::string& member,
           std::vector<Json> requests, const Json& common, size_t entries_per_request) {
    for (Json& request : requests) {
        if (request.is_object()) request.update(common);
    }
    Client* client = context.connect();
    if (client == nullptr) return false;
    size_t failed = 0;
    const auto results = client->call_many(method, requests, &failed);
    if (results) return true;
    fmt::print(context.err, "slash32ctl: in {}[{}]:\n", member, failed * entries_per_request);
    context.fail(results.error());
    return false;
}

bool stage_all(Context& context, const Json& document, const Json& common) {
    for (const char* object : {"vrf", "addrset", "sg"}) {
        const std::string member = std::string(object) + "s";
        const Json& groups = array_at(document, member.c_str());
        const std::string method = std::string(object) + ".apply";
        if (!stage(context, method.c_str(), member, {groups.begin(), groups.end()}, common, 1)) {
            return false;
        }
    }
    const Json& ports = array_at(document, "ports");
    if (!stage(context, "port.apply", "ports", {ports.begin(), ports.end()}, common, 1)) {
        return false;
    }
    const Json& neighbors = array_at(document, "neighbors");
    if (!stage(context, "neighbor.apply", "neighbors", {neighbors.begin(), neighbors.end()}, common,
               1)) {
        return false;
    }
    std::vector<Json> requests;
    for (const Json& route : array_at(document, "routes")) {
        if (requests.empty() || requests.back()["routes"].size() == kRouteEntriesPerFrame) {
            requests.push_back({{"routes", Json::array()}});
        }
        requests.back()["routes"].push_back(route);
    }
    return stage(context, "route.apply", "routes", std::move(requests), common,
                 kRouteEntriesPerFrame);
}

void sync(Context& context, const SyncOptions& o) {
    const auto document = read_file(context, o.file);
    if (!document) return;
    Json begin{{"objects", Json::array()}};
    for (const char* object : {"port", "route", "neighbor", "sg", "addrset", "vrf"}) {
        if (document->contains(std::string(object) + "s")) begin["objects"].push_back(object);
    }
    Json common = Json::object();
    if (!context.globals.owner.empty()) {
        begin["owner"] = context.globals.owner;
        common["owner"] = context.globals.owner;
    }
    if (o.force) common["force"] = true;
    const auto begun = context.call("sync.begin", begin);
    if (!begun) return;
    common["sync"] = begun->at("sync");
    if (!stage_all(context, *document, common)) {
        context.disconnect();  // and with the connection the sync is gone
        return;
    }
    Json commit{{"sync", begun->at("sync")}};
    if (o.dry_run) commit["dry_run"] = true;
    if (o.force) commit["force"] = true;
    const auto result = context.call("sync.commit", commit);
    if (!result || o.dry_run) context.disconnect();
    if (!result) return;
    print_outcome(context,
                  fmt::format("sync: {} added, {} changed, {} removed, {} unchanged",
                              number_at(*result, "added"), number_at(*result, "changed"),
                              number_at(*result, "removed"), number_at(*result, "unchanged")),
                  *result);
}

}  // namespace

void add_sync(CLI::App& app, Context& context) {
    auto o = std::make_shared<SyncOptions>();
    CLI::App* command =
        app.add_subcommand("sync", "Make an owner's objects exactly those of a file");
    command->add_option("file", o->file, "JSON; - is stdin")->required();
    command->add_flag("-n,--dry-run", o->dry_run, "Show the difference, change nothing");
    command->add_flag("--force", o->force, "Change and remove other owners' objects too");
    command->callback([&context, o] { sync(context, *o); });
}

}  // namespace slash32::cli
