// SPDX-License-Identifier: Apache-2.0
// The daemon: everything put together in the order of its start, one event loop, and the way down.
//
// Thread safety: the main thread is the control thread. Workers, the device thread and
// librte_vhost's thread reach it only through eventfds and posted calls.
#pragma once

#include "ctrl/daemon/config.h"
#include "dp/base/result.h"

#include <functional>
#include <memory>

namespace slash32 {

class Daemon {
  public:
    // `reload` reads the configuration again, at SIGHUP.
    Daemon(const Config& config, std::function<Result<Config>()> reload);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    // Up to the point where packets pass and clients are served. The error says in one sentence
    // what cannot be had.
    Result<void> start();
    // Until SIGTERM or SIGINT. At SIGHUP the configuration is read again: what can change while
    // packets pass does, and the log names what cannot. A bad one changes nothing.
    void run();

  private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace slash32
