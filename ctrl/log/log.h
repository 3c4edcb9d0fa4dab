// SPDX-License-Identifier: Apache-2.0
// Logging: one spdlog logger per module, all on one sink, levels changeable while running.
//
// Thread safety: log() and levels from any thread but workers, which never log.
#pragma once

#include "dp/base/result.h"

#include <spdlog/spdlog.h>

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace slash32 {

inline constexpr std::array<std::string_view, 9> kLogModules = {
    "daemon", "dpdk", "firewall", "intent", "plane", "routing", "rpc", "store", "vhost"};

struct LogOptions {
    std::string to = "stderr";        // "stderr", "journal" or a file
    std::string format = "text";      // "text" or "json"
    std::string level = "info";       // of every module
    std::vector<std::string> levels;  // "module=level"
};

// Makes the loggers. Errors: kInvalid (unknown module or level), kUnavailable (the file cannot be
// opened). Before it, log() writes to stderr.
Result<void> start_logging(const LogOptions& options);

// One level for every module, but for those of `levels`, "module=level". Errors: kInvalid.
Result<void> set_log_levels(const std::string& level, const std::vector<std::string>& levels);

// REQUIRES: `module` is one of kLogModules.
spdlog::logger& log(std::string_view module);

// Every module and its level, by the names that set_log_level takes.
std::map<std::string, std::string> log_levels();
// `module` empty: all. Errors: kInvalid, with path "level" or "module".
Result<void> set_log_level(std::string_view module, std::string_view level);

}  // namespace slash32
