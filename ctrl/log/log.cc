// SPDX-License-Identifier: Apache-2.0
#include "ctrl/log/log.h"

#include "dp/base/assert.h"

#include <nlohmann/json.hpp>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/systemd_sink.h>

#include <algorithm>
#include <memory>

namespace slash32 {
namespace {

constexpr const char* kTextPattern = "%Y-%m-%d %H:%M:%S.%e %-7l %n: %v";

// One JSON object a line.
class JsonFormatter final : public spdlog::formatter {
  public:
    void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
        using namespace std::chrono;
        const auto ms = duration_cast<milliseconds>(message.time.time_since_epoch()).count();
        const nlohmann::json line = {
            {"time_ms", ms},
            {"level", std::string_view(spdlog::level::to_string_view(message.level).data(),
                                       spdlog::level::to_string_view(message.level).size())},
            {"module", std::string_view(message.logger_name.data(), message.logger_name.size())},
            {"message", std::string_view(message.payload.data(), message.payload.size())}};
        // Bytes that are not UTF-8 (a path, say) must not end the daemon.
        const std::string text =
            line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
        out.append(text.data(), text.data() + text.size());
    }
    std::unique_ptr<formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

std::shared_ptr<spdlog::sinks::sink> stderr_sink() {
    return std::make_shared<spdlog::sinks::stderr_sink_mt>();
}

using Loggers = std::array<std::shared_ptr<spdlog::logger>, kLogModules.size()>;

Loggers make_loggers(const std::shared_ptr<spdlog::sinks::sink>& sink) {
    Loggers loggers;
    for (size_t i = 0; i < loggers.size(); ++i) {
        loggers[i] = std::make_shared<spdlog::logger>(std::string(kLogModules[i]), sink);
        loggers[i]->flush_on(spdlog::level::info);
    }
    return loggers;
}

Loggers& all_loggers() {
    static Loggers loggers = [] {
        auto sink = stderr_sink();
        sink->set_pattern(kTextPattern);
        return make_loggers(sink);
    }();
    return loggers;
}

// By the names of the protocol only: spdlog knows short forms, and takes unknown names for "off".
bool parse_level(std::string_view name, spdlog::level::level_enum& level) {
    constexpr std::string_view kNames[] = {"trace", "debug", "info", "warning", "error", "off"};
    if (std::ranges::find(kNames, name) == std::end(kNames)) return false;
    level = spdlog::level::from_str(std::string(name));
    return true;
}

}  // namespace

Result<void> start_logging(const LogOptions& options) {
    std::shared_ptr<spdlog::sinks::sink> sink;
    try {
        if (options.to == "stderr")
            sink = stderr_sink();
        else if (options.to == "journal")
            sink = std::make_shared<spdlog::sinks::systemd_sink_mt>("slash32d");
        else
            sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.to);
    } catch (const spdlog::spdlog_ex& error) {
        return fail(ErrorCode::kUnavailable, "log.to", error.what());
    }
    if (options.format == "json")
        sink->set_formatter(std::make_unique<JsonFormatter>());
    else
        sink->set_pattern(options.to == "journal" ? "%n: %v" : kTextPattern);
    all_loggers() = make_loggers(sink);
    return set_log_levels(options.level, options.levels);
}

Result<void> set_log_levels(const std::string& level, const std::vector<std::string>& levels) {
    if (auto set = set_log_level("", level); !set) return set;
    for (const std::string& item : levels) {
        const size_t equals = item.find('=');
        if (equals == std::string::npos)
            return fail(ErrorCode::kInvalid, "log.levels", "\"" + item + "\" is not module=level");
        auto set = set_log_level(item.substr(0, equals), item.substr(equals + 1));
        if (!set) return set;
    }
    return {};
}

spdlog::logger& log(std::string_view module) {
    const auto found = std::ranges::find(kLogModules, module);
    S32_ASSERT(found != kLogModules.end());
    return *all_loggers()[static_cast<size_t>(found - kLogModules.begin())];
}

std::map<std::string, std::string> log_levels() {
    std::map<std::string, std::string> levels;
    for (const auto& logger : all_loggers()) {
        const auto name = spdlog::level::to_string_view(logger->level());
        levels[logger->name()] = std::string(name.data(), name.size());
    }
    return levels;
}

Result<void> set_log_level(std::string_view module, std::string_view level) {
    spdlog::level::level_enum value{};
    if (!parse_level(level, value))
        return fail(
            ErrorCode::kInvalid, "level",
            "\"" + std::string(level) + "\" is not trace, debug, info, warning, error or off");
    if (!module.empty() && std::ranges::find(kLogModules, module) == kLogModules.end())
        return fail(ErrorCode::kInvalid, "module",
                    "there is no module \"" + std::string(module) + "\"");
    for (const auto& logger : all_loggers()) {
        if (module.empty() || logger->name() == module) logger->set_level(value);
    }
    return {};
}

}  // namespace slash32
