// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/kernel_router.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace slash32::test {
namespace {

constexpr size_t kEthernet = 14;
constexpr unsigned kMarkerWaits = 500;  // of 10 ms

[[noreturn]] void stop(const char* what) {
    std::perror(what);
    std::abort();
}

int take_tap(const char* name) {
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) stop("/dev/net/tun");
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(fd, TUNSETIFF, &request) != 0) stop(name);
    return fd;
}

// What forwarding does not change: all behind the IP header, and the addresses.
Bytes lasting(const Bytes& frame) {
    const bool ipv6 = frame.size() > kEthernet && frame[kEthernet] >> 4 == 6;
    const size_t addresses = kEthernet + (ipv6 ? 8 : 12);
    if (frame.size() < addresses) return {};
    return Bytes(frame.begin() + static_cast<ptrdiff_t>(addresses), frame.end());
}

std::optional<Bytes> receive(int fd) {
    Bytes frame(2048);
    const ssize_t got = read(fd, frame.data(), frame.size());
    if (got < 0) return std::nullopt;
    frame.resize(static_cast<size_t>(got));
    return frame;
}

}  // namespace

KernelRouter::KernelRouter() : taps_{take_tap("client"), take_tap("server")} {}

KernelRouter::~KernelRouter() {
    for (const int fd : taps_)
        close(fd);
}

void KernelRouter::clear() {
    for (const int fd : taps_) {
        while (receive(fd)) {
        }
    }
}

void KernelRouter::send(bool forward, const Bytes& frame) {
    if (write(taps_[forward ? 0 : 1], frame.data(), frame.size()) !=
        static_cast<ssize_t>(frame.size()))
        stop("write");
}

bool KernelRouter::arrives(bool forward, const Bytes& frame) {
    while (const std::optional<Bytes> came = receive(taps_[forward ? 1 : 0])) {
        if (lasting(*came) == lasting(frame)) return true;
    }
    return false;
}

bool KernelRouter::passes(bool forward, const Bytes& frame) {
    clear();  // what the kernel has said of its own since is no answer
    send(forward, frame);
    if (arrives(forward, frame)) return true;
    const Bytes& marker = markers_[forward ? 0 : 1];
    if (marker.empty()) return false;
    // A kernel that is busy forwards later, but in order: once the marker is through, the frame was
    // dropped.
    send(forward, marker);
    for (unsigned waits = 0; waits < kMarkerWaits; ++waits) {
        const int fd = taps_[forward ? 1 : 0];
        while (const std::optional<Bytes> came = receive(fd)) {
            if (lasting(*came) == lasting(frame)) return true;
            if (lasting(*came) == lasting(marker)) return false;
        }
        pollfd wait{fd, POLLIN, 0};
        poll(&wait, 1, 10);
    }
    stop("a packet of an established flow does not come through");
}

}  // namespace slash32::test
