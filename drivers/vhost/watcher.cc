// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/watcher.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cstring>

namespace slash32 {
namespace {

// Attributes too: a socket may become accessible only after it was made.
constexpr uint32_t kEvents =
    IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

std::string directory_of(std::string_view path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return ".";
    return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

}  // namespace

SocketWatcher::SocketWatcher() : fd_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {}

SocketWatcher::~SocketWatcher() {
    if (fd_ >= 0) close(fd_);
}

void SocketWatcher::add(std::string_view path) {
    const std::string name = directory_of(path);
    Directory& directory = directories_[name];
    if (directory.users++ > 0) return;
    ++missing_;
    watch(name, directory);
}

void SocketWatcher::remove(std::string_view path) {
    const auto found = directories_.find(directory_of(path));
    if (found == directories_.end() || --found->second.users > 0) return;
    if (found->second.watch >= 0) {
        inotify_rm_watch(fd_, found->second.watch);
        by_watch_.erase(found->second.watch);
    } else {
        --missing_;
    }
    directories_.erase(found);
}

void SocketWatcher::watch(const std::string& path, Directory& directory) {
    directory.watch = inotify_add_watch(fd_, path.c_str(), kEvents);
    if (directory.watch < 0) return;
    --missing_;
    by_watch_[directory.watch] = path;
}

void SocketWatcher::retry_missing(const std::function<void(const std::string&)>& appeared) {
    for (auto& [path, directory] : directories_) {
        if (directory.watch >= 0) continue;
        watch(path, directory);
        if (directory.watch >= 0) appeared(path);
    }
}

void SocketWatcher::read(const std::function<void(const std::string&)>& changed,
                         const std::function<void()>& lost) {
    alignas(inotify_event) char buffer[16384];
    for (;;) {
        const ssize_t n = ::read(fd_, buffer, sizeof buffer);
        if (n <= 0) return;
        for (ssize_t at = 0; at < n;) {
            inotify_event event;
            std::memcpy(&event, buffer + at, sizeof event);
            const char* name = buffer + at + sizeof event;
            at += static_cast<ssize_t>(sizeof event + event.len);
            if ((event.mask & IN_Q_OVERFLOW) != 0) {
                lost();
                continue;
            }
            const auto found = by_watch_.find(event.wd);
            if (found == by_watch_.end()) continue;
            if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
                if ((event.mask & IN_MOVE_SELF) != 0) inotify_rm_watch(fd_, event.wd);
                directories_[found->second].watch = -1;
                ++missing_;
                by_watch_.erase(found);
                lost();
            } else if (event.len > 0) {
                changed(found->second == "/" ? std::string("/") + name
                                             : found->second + "/" + name);
            }
        }
    }
}

}  // namespace slash32
