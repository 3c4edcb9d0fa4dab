// SPDX-License-Identifier: Apache-2.0
// slash32ctl route add|del|list, one by one or in bulk from a file.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>

namespace slash32::cli {
namespace {

constexpr size_t kPrefixesPerFrame = 10'000;

struct RouteOptions {
    std::vector<std::string> prefixes;
    std::string file;
    std::string port;
    std::string via;
    std::string mac;
    bool blackhole = false;
    bool unreachable = false;
    std::vector<std::string> paths;  // "SID,SID,...", each with "*WEIGHT" behind it if need be
    bool full = false;
    bool report_misses = false;
    int64_t idle_timeout = 0;
    std::string sid;  // its behaviour
    std::vector<std::string> flavors;
    int64_t block = 0;
    int64_t sid_vrf = -1;  // not given
    int64_t to_vrf = -1;   // the same
    int64_t vrf = 0;
    WriteOptions write;
};

struct ListOptions {
    std::string family;
    std::string within;
    std::string port;
    int64_t vrf = 0;
};

// One prefix and where it leads.
struct Route {
    int64_t vrf = 0;
    std::string prefix;
    Json next_hop;
};

void add_port(const RouteOptions& o, Json& next_hop) {
    if (!o.port.empty()) next_hop["port"] = o.port;
    if (!o.via.empty()) next_hop["via"] = o.via;
    if (!o.mac.empty()) next_hop["mac"] = o.mac;
}

// "SID,SID,...*WEIGHT".
Json path_of(const std::string& text, bool full) {
    const size_t star = text.find('*');
    Json path{{"segments", Json::array()}};
    std::stringstream list(text.substr(0, star));
    for (std::string segment; std::getline(list, segment, ',');)
        path["segments"].push_back(segment);
    if (full) path["encap"] = "full";
    if (star == std::string::npos) return path;
    const std::string weight = text.substr(star + 1);
    const bool number = !weight.empty() && weight.size() < 6 &&
                        weight.find_first_not_of("0123456789") == std::string::npos;
    // What is no number the daemon refuses, by its name.
    path["weight"] = number ? Json(std::stoll(weight)) : Json(weight);
    return path;
}

Json tunnel_of(const RouteOptions& o) {
    Json tunnel;
    if (o.paths.size() == 1 && o.paths[0].find('*') == std::string::npos) {
        tunnel = path_of(o.paths[0], o.full);
    } else {
        for (const std::string& path : o.paths)
            tunnel["paths"].push_back(path_of(path, o.full));
    }
    if (o.report_misses) tunnel["report_misses"] = true;
    if (o.idle_timeout != 0) tunnel["idle_timeout"] = o.idle_timeout;
    return tunnel;
}

Json next_hop_of(const RouteOptions& o) {
    if (o.blackhole) return {{"blackhole", true}};
    if (o.unreachable) return {{"unreachable", true}};
    if (o.to_vrf >= 0) return {{"vrf", o.to_vrf}};
    if (!o.paths.empty()) return tunnel_of(o);
    if (!o.sid.empty()) {
        Json sid{{"behavior", o.sid}};
        if (!o.flavors.empty()) sid["flavors"] = o.flavors;
        if (o.block != 0) sid["block"] = o.block;
        if (o.sid_vrf >= 0) sid["vrf"] = o.sid_vrf;
        add_port(o, sid);
        return {{"sid", std::move(sid)}};
    }
    Json next_hop = Json::object();
    add_port(o, next_hop);
    return next_hop;
}

// "PREFIX [port NAME] [via ADDRESS] [mac MAC] [segments SID,SID,...] [blackhole] [unreachable]
// [vrf N]"; what a line does
// not say is taken from the command line. "" or what is wrong.
std::string parse_line(const std::string& line, const RouteOptions& defaults, Route& route) {
    const auto words = split_line(line);
    if (!words) return "an open quote";
    RouteOptions o = defaults;
    for (size_t i = 1; i < words->size(); ++i) {
        const std::string& word = (*words)[i];
        if (word == "blackhole" || word == "unreachable") {
            o.blackhole = word == "blackhole";
            o.unreachable = !o.blackhole;
            continue;
        }
        if (i + 1 == words->size()) return "'" + word + "' has no value";
        const std::string& value = (*words)[++i];
        if (word == "port") {
            o.port = value;
        } else if (word == "via") {
            o.via = value;
        } else if (word == "mac") {
            o.mac = value;
        } else if (word == "segments") {
            if (o.paths == defaults.paths) o.paths.clear();
            o.paths.push_back(value);
        } else if (word == "vrf" && !value.empty() && value.size() < 6 &&
                   value.find_first_not_of("0123456789") == std::string::npos) {
            o.vrf = std::stoll(value);
        } else {
            return fmt::format("'{} {}' is not understood", word, value);
        }
    }
    route = Route{o.vrf, (*words)[0], next_hop_of(o)};
    return "";
}

// The routes of the command line and of the file; false after a usage error.
bool gather(Context& context, const RouteOptions& o, std::vector<Route>& routes) {
    for (const std::string& prefix : o.prefixes) {
        routes.push_back({o.vrf, prefix, next_hop_of(o)});
    }
    if (!o.file.empty()) {
        std::ifstream file;
        if (o.file != "-") file.open(o.file);
        std::istream& in = o.file == "-" ? std::cin : file;
        if (!in) {
            context.usage("cannot read " + o.file);
            return false;
        }
        std::string line;
        for (size_t number = 1; std::getline(in, line); ++number) {
            const auto words = split_line(line);
            if (words && words->empty()) continue;
            Route route;
            if (const std::string wrong = parse_line(line, o, route); !wrong.empty()) {
                context.usage(fmt::format("{}:{}: {}", o.file, number, wrong));
                return false;
            }
            routes.push_back(std::move(route));
        }
    }
    if (routes.empty()) context.usage("a prefix or --file is needed");
    return !routes.empty();
}

// Requests of at most kPrefixesPerFrame prefixes; neighbours with the same next hop share an entry.
std::vector<Json> requests_of(const std::vector<Route>& routes, bool with_next_hop) {
    std::vector<Json> requests;
    size_t in_frame = kPrefixesPerFrame;
    const Route* last = nullptr;
    for (const Route& route : routes) {
        if (in_frame == kPrefixesPerFrame) {
            requests.push_back({{"routes", Json::array()}});
            in_frame = 0;
            last = nullptr;
        }
        Json& entries = requests.back()["routes"];
        // A route that goes when it is idle has an entry of its own.
        if (last == nullptr || last->vrf != route.vrf || last->next_hop != route.next_hop ||
            route.next_hop.contains("idle_timeout")) {
            Json entry{{"vrf", route.vrf}, {"prefixes", Json::array()}};
            if (with_next_hop) entry["next_hop"] = route.next_hop;
            entries.push_back(std::move(entry));
        }
        entries.back()["prefixes"].push_back(route.prefix);
        last = &route;
        ++in_frame;
    }
    return requests;
}

void send(Context& context, const RouteOptions& o, const std::string& method, bool with_next_hop) {
    std::vector<Route> routes;
    if (!gather(context, o, routes)) return;
    std::vector<Json> requests = requests_of(routes, with_next_hop);
    for (Json& request : requests)
        o.write.put(context, request);
    Client* client = context.connect();
    if (client == nullptr) return;
    const auto start = std::chrono::steady_clock::now();
    size_t failed = 0;
    const auto results = client->call_many(method, requests, &failed);
    if (!results) {
        if (requests.size() > 1) {
            fmt::print(context.err, "slash32ctl: in the request of routes {} to {}:\n",
                       failed * kPrefixesPerFrame + 1,
                       std::min(routes.size(), (failed + 1) * kPrefixesPerFrame));
        }
        return context.fail(results.error());
    }
    // One result for all the requests: counts add up, everything else is the last one's.
    Json sum = results->back();
    const auto add_up = [](Json& total, const std::vector<const Json*>& parts) {
        for (const char* key : {"added", "changed", "unchanged", "removed", "missing"}) {
            uint64_t count = 0;
            for (const Json* part : parts)
                count += number_at(*part, key);
            if (total.contains(key)) total[key] = count;
        }
    };
    std::vector<const Json*> parts;
    std::vector<const Json*> differences;
    for (const Json& result : *results) {
        parts.push_back(&result);
        differences.push_back(&object_at(result, "difference"));
    }
    add_up(sum, parts);
    if (sum.contains("difference")) add_up(sum["difference"], differences);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::string what = fmt::format("{} route{}:", routes.size(), routes.size() == 1 ? "" : "s");
    for (const char* key : {"added", "changed", "unchanged", "removed", "missing"}) {
        if (const uint64_t count = number_at(sum, key); count > 0) {
            what += fmt::format(" {} {},", count, key);
        }
    }
    what.pop_back();
    if (requests.size() > 1) what += fmt::format(" in {:.3f} s", seconds.count());
    print_outcome(context, what, sum);
}

std::string over_text(const Json& next_hop) {
    std::string text = text_at(next_hop, "port");
    if (next_hop.contains("via")) text += " via " + text_at(next_hop, "via");
    if (next_hop.contains("mac")) text += " mac " + text_at(next_hop, "mac");
    return text;
}

std::string joined(const Json& texts, const char* between) {
    std::string out;
    for (const Json& text : texts) {
        if (!out.empty()) out += between;
        out += text.get<std::string>();
    }
    return out;
}

std::string path_text(const Json& path) {
    std::string text = "segments " + joined(array_at(path, "segments"), ",");
    if (text_at(path, "encap") == "full") text += " full";
    if (path.contains("weight")) text += fmt::format(" weight {}", number_at(path, "weight"));
    return text;
}

std::string sid_text(const Json& sid) {
    std::string text = text_at(sid, "behavior");
    if (sid.contains("vrf")) text += fmt::format(" vrf {}", number_at(sid, "vrf"));
    if (sid.contains("flavors")) text += " " + joined(array_at(sid, "flavors"), ",");
    if (sid.contains("block")) text += fmt::format(" block {}", number_at(sid, "block"));
    return sid.contains("port") ? text + " " + over_text(sid) : text;
}

// What is said of a tunnel besides its paths.
std::string more_of_tunnel(const Json& tunnel) {
    std::string text = bool_at(tunnel, "report_misses") ? ", reports misses" : "";
    if (tunnel.contains("idle_timeout"))
        text += fmt::format(", until idle for {} s", number_at(tunnel, "idle_timeout"));
    return text;
}

std::string next_hop_text(const Json& next_hop) {
    if (bool_at(next_hop, "blackhole")) return "blackhole";
    if (bool_at(next_hop, "unreachable")) return "unreachable";
    if (next_hop.contains("segments")) return path_text(next_hop) + more_of_tunnel(next_hop);
    if (next_hop.contains("sid")) return sid_text(object_at(next_hop, "sid"));
    if (next_hop.contains("vrf")) return fmt::format("vrf {}", number_at(next_hop, "vrf"));
    if (!next_hop.contains("paths")) return over_text(next_hop);
    std::string text;
    for (const Json& path : array_at(next_hop, "paths"))
        text += (text.empty() ? "" : "; ") + path_text(path);
    return text + more_of_tunnel(next_hop);
}

}  // namespace

void list_routes(Context& context, const Json& params) {
    const auto result = context.list("route.list", "routes", params);
    if (!result || context.print_json(*result)) return;
    Table table({">VRF", "PREFIX", "NEXT HOP", "ORIGIN", "OWNER"});
    for (const Json& route : array_at(*result, "routes")) {
        const Json& next_hop = object_at(route, "next_hop");
        table.row({std::to_string(number_at(route, "vrf")), text_at(route, "prefix"),
                   next_hop_text(next_hop), text_at(route, "origin"),
                   text_at(route, "owner") + (bool_at(route, "stale") ? "*" : "")});
    }
    table.print(context.out);
}

void list_segments(Context& context) {
    const auto result = context.list("sid.list", "sids", Json::object());
    if (!result || context.print_json(*result)) return;
    Table table({"PREFIX", "BEHAVIOR", ">PACKETS", ">BYTES", "OWNER"});
    for (const Json& sid : array_at(*result, "sids")) {
        table.row({text_at(sid, "prefix"), sid_text(object_at(sid, "sid")),
                   std::to_string(number_at(sid, "packets")),
                   std::to_string(number_at(sid, "bytes")), text_at(sid, "owner")});
    }
    table.print(context.out);
}

void add_route(CLI::App& app, Context& context) {
    CLI::App* route = app.add_subcommand("route", "Routes: add, del, list");
    route->require_subcommand(1);

    auto add_o = std::make_shared<RouteOptions>();
    CLI::App* add = route->add_subcommand("add", "Add routes, or change where they lead");
    add->add_option("prefix", add_o->prefixes, "Prefixes, 10.1.0.0/24 or 10.1.0.5");
    add->add_option("--file", add_o->file,
                    "Routes, one a line: PREFIX [port P] [via A] [vrf N] ...; - is stdin");
    auto* port = add->add_option("--port", add_o->port, "Port that they leave by");
    add->add_option("--via", add_o->via, "Next hop's address (uplink)")->needs(port);
    add->add_option("--mac", add_o->mac, "MAC address instead of the VM's own")->needs(port);
    auto* blackhole = add->add_flag("--blackhole", add_o->blackhole, "Drop")->excludes(port);
    auto* unreachable =
        add->add_flag("--unreachable", add_o->unreachable, "Answer with ICMP unreachable")
            ->excludes(port)
            ->excludes(blackhole);
    auto* segments = add->add_option("--segments", add_o->paths,
                                     "Into a tunnel: SID,SID,...; several ways, each with *WEIGHT "
                                     "if need be, share the packets")
                         ->excludes(port)
                         ->excludes(blackhole)
                         ->excludes(unreachable);
    add->add_flag("--full", add_o->full, "A routing header with all segments")->needs(segments);
    add->add_flag("--report-misses", add_o->report_misses,
                  "Tell with route.miss events of what goes this way")
        ->needs(segments);
    add->add_option("--idle-timeout", add_o->idle_timeout,
                    "Seconds without a packet after which the route goes")
        ->needs(segments);
    auto* sid = add->add_option("--sid", add_o->sid,
                                "A segment of this node: end, end.x, end.dt4, end.dt6, end.dt46, "
                                "end.dx4 or end.dx6")
                    ->excludes(blackhole)
                    ->excludes(unreachable)
                    ->excludes(segments);
    add->add_option("--flavor", add_o->flavors, "psp, usp, usd or next-csid")->needs(sid);
    add->add_option("--block", add_o->block, "Bits of the locator block (next-csid)")->needs(sid);
    add->add_option("--sid-vrf", add_o->sid_vrf, "VRF of what comes out (end.dt*)")->needs(sid);
    add->add_option("--to-vrf", add_o->to_vrf, "By the routes of another VRF")
        ->excludes(port)
        ->excludes(blackhole)
        ->excludes(unreachable)
        ->excludes(segments)
        ->excludes(sid);
    add->add_option("--vrf", add_o->vrf, "VRF (0)");
    add_o->write.add(*add);
    add->callback([&context, add_o] { send(context, *add_o, "route.apply", true); });

    auto del_o = std::make_shared<RouteOptions>();
    CLI::App* del = route->add_subcommand("del", "Delete routes");
    del->add_option("prefix", del_o->prefixes, "Prefixes");
    del->add_option("--file", del_o->file, "Prefixes, one a line; - is stdin");
    del->add_option("--vrf", del_o->vrf, "VRF (0)");
    del_o->write.add(*del);
    del->callback([&context, del_o] { send(context, *del_o, "route.delete", false); });

    auto list_o = std::make_shared<ListOptions>();
    CLI::App* list = route->add_subcommand("list", "List routes");
    list->add_option("--family", list_o->family, "ipv4 or ipv6")
        ->check(CLI::IsMember({"ipv4", "ipv6"}));
    list->add_option("--within", list_o->within, "Only inside this prefix");
    list->add_option("--port", list_o->port, "Only those that leave by this port");
    list->add_option("--vrf", list_o->vrf, "Only of this VRF");
    list->callback([&context, list, list_o] {
        Json params = Json::object();
        if (!list_o->family.empty()) params["family"] = list_o->family;
        if (!list_o->within.empty()) params["within"] = list_o->within;
        if (!list_o->port.empty()) params["port"] = list_o->port;
        if (list->count("--vrf") > 0) params["vrf"] = list_o->vrf;
        if (!context.globals.owner.empty()) params["owner"] = context.globals.owner;
        list_routes(context, params);
    });
}

}  // namespace slash32::cli
