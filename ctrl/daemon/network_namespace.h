// SPDX-License-Identifier: Apache-2.0
// The network namespaces of a thread: network_namespaces(7). Sockets and interfaces are made in the
// one that the thread is in at that time, and stay there.
#pragma once

#include "dp/base/result.h"

#include <optional>
#include <string>

namespace slash32 {

class NetworkNamespace {
  public:
    // The one of this thread now. Errors: kUnavailable.
    static Result<NetworkNamespace> current();
    // One that ip-netns(8) knows. Errors: kInvalid at host.namespace.
    static Result<NetworkNamespace> named(const std::string& name);
    NetworkNamespace(NetworkNamespace&& other) noexcept;
    NetworkNamespace& operator=(NetworkNamespace&&) = delete;
    ~NetworkNamespace();

    // Takes this thread there. Errors: kForbidden (CAP_SYS_ADMIN).
    Result<void> enter() const;

  private:
    explicit NetworkNamespace(int fd) : fd_(fd) {}

    int fd_;
};

// In `there` for as long as it lives; nullptr: where the thread is anyway.
class InNamespace {
  public:
    explicit InNamespace(const NetworkNamespace* there);
    InNamespace(const InNamespace&) = delete;
    InNamespace& operator=(const InNamespace&) = delete;
    ~InNamespace();

    // Whether the thread is there. Errors: as of enter().
    Result<void> entered() const { return entered_; }

  private:
    std::optional<NetworkNamespace> before_;
    Result<void> entered_;
};

}  // namespace slash32
