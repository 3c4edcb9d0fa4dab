// SPDX-License-Identifier: Apache-2.0
// The socket file: taking it, and telling a dead daemon's leftover from a living daemon's.
#pragma once

#include "dp/base/result.h"

#include <sys/types.h>

#include <string>

namespace slash32::rpc {

// A listening Unix stream socket at a path, owned exclusively. Move-only; gives everything back
// when it is destroyed, and removes the socket file if that is still the one it made.
class Listener {
  public:
    // `group`: a name, a number, or "" to leave the file's group. The lock file `path`.lock is held
    // as long as the listener lives, so two daemons that start at once cannot both win.
    static Result<Listener> open(const std::string& path, mode_t mode, const std::string& group);

    Listener(Listener&& other) noexcept;
    Listener& operator=(Listener&& other) noexcept;
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener();

    // Hands the descriptor to its caller, who closes it; the rest stays.
    int release_fd();

  private:
    Listener() = default;
    void close();

    std::string path_;
    int fd_ = -1;
    int lock_fd_ = -1;
    dev_t device_ = 0;
    ino_t inode_ = 0;  // 0: nothing to remove
};

}  // namespace slash32::rpc
