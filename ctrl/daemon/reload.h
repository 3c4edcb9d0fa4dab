// SPDX-License-Identifier: Apache-2.0
// What changes when the configuration is read again while the daemon runs.
#pragma once

#include "ctrl/daemon/config.h"

#include <string>
#include <string_view>
#include <vector>

namespace slash32 {

struct Reload {
    // Options by name, "section.key"; "uplink" stands for all uplinks.
    std::vector<std::string> now;      // log levels, and conntrack but for its size
    std::vector<std::string> restart;  // what only a restart changes

    bool changes(std::string_view section) const;  // something of it, now
};

// `running` takes over what changes now; the rest of it stays.
Reload take_over(Config& running, const Config& wanted);

}  // namespace slash32
