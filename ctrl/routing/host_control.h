// SPDX-License-Identifier: Apache-2.0
// What an operator does to the host as a whole, and how its routing is.
//
// Thread safety: the control thread.
#pragma once

#include "ctrl/api/services.h"
#include "ctrl/routing/announcer.h"
#include "ctrl/routing/kernel_routing.h"
#include "dp/base/result.h"

#include <functional>
#include <string>

namespace slash32 {

class HostControl final : public HostService {
  public:
    struct Options {
        std::string path;  // of the file that says so while the host is drained; empty: not durable
        std::function<void(bool)> refuse_new_ports;
        Announcer* announcer = nullptr;          // nullptr: nothing is announced
        const KernelRouting* routing = nullptr;  // nullptr: the kernel is not followed
    };

    // As the daemon before was left.
    explicit HostControl(Options options);

    HostStatus status() const override;
    RoutePage routes(const FollowedRouteFilter&, uint64_t from, size_t limit) const override;
    Result<void> set_drain(Drain drain) override;

  private:
    Result<void> store(Drain drain) const;
    void apply(Drain drain);

    Options options_;
    Drain drain_ = Drain::kNone;
};

}  // namespace slash32
