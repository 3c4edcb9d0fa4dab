// SPDX-License-Identifier: Apache-2.0
// slash32ctl watch: events as they happen, across restarts of the daemon.
#include "ctrl/cli/commands.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <chrono>
#include <thread>

namespace slash32::cli {
namespace {

using client::Milliseconds;
using Clock = std::chrono::steady_clock;

constexpr Milliseconds kPoll{1000};
constexpr Milliseconds kReconnectPause{200};

struct WatchOptions {
    uint64_t since = 0;
    bool has_since = false;
    std::string instance;
    std::vector<std::string> types;
    uint64_t count = 0;  // 0: without end
};

void print_event(Context& context, const Json& event) {
    if (context.globals.json) {
        context.out << event.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
        return;
    }
    std::string line = fmt::format("{} {} {}", text_at(event, "time"), number_at(event, "seq"),
                                   text_at(event, "type"));
    if (event.contains("port")) line += " " + text_at(event, "port");
    for (const auto& [key, value] : event.items()) {
        if (key == "time" || key == "seq" || key == "type" || key == "port") continue;
        if (value.is_object() && value.empty()) continue;
        line += value.is_object() ? fmt::format(" {}({})", key, plain(value))
                                  : fmt::format(" {}={}", key, plain(value));
    }
    context.out << line << std::endl;
}

void print_start(Context& context, const client::WatchStart& start) {
    if (!start.lost) return;
    if (context.globals.json) {
        context.out
            << Json{{"type", "lost"}, {"seq", start.seq}, {"instance", start.instance}}.dump()
            << std::endl;
    } else {
        fmt::print(context.out, "events were lost; going on after {} of instance {}\n", start.seq,
                   start.instance);
        context.out.flush();
    }
}

// Tries until --timeout has passed; false when the daemon did not come back.
bool resume(Context& context, Client& client, const client::Error& why) {
    const auto deadline =
        Clock::now() + Milliseconds(static_cast<int64_t>(context.globals.timeout_s * 1000));
    fmt::print(context.err, "slash32ctl: {} Connecting again.\n", why.text());
    for (;;) {
        const auto start = client.resume();
        if (start) {
            print_start(context, *start);
            return true;
        }
        if (interrupted()) return false;
        if (Clock::now() >= deadline) {
            context.fail(start.error());
            return false;
        }
        std::this_thread::sleep_for(kReconnectPause);
    }
}

void watch(Context& context, const WatchOptions& o) {
    Client* client = context.connect();
    if (client == nullptr) return;
    client::WatchRequest request{std::nullopt, o.instance, o.types};
    if (o.has_since) request.since = o.since;
    const InterruptGuard guard;
    const auto start = client->watch(request);
    if (!start) return context.fail(start.error());
    print_start(context, *start);
    for (uint64_t seen = 0; !interrupted() && (o.count == 0 || seen < o.count);) {
        const auto notification = client->next(kPoll);
        if (!notification) {
            if (!resume(context, *client, notification.error())) return;
        } else if (*notification && (*notification)->method == "event") {
            print_event(context, (*notification)->params);
            ++seen;
        }
    }
    context.disconnect();  // the next command of a shell wants no events
}

}  // namespace

void add_watch(CLI::App& app, Context& context) {
    auto o = std::make_shared<WatchOptions>();
    CLI::App* command = app.add_subcommand("watch", "Events as they happen; ends with ^C");
    command->add_option("--since", o->since, "Begin with the events after this number");
    command->add_option("--instance", o->instance, "The instance that --since counts in");
    command->add_option("--type", o->types, "Only this type, or port.* and the like; repeatable")
        ->allow_extra_args(false);
    command->add_option("--count", o->count, "End after so many events");
    command->callback([&context, command, o] {
        o->has_since = command->count("--since") > 0;
        watch(context, *o);
    });
}

}  // namespace slash32::cli
