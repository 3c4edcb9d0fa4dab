// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/clock_text.h"

#include <fmt/chrono.h>

namespace slash32::rpc {

std::string time_text(std::chrono::system_clock::time_point time) {
    using std::chrono::milliseconds;
    const auto since = std::chrono::floor<milliseconds>(time.time_since_epoch());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds.count()),
                       (since - seconds).count());
}

std::string now_text() {
    return time_text(std::chrono::system_clock::now());
}

}  // namespace slash32::rpc
