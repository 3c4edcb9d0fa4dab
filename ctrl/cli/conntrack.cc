// SPDX-License-Identifier: Apache-2.0
// slash32ctl conntrack list|count|flush|config
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>

namespace slash32::cli {
namespace {

struct FilterOptions {
    std::string port;
    std::string protocol;
    std::string src;
    std::string dst;
    int64_t vrf = 0;
    int64_t sport = 0;
    int64_t dport = 0;

    void add(CLI::App& command) {
        command.add_option("--port", port, "From or to this port");
        command.add_option("--vrf", vrf, "In this VRF");
        command.add_option("--proto", protocol, "tcp, udp, icmp, icmpv6, sctp or a number");
        command.add_option("--src", src, "The first packet's source is in PREFIX");
        command.add_option("--dst", dst, "The first packet's destination is in PREFIX");
        command.add_option("--sport", sport, "Its source port");
        command.add_option("--dport", dport, "Its destination port");
    }
    Json params(const CLI::App& command) const {
        Json out = Json::object();
        const std::pair<const char*, const std::string&> texts[] = {
            {"port", port}, {"src", src}, {"dst", dst}};
        for (const auto& [member, text] : texts) {
            if (!text.empty()) out[member] = text;
        }
        const bool digits =
            !protocol.empty() && protocol.find_first_not_of("0123456789") == std::string::npos;
        if (!protocol.empty())
            out["protocol"] =
                digits && protocol.size() < 4 ? Json(std::stoi(protocol)) : Json(protocol);
        if (command.count("--vrf") > 0) out["vrf"] = vrf;
        if (command.count("--sport") > 0) out["sport"] = sport;
        if (command.count("--dport") > 0) out["dport"] = dport;
        return out;
    }
};

std::string endpoint(const Json& flow, const char* address, const char* port) {
    const std::string text = text_at(flow, address);
    return text.find(':') == std::string::npos
               ? fmt::format("{}:{}", text, number_at(flow, port))
               : fmt::format("[{}]:{}", text, number_at(flow, port));
}

void list_flows(Context& context, const Json& params) {
    const auto result = context.list("conntrack.list", "flows", params);
    if (!result || context.print_json(*result)) return;
    Table table({"PROTO", "FROM", "TO", "STATE", "IN", "OUT", "AGE", "EXPIRES"});
    for (const Json& flow : array_at(*result, "flows")) {
        table.row({text_at(flow, "protocol"), endpoint(flow, "src", "sport"),
                   endpoint(flow, "dst", "dport"), text_at(flow, "state"),
                   text_at(flow, "in", "uplink"), text_at(flow, "out", "uplink"),
                   fmt::format("{} s", number_at(flow, "age_s")),
                   fmt::format("{} s", number_at(flow, "expires_s"))});
    }
    table.print(context.out);
}

void print_config(Context& context, const Json& config) {
    Sheet sheet;
    for (const auto& [name, value] : config.items()) {
        if (!value.is_object()) sheet.line(name, plain(value));
    }
    for (const auto& [name, value] : object_at(config, "timeouts").items())
        sheet.line(name, plain(value) + " s");
    sheet.print(context.out);
}

void count(Context& context) {
    const auto result = context.call("conntrack.count", Json::object());
    if (!result || context.print_json(*result)) return;
    fmt::print(context.out, "{} flows of {}, {} half-open, {} of memory\n",
               number_at(*result, "flows"), number_at(*result, "capacity"),
               number_at(*result, "half_open"), human_bytes(number_at(*result, "bytes")));
}

// KEY=VALUE words; without any, the present settings.
void config(Context& context, const std::vector<std::string>& words) {
    Json params = Json::object();
    for (const std::string& word : words) {
        const size_t equals = word.find('=');
        const Json value = equals == std::string::npos
                               ? Json(Json::value_t::discarded)
                               : Json::parse(word.substr(equals + 1), nullptr, false);
        if (value.is_discarded())
            return context.usage("conntrack config wants NAME=NUMBER or NAME=true|false");
        const std::string name = word.substr(0, equals);
        if (name.find("timeout") != std::string::npos) {
            params["timeouts"][name] = value;
        } else {
            params[name] = value;
        }
    }
    const auto result = params.empty() ? context.call("conntrack.count", params)
                                       : context.call("conntrack.config", params);
    if (!result || context.print_json(*result)) return;
    print_config(context, params.empty() ? object_at(*result, "config") : *result);
}

}  // namespace

void add_conntrack(CLI::App& app, Context& context) {
    CLI::App* conntrack =
        app.add_subcommand("conntrack", "Connections: list, count, flush, config");
    conntrack->require_subcommand(1);

    auto list_o = std::make_shared<FilterOptions>();
    CLI::App* list = conntrack->add_subcommand("list", "List connections");
    list_o->add(*list);
    list->callback([&context, list, list_o] { list_flows(context, list_o->params(*list)); });

    CLI::App* count_command = conntrack->add_subcommand("count", "How many there are");
    count_command->callback([&context] { count(context); });

    auto flush_o = std::make_shared<FilterOptions>();
    CLI::App* flush = conntrack->add_subcommand("flush", "End connections");
    flush_o->add(*flush);
    flush->callback([&context, flush, flush_o] {
        const auto result = context.call("conntrack.flush", flush_o->params(*flush));
        if (result && !context.print_json(*result))
            fmt::print(context.out, "{} flows ended\n", number_at(*result, "flushed"));
    });

    auto words = std::make_shared<std::vector<std::string>>();
    CLI::App* settings =
        conntrack->add_subcommand("config", "Show or change limits and timeouts while it runs");
    settings->add_option("setting", *words, "NAME=VALUE...");
    settings->callback([&context, words] { config(context, *words); });
}

}  // namespace slash32::cli
