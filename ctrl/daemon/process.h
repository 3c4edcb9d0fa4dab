// SPDX-License-Identifier: Apache-2.0
// What the daemon needs of the system before it starts: directories, a lock, descriptors.
#pragma once

#include "dp/base/result.h"

#include <unistd.h>

#include <string>

namespace slash32 {

// An open descriptor that is closed at the end.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    int get() const { return fd_; }
    void reset(int fd) { fd_ = fd; }

  private:
    int fd_ = -1;
};

// As many files as the most ports need, or as the system lets it have; then it says so.
void raise_file_limit();

// With its parents. `option`: whose value the path is. Errors: kUnavailable.
Result<void> make_directory(const std::string& path, const char* option);

// One daemon a run directory; the kernel drops the lock when the process ends, however it ends.
// Errors: kUnavailable, kConflict.
Result<void> lock_directory(const std::string& run_dir, Descriptor& lock);

}  // namespace slash32
