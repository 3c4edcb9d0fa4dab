// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

namespace slash32::rpc {
namespace {

constexpr int kBacklog = 64;
constexpr const char* kField = "socket.path";

std::string reason() {
    return std::strerror(errno);
}

tl::unexpected<Error> unavailable(std::string message) {
    return fail(ErrorCode::kUnavailable, kField, std::move(message));
}

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path[0] != '/' || path.size() >= sizeof address.sun_path) {
        return fail(ErrorCode::kInvalid, kField,
                    fmt::format("The control socket's path '{}' must be absolute and have at most "
                                "{} bytes.",
                                path, sizeof address.sun_path - 1));
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

// Whether the file at `address` has a listener behind it. A connection that is made is closed at
// once. EAGAIN is a full backlog, so somebody lives there too.
bool somebody_listens(const sockaddr_un& address) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return true;
    const int result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int error = errno;
    ::close(fd);
    return result == 0 || error != ECONNREFUSED;
}

Result<void> remove_leftover(const std::string& path, const sockaddr_un& address) {
    struct stat file {};
    if (lstat(path.c_str(), &file) != 0) {
        if (errno == ENOENT) return {};
        return unavailable(
            fmt::format("The control socket {} cannot be made: {}.", path, reason()));
    }
    if (!S_ISSOCK(file.st_mode)) {
        return fail(ErrorCode::kConflict, kField,
                    fmt::format("{} exists and is not a socket.", path));
    }
    if (somebody_listens(address)) {
        return fail(ErrorCode::kConflict, kField,
                    fmt::format("The control socket {} is in use by another process.", path));
    }
    if (unlink(path.c_str()) != 0) {
        return unavailable(
            fmt::format("The old control socket {} cannot be removed: {}.", path, reason()));
    }
    return {};
}

Result<std::optional<gid_t>> group_id(const std::string& group) {
    if (group.empty()) return std::nullopt;
    gid_t number = 0;
    const char* last = group.data() + group.size();
    if (const auto [end, error] = std::from_chars(group.data(), last, number);
        error == std::errc{} && end == last) {
        return number;
    }
    if (const struct group* entry = getgrnam(group.c_str())) return entry->gr_gid;
    return fail(ErrorCode::kInvalid, "socket.group",
                fmt::format("There is no group '{}' for the control socket.", group));
}

}  // namespace

Result<Listener> Listener::open(const std::string& path, mode_t mode, const std::string& group) {
    const Result<sockaddr_un> address = address_of(path);
    if (!address) return tl::unexpected(address.error());
    const Result<std::optional<gid_t>> gid = group_id(group);
    if (!gid) return tl::unexpected(gid.error());

    Listener listener;
    listener.path_ = path;
    const std::string lock = path + ".lock";
    listener.lock_fd_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (listener.lock_fd_ < 0) {
        return unavailable(fmt::format("{} cannot be made: {}.", lock, reason()));
    }
    if (flock(listener.lock_fd_, LOCK_EX | LOCK_NB) != 0) {
        return fail(ErrorCode::kConflict, kField,
                    fmt::format("The control socket {} is in use by another process.", path));
    }
    if (auto ok = remove_leftover(path, *address); !ok) return tl::unexpected(ok.error());

    listener.fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const auto* name = reinterpret_cast<const sockaddr*>(&*address);
    if (listener.fd_ < 0 || bind(listener.fd_, name, sizeof *address) != 0) {
        return unavailable(
            fmt::format("The control socket {} cannot be made: {}.", path, reason()));
    }
    struct stat file {};
    if (lstat(path.c_str(), &file) == 0) {
        listener.device_ = file.st_dev;
        listener.inode_ = file.st_ino;
    }
    // Nobody can connect before listen(), so there is no moment with the wrong owner or mode.
    if (*gid && chown(path.c_str(), static_cast<uid_t>(-1), **gid) != 0) {
        return unavailable(fmt::format("The control socket {} cannot be given to group {}: {}.",
                                       path, group, reason()));
    }
    if (chmod(path.c_str(), mode & 0777) != 0 || listen(listener.fd_, kBacklog) != 0) {
        return unavailable(
            fmt::format("The control socket {} cannot be opened: {}.", path, reason()));
    }
    return listener;
}

Listener::Listener(Listener&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      lock_fd_(std::exchange(other.lock_fd_, -1)),
      device_(other.device_),
      inode_(std::exchange(other.inode_, 0)) {}

Listener& Listener::operator=(Listener&& other) noexcept {
    if (this != &other) {
        close();
        path_ = std::move(other.path_);
        fd_ = std::exchange(other.fd_, -1);
        lock_fd_ = std::exchange(other.lock_fd_, -1);
        device_ = other.device_;
        inode_ = std::exchange(other.inode_, 0);
    }
    return *this;
}

Listener::~Listener() {
    close();
}

int Listener::release_fd() {
    return std::exchange(fd_, -1);
}

void Listener::close() {
    struct stat file {};
    if (inode_ != 0 && lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ &&
        file.st_ino == inode_) {
        unlink(path_.c_str());
    }
    inode_ = 0;
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    if (lock_fd_ >= 0) ::close(std::exchange(lock_fd_, -1));  // and with it the lock
}

}  // namespace slash32::rpc
