// SPDX-License-Identifier: Apache-2.0
// slash32d: reads the command line and the configuration file, then runs the daemon.
#include "ctrl/daemon/config.h"
#include "ctrl/daemon/daemon.h"
#include "ctrl/daemon/version.h"
#include "ctrl/holder/client.h"
#include "ctrl/holder/holder.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace slash32 {
namespace {

struct CommandLine {
    Config flags;  // only the members whose flag was given count
    std::string config_path;
    std::vector<std::string> uplinks;
    bool check_only = false;
};

void add_flag(CLI::App& app, const ConfigOption& option, Config& flags) {
    const std::string group = std::string("[") + option.section + "]";
    std::visit(
        [&](auto member) {
            auto& target = flags.*member;
            CLI::Option* flag = app.add_option(option.flag(), target, option.help);
            constexpr bool kIsList =
                std::is_same_v<decltype(member), std::vector<int64_t> Config::*> ||
                std::is_same_v<decltype(member), std::vector<std::string> Config::*>;
            if constexpr (kIsList) flag->delimiter(',');
            flag->group(group);
        },
        option.target);
}

// Takes over what was given on the command line.
void apply_flags(const CLI::App& app, const Config& flags, Config& config) {
    for (const ConfigOption& option : config_options()) {
        if (app.count(option.flag()) == 0) continue;
        std::visit([&](auto member) { config.*member = flags.*member; }, option.target);
    }
}

Result<Config> load_config(const CLI::App& app, const CommandLine& line) {
    Config config;
    if (!line.config_path.empty()) {
        if (auto read = read_config_file(line.config_path, config); !read)
            return tl::unexpected<Error>(read.error());
    }
    apply_flags(app, line.flags, config);
    for (const std::string& text : line.uplinks) {
        auto uplink = parse_uplink_flag(text);
        if (!uplink) return tl::unexpected<Error>(uplink.error());
        config.uplinks.push_back(std::move(*uplink));
    }
    if (auto checked = check_config(config); !checked)
        return tl::unexpected<Error>(checked.error());
    return config;
}

int complain(const Error& error) {
    const std::string at = error.path.empty() ? "" : error.path + ": ";
    fmt::print(stderr, "slash32d: {}{}\n", at, error.message);
    return 1;
}

int run(int argc, char** argv) {
    CLI::App app("slash32d: a virtual router for hypervisors", "slash32d");
    CommandLine line;
    app.set_version_flag("--version", std::string("slash32d ") + kVersion);
    app.add_option("-c,--config", line.config_path, "configuration file (TOML)");
    app.add_flag("--check-config", line.check_only, "check the configuration and exit");
    app.add_option("--uplink", line.uplinks,
                   "an uplink: \"name=up0;devargs=net_af_packet0,iface=eth1;address=192.0.2.2\"");
    for (const ConfigOption& option : config_options())
        add_flag(app, option, line.flags);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    const Result<Config> config = load_config(app, line);
    if (!config) return complain(config.error());
    if (line.check_only) {
        fmt::print("configuration is good\n");
        return 0;
    }
    Daemon daemon(*config, [&] { return load_config(app, line); });
    if (auto started = daemon.start(); !started) return complain(started.error());
    daemon.run();
    return 0;
}

}  // namespace
}  // namespace slash32

int main(int argc, char** argv) {
    using namespace slash32;
    // What the daemon starts itself as; see ctrl/holder/holder.h.
    if (argc == 4 && std::string_view(argv[1]) == kHolderArgument)
        return run_holder(argv[2], kHolderSocket, static_cast<unsigned>(std::atoi(argv[3])));
    return slash32::run(argc, argv);
}
