// SPDX-License-Identifier: Apache-2.0
// Tells when a socket's file appears or changes, with one inotify watch a directory.
//
// Thread safety: one thread. A directory that does not exist yet is looked for again by
// retry_missing(), as inotify cannot wait for it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace slash32 {

class SocketWatcher {
  public:
    SocketWatcher();
    ~SocketWatcher();
    SocketWatcher(const SocketWatcher&) = delete;
    SocketWatcher& operator=(const SocketWatcher&) = delete;

    int fd() const { return fd_; }
    // Counted: each add needs a remove. `path` is the socket's.
    void add(std::string_view path);
    void remove(std::string_view path);
    // True while a wanted directory does not exist.
    bool any_missing() const { return missing_ > 0; }
    // `appeared` is called with each directory that exists now.
    void retry_missing(const std::function<void(const std::string& directory)>& appeared);
    // Drains the descriptor. `changed` gets the paths of files; `lost` is called when events were
    // dropped or a directory went away, after which anything may have changed.
    void read(const std::function<void(const std::string& path)>& changed,
              const std::function<void()>& lost);

  private:
    struct Directory {
        unsigned users = 0;
        int watch = -1;
    };

    void watch(const std::string& path, Directory& directory);

    int fd_ = -1;
    unsigned missing_ = 0;
    std::unordered_map<std::string, Directory> directories_;
    std::unordered_map<int, std::string> by_watch_;
};

}  // namespace slash32
