// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/reload.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <variant>

namespace slash32 {
namespace {

bool changes_at_once(std::string_view name) {
    if (name == "log.level" || name == "log.levels") return true;
    return name.starts_with("conntrack.") && name != "conntrack.flows";
}

}  // namespace

bool Reload::changes(std::string_view section) const {
    return std::ranges::any_of(now, [&](std::string_view name) {
        return name.starts_with(section) && name.substr(section.size()).starts_with('.');
    });
}

Reload take_over(Config& running, const Config& wanted) {
    Reload reload;
    for (const ConfigOption& option : config_options()) {
        const std::string name = fmt::format("{}.{}", option.section, option.key);
        std::visit(
            [&](auto member) {
                if (running.*member == wanted.*member) return;
                if (!changes_at_once(name)) {
                    reload.restart.push_back(name);
                    return;
                }
                running.*member = wanted.*member;
                reload.now.push_back(name);
            },
            option.target);
    }
    if (running.uplinks != wanted.uplinks) reload.restart.emplace_back("uplink");
    return reload;
}

}  // namespace slash32
