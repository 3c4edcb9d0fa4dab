// SPDX-License-Identifier: Apache-2.0
// Times as the control protocol writes them: RFC 3339, UTC, milliseconds.
#pragma once

#include <chrono>
#include <string>

namespace slash32::rpc {

// "2026-01-31T09:00:00.000Z"
std::string time_text(std::chrono::system_clock::time_point time);
std::string now_text();

}  // namespace slash32::rpc
