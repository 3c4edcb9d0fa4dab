// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/systemd.h"

#include <cstdint>
#include <systemd/sd-daemon.h>

namespace slash32 {

void notify_ready(const std::string& status) {
    sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
}

void notify_stopping() {
    sd_notify(0, "STOPPING=1");
}

void notify_alive() {
    sd_notify(0, "WATCHDOG=1");
}

std::chrono::microseconds watchdog_interval() {
    uint64_t limit_us = 0;
    if (sd_watchdog_enabled(0, &limit_us) <= 0) return std::chrono::microseconds(0);
    // Twice as often as asked, so that one late turn does no harm.
    return std::chrono::microseconds(limit_us / 2);
}

}  // namespace slash32
