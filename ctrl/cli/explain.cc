// SPDX-License-Identifier: Apache-2.0
// slash32ctl explain: what the router would do with a packet, step by step.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>

namespace slash32::cli {
namespace {

struct ExplainOptions {
    std::string port;
    std::string src;
    std::string dst;
    std::string proto;
    std::string src_mac;
    std::string dst_mac;
    int64_t sport = 0;
    int64_t dport = 0;
    int64_t ttl = 0;
    int64_t length = 0;
    int64_t icmp_type = 0;
    int64_t icmp_code = 0;
};

Json params_of(const CLI::App& command, const ExplainOptions& o) {
    Json params{{"port", o.port}, {"src", o.src}, {"dst", o.dst}};
    const bool digits = !o.proto.empty() && o.proto.size() < 4 &&
                        o.proto.find_first_not_of("0123456789") == std::string::npos;
    params["proto"] = digits ? Json(std::stoi(o.proto)) : Json(o.proto);
    if (!o.src_mac.empty()) params["src_mac"] = o.src_mac;
    if (!o.dst_mac.empty()) params["dst_mac"] = o.dst_mac;
    const std::pair<const char*, int64_t> numbers[] = {
        {"sport", o.sport},   {"dport", o.dport},         {"ttl", o.ttl},
        {"length", o.length}, {"icmp_type", o.icmp_type}, {"icmp_code", o.icmp_code},
    };
    for (const auto& [name, value] : numbers) {
        std::string option = std::string("--") + name;
        std::ranges::replace(option, '_', '-');
        if (command.count(option) > 0) params[name] = value;
    }
    return params;
}

void explain(Context& context, const CLI::App& command, const ExplainOptions& o) {
    const auto result = context.call("explain", params_of(command, o));
    if (!result || context.print_json(*result)) return;
    Table table({"STAGE", "DECISION", "WHY"});
    for (const Json& step : array_at(*result, "steps")) {
        table.row({text_at(step, "stage"), text_at(step, "decision"), text_at(step, "detail")});
    }
    table.print(context.out);
    const std::string reason = text_at(*result, "reason");
    const std::string port = text_at(*result, "port");
    fmt::print(context.out, "verdict: {}{}{}\n", text_at(*result, "verdict"),
               port.empty() ? "" : " to port " + port, reason.empty() ? "" : " (" + reason + ")");
}

}  // namespace

void add_explain(CLI::App& app, Context& context) {
    auto o = std::make_shared<ExplainOptions>();
    CLI::App* command =
        app.add_subcommand("explain", "What the router would do with a packet of a port");
    command->add_option("port", o->port, "The port whose VM sends it")->required();
    command->add_option("--src", o->src, "Source address")->required();
    command->add_option("--dst", o->dst, "Destination address")->required();
    command->add_option("--proto", o->proto, "tcp, udp, icmp, icmpv6, sctp or a number")
        ->required();
    command->add_option("--sport", o->sport, "Source port");
    command->add_option("--dport", o->dport, "Destination port");
    command->add_option("--icmp-type", o->icmp_type, "ICMP type");
    command->add_option("--icmp-code", o->icmp_code, "ICMP code");
    command->add_option("--src-mac", o->src_mac, "Source MAC address (the port's)");
    command->add_option("--dst-mac", o->dst_mac, "Destination MAC address (the gateway's)");
    command->add_option("--ttl", o->ttl, "TTL or hop limit (64)");
    command->add_option("--length", o->length, "Length of the IP packet in bytes (64)");
    command->callback([&context, command, o] { explain(context, *command, *o); });
}

}  // namespace slash32::cli
