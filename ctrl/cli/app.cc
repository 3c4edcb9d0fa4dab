// SPDX-License-Identifier: Apache-2.0
// The command line as a whole: global options, parsing, exit codes.
#include "ctrl/cli/commands.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <csignal>

namespace slash32::cli {
namespace {

volatile std::sig_atomic_t signal_seen = 0;

void on_signal(int) {
    signal_seen = 1;
}

}  // namespace

bool interrupted() {
    return signal_seen != 0;
}

InterruptGuard::InterruptGuard() {
    signal_seen = 0;
    struct sigaction action {};
    action.sa_handler = on_signal;  // without SA_RESTART: a waiting poll() ends
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

InterruptGuard::~InterruptGuard() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

void WriteOptions::add(CLI::App& command) {
    command.add_flag("--force", force, "Change another owner's objects too");
    command.add_flag("-n,--dry-run", dry_run, "Show the difference, change nothing");
}

void WriteOptions::put(const Context& context, Json& params) const {
    if (force) params["force"] = true;
    if (dry_run) params["dry_run"] = true;
    if (!context.globals.owner.empty()) params["owner"] = context.globals.owner;
}

bool put_labels(const std::vector<std::string>& labels, Json& params) {
    for (const std::string& label : labels) {
        const size_t equals = label.find('=');
        if (equals == std::string::npos || equals == 0) return false;
        params["labels"][label.substr(0, equals)] = label.substr(equals + 1);
    }
    return true;
}

void print_outcome(Context& context, const std::string& what, const Json& result) {
    if (context.print_json(result)) return;
    if (!bool_at(result, "dry_run")) {
        fmt::print(context.out, "{}, revision {}\n", what, number_at(result, "revision"));
        return;
    }
    const Json& difference = object_at(result, "difference");
    for (const Json& object : array_at(difference, "objects")) {
        Json rest = object;
        rest.erase("op");
        rest.erase("object");
        rest.erase("fields");
        fmt::print(context.out, "{} {} {}\n", text_at(object, "op"), text_at(object, "object"),
                   plain(rest));
        for (const auto& [field, values] : object_at(object, "fields").items()) {
            fmt::print(context.out, "    {}: {} -> {}\n", field,
                       plain(values.value("from", Json())), plain(values.value("to", Json())));
        }
    }
    fmt::print(context.out, "would add {}, change {}, remove {}; unchanged {}{}\n",
               number_at(difference, "added"), number_at(difference, "changed"),
               number_at(difference, "removed"), number_at(difference, "unchanged"),
               bool_at(difference, "truncated") ? " (not all shown)" : "");
}

std::unique_ptr<CLI::App> make_app(Context& context) {
    auto app = std::make_unique<CLI::App>("Controls slash32d, the userspace virtual router.",
                                          "slash32ctl");
    app->get_formatter()->column_width(24);  // 56 are left for what an option does
    app->fallthrough();  // the global options may stand after the command as well
    app->require_subcommand(0, 1);
    app->set_version_flag("-V,--version", "slash32ctl " S32_VERSION);
    Globals& globals = context.globals;
    CLI::Option* socket =
        app->add_option("-s,--socket", globals.socket, "Control socket of slash32d");
    // In a shell the option of the shell itself has been decided already.
    if (!context.interactive) socket->envname("SLASH32_SOCKET");
    app->add_flag("-j,--json", globals.json, "Print results as JSON");
    app->add_option("--owner", globals.owner, "Act as this owner (default cli)");
    app->add_option("--timeout", globals.timeout_s, "Seconds to wait for an answer")
        ->check(CLI::Range(0.001, 86400.0));
    add_status(*app, context);
    add_port(*app, context);
    add_vrf(*app, context);
    add_route(*app, context);
    add_neighbor(*app, context);
    add_sg(*app, context);
    add_addrset(*app, context);
    add_conntrack(*app, context);
    add_show(*app, context);
    add_worker(*app, context);
    add_host(*app, context);
    add_watch(*app, context);
    add_explain(*app, context);
    add_capture(*app, context);
    add_log(*app, context);
    add_sync(*app, context);
    add_shell(*app, context);
    return app;
}

int run(const std::vector<std::string>& words, Context& context) {
    context.exit_code = kExitOk;
    const auto app = make_app(context);
    try {
        // CLI11 takes the words from the back.
        app->parse(std::vector<std::string>(words.rbegin(), words.rend()));
        if (app->get_subcommands().empty()) {
            context.usage("a command is needed: see slash32ctl --help");
        }
    } catch (const CLI::ParseError& error) {
        const int code = app->exit(error, context.out, context.err);
        context.exit_code = code == 0 ? kExitOk : kExitUsage;
    } catch (const Json::exception& error) {
        fmt::print(context.err, "slash32ctl: the daemon's answer was not understood: {}\n",
                   error.what());
        context.exit_code = kExitRefused;
    }
    context.out.flush();
    return context.exit_code;
}

}  // namespace slash32::cli
