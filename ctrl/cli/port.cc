// SPDX-License-Identifier: Apache-2.0
// slash32ctl port add|set|del|list|show
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <chrono>

namespace slash32::cli {
namespace {

using Clock = std::chrono::steady_clock;

// The options of add and set. An option that was not given is not sent.
struct PortOptions {
    std::string name;
    std::string kind;
    std::string socket;
    std::string tap;
    std::string mac;
    std::vector<std::string> addresses;
    std::vector<std::string> allowed_pairs;
    std::vector<std::string> gateways;
    std::vector<std::string> groups;
    std::vector<std::string> labels;
    std::string announce;
    uint32_t announce_table = 0;
    uint32_t announce_metric = 0;
    uint32_t withdraw_delay_ms = 0;
    int64_t vrf = 0;
    int64_t mtu = 0;
    int64_t queues = 0;
    bool server = false;
    bool client = false;
    bool port_security = true;
    bool log_denied = false;
    double wait_s = 0;
    WriteOptions write;
};

void add_options(CLI::App& command, PortOptions& o) {
    command.add_option("name", o.name, "The port's name")->required();
    command.add_option("--kind", o.kind, "vhost (default) or tap")
        ->check(CLI::IsMember({"vhost", "tap"}));
    command.add_option("--socket", o.socket, "Path of the vhost-user socket");
    auto* server = command.add_flag("--server", o.server, "slash32d listens on the socket");
    command.add_flag("--client", o.client, "slash32d connects to the socket (default)")
        ->excludes(server);
    command.add_option("--tap", o.tap, "Interface name of a TAP port (default: the port's)");
    command.add_option("--mac", o.mac, "The VM's MAC address");
    command.add_option("--address", o.addresses, "Fixed address, ADDRESS[/LENGTH]; repeatable")
        ->allow_extra_args(false);
    command.add_option("--allowed-pair", o.allowed_pairs, "PREFIX[@MAC] it may use too")
        ->allow_extra_args(false);
    command.add_option("--gateway", o.gateways, "Address the router answers as")
        ->allow_extra_args(false);
    command.add_option("--sg,--group", o.groups, "Security group; any lets everything pass")
        ->allow_extra_args(false);
    command.add_option("--label", o.labels, "KEY=VALUE, returned in listings and events")
        ->allow_extra_args(false);
    command.add_option("--vrf", o.vrf, "VRF, 0 to 4095");
    command.add_option("--mtu", o.mtu, "MTU, 1280 to 9216");
    command.add_option("--queues", o.queues, "Queue pairs, 1 to 8");
    command.add_flag("--port-security,!--no-port-security", o.port_security,
                     "Anti-spoofing and filter (default on)");
    command.add_flag("--log-denied,!--no-log-denied", o.log_denied,
                     "Report refused packets to watchers and the log");
    command.add_option("--announce", o.announce, "auto, hold or withdrawn")
        ->check(CLI::IsMember({"auto", "hold", "withdrawn"}));
    command.add_option("--announce-table", o.announce_table,
                       "Kernel table of its routes, 0: the configuration's");
    command.add_option("--announce-metric", o.announce_metric,
                       "Metric of its routes, 0: the configuration's");
    command.add_option("--withdraw-delay", o.withdraw_delay_ms,
                       "Milliseconds that its routes stay after the VM has gone");
    command.add_option("--wait", o.wait_s, "Wait so many seconds for it to be wired");
    o.write.add(command);
}

void put_pairs(const std::vector<std::string>& pairs, Json& params) {
    for (const std::string& pair : pairs) {
        const size_t at = pair.find('@');
        Json entry{{"prefix", pair.substr(0, at)}};
        if (at != std::string::npos) entry["mac"] = pair.substr(at + 1);
        params["allowed_pairs"].push_back(std::move(entry));
    }
}

// Replaces the members of `params` that were given on the command line. A list given as one empty
// word ("--gateway ''") becomes empty.
bool put_options(const CLI::App& command, const PortOptions& o, Json& params) {
    const auto list = [&](const char* option, const char* member,
                          const std::vector<std::string>& values) {
        if (command.count(option) == 0) return false;
        params[member] = Json::array();
        return !(values.size() == 1 && values[0].empty());
    };
    params["name"] = o.name;
    if (!o.kind.empty()) params["kind"] = o.kind;
    if (!o.socket.empty()) params["socket"] = o.socket;
    if (o.server) params["socket_mode"] = "server";
    if (o.client) params["socket_mode"] = "client";
    if (!o.tap.empty()) params["tap"] = o.tap;
    if (!o.mac.empty()) params["mac"] = o.mac;
    if (list("--address", "addresses", o.addresses)) params["addresses"] = o.addresses;
    if (list("--gateway", "gateways", o.gateways)) params["gateways"] = o.gateways;
    if (list("--sg", "groups", o.groups)) params["groups"] = o.groups;
    if (list("--allowed-pair", "allowed_pairs", o.allowed_pairs)) {
        put_pairs(o.allowed_pairs, params);
    }
    if (command.count("--vrf") > 0) params["vrf"] = o.vrf;
    if (command.count("--mtu") > 0) params["mtu"] = o.mtu;
    if (command.count("--queues") > 0) params["queues"] = o.queues;
    if (command.count("--port-security") > 0) params["port_security"] = o.port_security;
    if (command.count("--log-denied") > 0) params["log_denied"] = o.log_denied;
    if (!o.announce.empty()) params["announce"] = o.announce;
    if (command.count("--announce-table") > 0) params["announce_table"] = o.announce_table;
    if (command.count("--announce-metric") > 0) params["announce_metric"] = o.announce_metric;
    if (command.count("--withdraw-delay") > 0) params["withdraw_delay_ms"] = o.withdraw_delay_ms;
    return put_labels(o.labels, params);
}

// Waits for `wired` with events, not by asking again and again. REQUIRES: a watch is running.
void wait_until_wired(Context& context, const PortOptions& o) {
    const auto deadline =
        Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(o.wait_s * 1000));
    Client* client = context.connect();
    while (client != nullptr) {
        const auto port = context.call("port.get", {{"name", o.name}});
        if (!port) return;
        const Json& actual = object_at(object_at(*port, "port"), "actual");
        if (bool_at(actual, "wired")) return;
        if (text_at(actual, "state") == "failed") {
            fmt::print(context.err, "slash32ctl: port {} failed: {}\n", o.name,
                       text_at(actual, "reason"));
            context.exit_code = kExitRefused;
            return;
        }
        for (bool ours = false; !ours;) {
            const auto left = std::chrono::ceil<client::Milliseconds>(deadline - Clock::now());
            if (left.count() <= 0) {
                fmt::print(context.err, "slash32ctl: port {} is not wired after {} s: it is {}\n",
                           o.name, o.wait_s, text_at(actual, "state"));
                context.exit_code = kExitTimeout;
                return;
            }
            const auto event = client->next(left);
            if (!event) return context.fail(event.error());
            ours = *event && (text_at((*event)->params, "port") == o.name ||
                              text_at((*event)->params, "type") == "lost");
        }
    }
}

void apply(Context& context, const PortOptions& o, const Json& params) {
    Client* client = context.connect();
    if (client == nullptr) return;
    const bool wait = o.wait_s > 0 && !o.write.dry_run;
    if (wait) {
        // Before the call, so that no event can be missed.
        if (auto started = client->watch({std::nullopt, "", {"port.*"}}); !started) {
            return context.fail(started.error());
        }
    }
    const auto result = context.call("port.apply", params);
    if (!result) return;
    if (wait) wait_until_wired(context, o);
    print_outcome(context, fmt::format("port {}: {}", o.name, text_at(*result, "change")), *result);
}

void port_add(Context& context, const CLI::App& command, const PortOptions& o) {
    Json params = Json::object();
    if (!put_options(command, o, params)) return context.usage("--label wants KEY=VALUE");
    o.write.put(context, params);
    apply(context, o, params);
}

// The present desired port, with what was given changed.
void port_set(Context& context, const CLI::App& command, const PortOptions& o) {
    const auto present = context.call("port.get", {{"name", o.name}});
    if (!present) return;
    Json params = object_at(object_at(*present, "port"), "desired");
    params.erase("owner");  // who we act as is said on the command line, not by the port
    for (const char* member : {"socket", "tap"}) {
        if (text_at(params, member).empty()) params.erase(member);
    }
    if (!put_options(command, o, params)) return context.usage("--label wants KEY=VALUE");
    o.write.put(context, params);
    apply(context, o, params);
}

// "10 Gbit/s, lost 2 times", without what is not known.
std::string link_text(const Json& link) {
    const int64_t speed = number_at(link, "speed_mbps");
    const std::string lost = fmt::format("lost {} times", number_at(link, "losses"));
    return speed == 0 ? lost : fmt::format("{} Mbit/s, {}", speed, lost);
}

void show_port(Context& context, const std::string& name) {
    const auto result = context.call("port.get", {{"name", name}});
    if (!result || context.print_json(*result)) return;
    const Json& port = object_at(*result, "port");
    const Json& desired = object_at(port, "desired");
    const Json& actual = object_at(port, "actual");
    const Json& counters = object_at(port, "counters");
    Sheet sheet;
    sheet.line("port", fmt::format("{} ({}, id {}), owner {}", name, text_at(port, "kind"),
                                   number_at(port, "id"), text_at(desired, "owner")));
    const std::string since = text_at(actual, "since");
    sheet.line("state", text_at(actual, "state") + (since.empty() ? "" : " since " + since));
    sheet.line("reason", text_at(actual, "reason"));
    sheet.line("last error", text_at(actual, "last_error"));
    sheet.line(
        "wired",
        fmt::format("{}, programmed {}, revision {}{}", bool_at(actual, "wired") ? "yes" : "no",
                    bool_at(actual, "programmed") ? "yes" : "no", number_at(actual, "revision"),
                    bool_at(actual, "stale") ? ", stale" : ""));
    const std::string socket = text_at(desired, "socket");
    sheet.line("socket",
               socket.empty() ? "" : socket + " (" + text_at(desired, "socket_mode") + ")");
    sheet.line("interface", text_at(port, "kind") == "tap" ? text_at(desired, "tap") : "");
    sheet.line("device", text_at(desired, "devargs"));
    if (desired.contains("bond"))
        sheet.line("bond", fmt::format("{} of {}", text_at(desired, "bond"),
                                       plain(array_at(desired, "members"))));
    if (desired.contains("vlan"))
        sheet.line("VLAN",
                   fmt::format("{} of {}", number_at(desired, "vlan"), text_at(desired, "parent")));
    if (actual.contains("link")) sheet.line("link", link_text(actual["link"]));
    sheet.line("MAC", text_at(desired, "mac"));
    sheet.line("addresses", plain(array_at(desired, "addresses")));
    sheet.line("allowed pairs", plain(array_at(desired, "allowed_pairs")));
    sheet.line("gateways", plain(array_at(desired, "gateways")));
    sheet.line("groups", plain(array_at(desired, "groups")));
    sheet.line("port security", bool_at(desired, "port_security", true) ? "on" : "off");
    sheet.line("announce", text_at(desired, "announce"));
    if (actual.contains("announced")) {
        const std::string announced = plain(actual["announced"]);
        sheet.line("announced", announced.empty() ? "nothing" : announced);
    }
    sheet.line("VRF", std::to_string(number_at(desired, "vrf")));
    sheet.line("MTU", fmt::format("{} (negotiated {})", number_at(desired, "mtu"),
                                  actual.contains("mtu") ? plain(actual["mtu"]) : "-"));
    sheet.line("queue pairs",
               fmt::format("{} (in use {})", number_at(desired, "queues"),
                           actual.contains("queues") ? plain(actual["queues"]) : "-"));
    sheet.line("features", plain(array_at(actual, "features")));
    sheet.line("labels", plain(object_at(desired, "labels")));
    sheet.line("from the VM",
               fmt::format("{} packets, {}, {} dropped", number_at(counters, "rx_packets"),
                           human_bytes(number_at(counters, "rx_bytes")),
                           number_at(counters, "rx_dropped")));
    sheet.line("to the VM",
               fmt::format("{} packets, {}, {} dropped", number_at(counters, "tx_packets"),
                           human_bytes(number_at(counters, "tx_bytes")),
                           number_at(counters, "tx_dropped")));
    if (counters.contains("device")) sheet.line("device errors", plain(counters["device"]));
    bool first = true;
    for (const std::string& remark : port_remarks(port)) {
        sheet.line(std::exchange(first, false) ? "traffic" : "", remark);
    }
    sheet.print(context.out);
}

struct ListOptions {
    std::string kind;
    std::string state;
    int64_t vrf = 0;
    std::vector<std::string> labels;
};

}  // namespace

std::vector<std::string> port_remarks(const Json& port) {
    const Json& desired = object_at(port, "desired");
    const Json& actual = object_at(port, "actual");
    const Json& counters = object_at(port, "counters");
    const std::string name = text_at(port, "name");
    const std::string state = text_at(actual, "state");
    const std::string reason = text_at(actual, "reason");
    const bool uplink = text_at(port, "kind") == "uplink";
    std::vector<std::string> blocks;
    if (state == "failed") {
        blocks.push_back("no: the port failed: " + (reason.empty() ? "no reason given" : reason));
    } else if (state == "waiting" && text_at(port, "kind") == "vhost") {
        const std::string error = text_at(actual, "last_error");
        blocks.push_back("no: nobody is connected to socket " + text_at(desired, "socket") +
                         (error.empty() ? "" : " (" + error + ")"));
    } else if (state == "waiting") {
        blocks.push_back("no: its device is not there" + (reason.empty() ? "" : ": " + reason));
    } else if (state == "connected") {
        blocks.emplace_back(
            "no: the guest has not enabled its rings (it is paused, or has no driver yet)");
    }
    if (!bool_at(actual, "programmed", true)) {
        blocks.emplace_back("no: the workers have not acknowledged its settings yet");
    }
    if (!uplink && bool_at(desired, "port_security", true)) {
        if (array_at(desired, "groups").empty()) {
            blocks.emplace_back(
                "no: no security group, so only ARP, ND and DHCP pass "
                "(--sg any lets everything pass)");
        }
        if (array_at(desired, "addresses").empty() && array_at(desired, "allowed_pairs").empty()) {
            blocks.emplace_back("no: no address, so anti-spoofing refuses all it sends");
        }
    }
    if (!uplink && array_at(desired, "addresses").empty()) {
        blocks.emplace_back("no route leads to it, as it has no address");
    }
    if (blocks.empty()) blocks.emplace_back("passes");
    if (const std::string announce = text_at(desired, "announce", "auto"); announce != "auto") {
        blocks.push_back("its routes are not announced: announce is " + announce);
    }
    if (bool_at(actual, "stale")) {
        blocks.emplace_back("restored at start; its owner has not synced since");
    }
    if (state == "running" && !uplink && number_at(counters, "rx_packets") == 0) {
        blocks.emplace_back("the VM has sent nothing yet");
    }
    if (number_at(counters, "rx_dropped") + number_at(counters, "tx_dropped") > 0) {
        blocks.push_back("packets were dropped: see slash32ctl show drops --port " + name);
    }
    return blocks;
}

void list_ports(Context& context, const Json& params) {
    const auto result = context.list("port.list", "ports", params);
    if (!result || context.print_json(*result)) return;
    Table table({"NAME", "KIND", "STATE", ">VRF", "ADDRESSES", ">FROM VM", ">TO VM", ">DROPS"});
    for (const Json& port : array_at(*result, "ports")) {
        const Json& desired = object_at(port, "desired");
        const Json& actual = object_at(port, "actual");
        const Json& counters = object_at(port, "counters");
        std::string addresses;
        for (const Json& address : array_at(desired, "addresses")) {
            addresses += (addresses.empty() ? "" : "\n") + plain(address);
        }
        table.row({text_at(port, "name"), text_at(port, "kind"),
                   text_at(actual, "state") + (bool_at(actual, "stale") ? "*" : ""),
                   std::to_string(number_at(desired, "vrf")), addresses,
                   std::to_string(number_at(counters, "rx_packets")),
                   std::to_string(number_at(counters, "tx_packets")),
                   std::to_string(number_at(counters, "rx_dropped") +
                                  number_at(counters, "tx_dropped"))});
    }
    table.print(context.out);
}

void add_port(CLI::App& app, Context& context) {
    CLI::App* port = app.add_subcommand("port", "Ports of VMs: add, set, del, list, show");
    port->require_subcommand(1);

    auto add_options_ = std::make_shared<PortOptions>();
    CLI::App* add = port->add_subcommand("add", "Add a port, or make one as given here");
    add_options(*add, *add_options_);
    add->callback([&context, add, add_options_] { port_add(context, *add, *add_options_); });

    auto set_options = std::make_shared<PortOptions>();
    CLI::App* set = port->add_subcommand("set", "Change what is given here of a port");
    add_options(*set, *set_options);
    set->callback([&context, set, set_options] { port_set(context, *set, *set_options); });

    auto del_options = std::make_shared<PortOptions>();
    CLI::App* del = port->add_subcommand("del", "Delete a port");
    del->add_option("name", del_options->name, "The port's name")->required();
    del_options->write.add(*del);
    del->callback([&context, del_options] {
        Json params{{"name", del_options->name}};
        del_options->write.put(context, params);
        if (const auto result = context.call("port.delete", params)) {
            print_outcome(context, fmt::format("port {}: removed", del_options->name), *result);
        }
    });

    auto list_options = std::make_shared<ListOptions>();
    CLI::App* list = port->add_subcommand("list", "List ports");
    list->add_option("--kind", list_options->kind, "Only vhost, tap or uplink");
    list->add_option("--state", list_options->state, "Only waiting, connected, running or failed");
    list->add_option("--vrf", list_options->vrf, "Only of this VRF");
    list->add_option("--label", list_options->labels, "Only with this KEY=VALUE")
        ->allow_extra_args(false);
    list->callback([&context, list, list_options] {
        Json params = Json::object();
        if (!list_options->kind.empty()) params["kind"] = list_options->kind;
        if (!list_options->state.empty()) params["state"] = list_options->state;
        if (list->count("--vrf") > 0) params["vrf"] = list_options->vrf;
        if (!context.globals.owner.empty()) params["owner"] = context.globals.owner;
        if (!put_labels(list_options->labels, params)) {
            return context.usage("--label wants KEY=VALUE");
        }
        list_ports(context, params);
    });

    auto name = std::make_shared<std::string>();
    CLI::App* show = port->add_subcommand("show", "Show a port, and why it passes no traffic");
    show->add_option("name", *name, "The port's name")->required();
    show->callback([&context, name] { show_port(context, *name); });
}

}  // namespace slash32::cli
