// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/connection.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace slash32 {
namespace {

constexpr suseconds_t kReadTimeoutUs = 100'000;
constexpr int kNearHint = 4;

bool is_connection(int fd, const std::string& path, bool server) {
    sockaddr_un address{};
    socklen_t length = sizeof address;
    auto* to = reinterpret_cast<sockaddr*>(&address);
    const int result = server ? getsockname(fd, to, &length) : getpeername(fd, to, &length);
    if (result != 0 || address.sun_family != AF_UNIX ||
        strnlen(address.sun_path, sizeof address.sun_path) != path.size() ||
        std::memcmp(address.sun_path, path.data(), path.size()) != 0)
        return false;
    int listens = 0;
    length = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens == 0;
}

}  // namespace

int next_descriptor() {
    const int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0) close(fd);
    return fd;
}

int find_connection(const std::string& path, bool server, int hint) {
    for (int fd = hint; hint >= 0 && fd < hint + kNearHint; ++fd) {
        if (is_connection(fd, path, server)) return fd;
    }
    DIR* directory = opendir("/proc/self/fd");
    if (directory == nullptr) return -1;
    int found = -1;
    while (const dirent* entry = readdir(directory)) {
        char* end = nullptr;
        const long fd = std::strtol(entry->d_name, &end, 10);
        if (end == entry->d_name || *end != '\0') continue;
        if (is_connection(static_cast<int>(fd), path, server)) found = static_cast<int>(fd);
    }
    closedir(directory);
    return found;
}

void bound_reads(int fd) {
    const timeval timeout{.tv_sec = 0, .tv_usec = kReadTimeoutUs};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

bool takes_replies(int fd) {
    pollfd wanted{.fd = fd, .events = POLLOUT, .revents = 0};
    return poll(&wanted, 1, 0) == 1 && (wanted.revents & POLLOUT) != 0;
}

void cut_connection(int fd) {
    shutdown(fd, SHUT_RDWR);
}

}  // namespace slash32
