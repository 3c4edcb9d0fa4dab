// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/network_namespace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace slash32 {

Result<NetworkNamespace> NetworkNamespace::current() {
    const int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return NetworkNamespace(fd);
    return fail(ErrorCode::kUnavailable, "host.namespace",
                fmt::format("cannot tell the namespace that we are in: {}", std::strerror(errno)));
}

Result<NetworkNamespace> NetworkNamespace::named(const std::string& name) {
    const int fd = open(fmt::format("/run/netns/{}", name).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return NetworkNamespace(fd);
    return fail(
        ErrorCode::kInvalid, "host.namespace",
        fmt::format("cannot open the network namespace \"{}\": {}", name, std::strerror(errno)));
}

NetworkNamespace::NetworkNamespace(NetworkNamespace&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

NetworkNamespace::~NetworkNamespace() {
    if (fd_ >= 0) close(fd_);
}

Result<void> NetworkNamespace::enter() const {
    if (setns(fd_, CLONE_NEWNET) == 0) return {};
    return fail(ErrorCode::kForbidden, "host.namespace",
                fmt::format("cannot go to the network namespace: {}", std::strerror(errno)));
}

InNamespace::InNamespace(const NetworkNamespace* there) {
    if (there == nullptr) return;
    auto before = NetworkNamespace::current();
    if (!before) {
        entered_ = tl::unexpected<Error>(before.error());
        return;
    }
    before_.emplace(std::move(*before));
    entered_ = there->enter();
}

// Where it came from is there still, and may be gone back to by whoever could leave it.
InNamespace::~InNamespace() {
    if (before_ && entered_) (void)before_->enter();
}

}  // namespace slash32
