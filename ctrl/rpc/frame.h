// SPDX-License-Identifier: Apache-2.0
// Frames: a 4-byte length in network byte order and that many bytes. Shared by server and client.
//
// FrameReader holds what has been read and not yet taken. It grows with the bytes that really came,
// not with the length that was promised: four bytes from a peer never make it allocate 16 MiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace slash32::rpc {

inline constexpr size_t kFrameHeaderBytes = 4;
inline constexpr size_t kFrameBytesMaxDefault = size_t{16} << 20;

// REQUIRES: 0 < body.size() <= UINT32_MAX.
std::string make_frame(std::string_view body);

class FrameReader {
  public:
    enum class State { kNeedMore, kFrame, kLost };
    struct Next {
        State state;
        std::string_view body;  // kFrame: valid until the next call of prepare()
    };

    explicit FrameReader(size_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}

    // Room to read into, never empty; then commit() what came.
    std::span<char> prepare();
    void commit(size_t bytes);

    // Takes the next whole frame. kLost (a length of 0 or over the limit) is for ever.
    Next next();

  private:
    static constexpr size_t kChunk = size_t{64} << 10;
    static constexpr size_t kKeep = size_t{256} << 10;  // a larger buffer is given back when empty

    size_t frame_bytes_max_;
    std::string buffer_;
    size_t begin_ = 0;  // [begin_, end_) of buffer_ is unread
    size_t end_ = 0;
};

}  // namespace slash32::rpc
