// SPDX-License-Identifier: Apache-2.0
// The commands, a file each, and how a command line becomes one of them.
#pragma once

#include "ctrl/cli/context.h"

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

namespace slash32::cli {

// Each adds its sub-commands; their callbacks do the work and set context.exit_code.
void add_status(CLI::App& app, Context& context);
void add_port(CLI::App& app, Context& context);
void add_route(CLI::App& app, Context& context);
void add_neighbor(CLI::App& app, Context& context);
void add_vrf(CLI::App& app, Context& context);
void add_sg(CLI::App& app, Context& context);
void add_addrset(CLI::App& app, Context& context);
void add_conntrack(CLI::App& app, Context& context);
void add_show(CLI::App& app, Context& context);
void add_worker(CLI::App& app, Context& context);
void add_host(CLI::App& app, Context& context);
void add_watch(CLI::App& app, Context& context);
void add_explain(CLI::App& app, Context& context);
void add_capture(CLI::App& app, Context& context);
void add_log(CLI::App& app, Context& context);
void add_sync(CLI::App& app, Context& context);
void add_shell(CLI::App& app, Context& context);  // shell, batch

// The whole command line; a new one for every line of a shell, as CLI11 keeps what it parsed.
std::unique_ptr<CLI::App> make_app(Context& context);

// Parses and runs one command line (without the program's name); returns the exit code.
int run(const std::vector<std::string>& words, Context& context);

// What may stand in place of the last word, for the shell's and bash's completion.
std::vector<std::string> complete(const std::vector<std::string>& words, Context& context);

// Splits a line as a shell would: spaces, '...', "...", \x, # to the end. std::nullopt: an open
// quote.
std::optional<std::vector<std::string>> split_line(const std::string& line);

// Options that several commands have, put into params by put().
struct WriteOptions {
    bool force = false;
    bool dry_run = false;
    void add(CLI::App& command);
    void put(const Context& context, Json& params) const;
};

// Puts "KEY=VALUE" into params; an empty VALUE is one. False: no '='.
bool put_labels(const std::vector<std::string>& labels, Json& params);

// The lists, printed alike by "port list" and "show ports".
void list_ports(Context& context, const Json& params);
void list_routes(Context& context, const Json& params);
void list_neighbors(Context& context, const Json& params);
void list_segments(Context& context);

// What the stages of each worker cost ("show workers --stages").
void show_stages(Context& context);

// A rule as a person writes it: "ingress [ipv4|ipv6] [PROTOCOL [PORT[-PORT] | type N [code N]]]
// [from|to PREFIX | group NAME | set NAME]". std::nullopt: it is not one, and `why` says so.
std::optional<Json> parse_rule(const std::string& text, std::string& why);
std::string rule_text(const Json& rule);

// The difference of a dry run, or "what: added, revision 7".
void print_outcome(Context& context, const std::string& what, const Json& result);

// Why a port (as port.get shows it) passes no traffic, or what is remarkable about one that does.
std::vector<std::string> port_remarks(const Json& port);

// True once after SIGINT or SIGTERM, for the commands that run until then.
bool interrupted();
// Makes these signals set it, while it lives.
class InterruptGuard {
  public:
    InterruptGuard();
    ~InterruptGuard();
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;
};

}  // namespace slash32::cli
