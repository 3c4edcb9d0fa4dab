// SPDX-License-Identifier: Apache-2.0
// What the service manager hears: ready, alive, stopping. Silent where there is none.
#pragma once

#include <chrono>
#include <string>

namespace slash32 {

void notify_ready(const std::string& status);
void notify_stopping();
void notify_alive();
// How often notify_alive() is wanted; zero: never.
std::chrono::microseconds watchdog_interval();

}  // namespace slash32
