// SPDX-License-Identifier: Apache-2.0
// One vhost-user connection: sends messages with descriptors, collects replies.
//
// The socket is non-blocking for reading; a send waits at most a second for room. Not thread-safe.
// A reply that breaks framing closes the channel: `error()` says why.
#pragma once

#include "tests/frontend/protocol.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace slash32::frontend {

struct Message {
    uint32_t request = 0;
    uint32_t flags = 0;
    std::vector<uint8_t> payload;

    // The payload's first eight bytes, zero where it is shorter.
    uint64_t u64() const;
    VringState state() const;
};

class Channel {
  public:
    Channel() = default;
    // Takes the descriptor.
    explicit Channel(int fd) : fd_(fd) {}
    Channel(Channel&& other) noexcept;
    Channel& operator=(Channel&& other) noexcept;
    ~Channel();

    int fd() const { return fd_; }
    bool is_open() const { return fd_ >= 0; }
    const std::string& error() const { return error_; }
    void close();

    // False once the peer is gone.
    bool send(Request request, uint32_t flags, std::span<const uint8_t> payload,
              std::span<const int> fds = {});
    // Bytes as they are, for hostile cases and for `send`.
    bool send_bytes(std::span<const uint8_t> bytes, std::span<const int> fds = {});
    template <typename T>
    bool send_value(Request request, uint32_t flags, const T& value,
                    std::span<const int> fds = {}) {
        return send(request, flags, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)}, fds);
    }

    // Reads what has arrived. False when the peer closed or broke framing.
    bool fill();
    // The next whole message among what `fill` has read.
    std::optional<Message> next();

  private:
    int fd_ = -1;
    std::vector<uint8_t> received_;
    std::string error_;
};

}  // namespace slash32::frontend
