// SPDX-License-Identifier: Apache-2.0
// A connection to the daemon: frames out, messages in, each with a deadline. Private to libslash32.
#pragma once

#include "ctrl/client/slash32.h"
#include "ctrl/rpc/frame.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace slash32::client {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

class Channel {
  public:
    static Result<Channel> open(const std::string& path, Deadline deadline);
    Channel(Channel&& other) noexcept;
    Channel& operator=(Channel&& other) noexcept;
    ~Channel();

    // Queues a frame and writes what the socket takes without waiting.
    Result<void> send(std::string_view body);
    // The next message; std::nullopt when there is none by the deadline. Writes what is queued
    // meanwhile, so that two full socket buffers cannot wait for each other.
    Result<std::optional<Json>> receive(Deadline deadline);

    int fd() const { return fd_; }

  private:
    explicit Channel(int fd);
    Result<void> flush();
    Result<bool> fill();
    Result<std::optional<Json>> take();

    int fd_ = -1;
    rpc::FrameReader reader_;
    std::string out_;
    size_t out_begin_ = 0;
};

}  // namespace slash32::client
