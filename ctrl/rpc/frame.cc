// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/frame.h"

#include <algorithm>
#include <cstring>

namespace slash32::rpc {
namespace {

uint32_t load_length(const char* bytes) {
    uint32_t length = 0;
    for (size_t i = 0; i < kFrameHeaderBytes; ++i) {
        length = length << 8 | static_cast<unsigned char>(bytes[i]);
    }
    return length;
}

}  // namespace

std::string make_frame(std::string_view body) {
    std::string frame;
    frame.reserve(kFrameHeaderBytes + body.size());
    for (const int shift : {24, 16, 8, 0}) {
        frame.push_back(static_cast<char>(body.size() >> shift & 0xff));
    }
    frame.append(body);
    return frame;
}

std::span<char> FrameReader::prepare() {
    if (begin_ == end_) {
        begin_ = end_ = 0;
        if (buffer_.size() > kKeep) buffer_ = std::string();
    }
    if (begin_ > 0 && buffer_.size() - end_ < kChunk) {
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    // Doubling keeps the copies linear in what was received.
    if (buffer_.size() - end_ < kChunk) buffer_.resize(std::max(buffer_.size() * 2, end_ + kChunk));
    return {buffer_.data() + end_, buffer_.size() - end_};
}

void FrameReader::commit(size_t bytes) {
    end_ += bytes;
}

FrameReader::Next FrameReader::next() {
    if (end_ - begin_ < kFrameHeaderBytes) return {State::kNeedMore, {}};
    const uint32_t length = load_length(buffer_.data() + begin_);
    if (length == 0 || length > frame_bytes_max_) return {State::kLost, {}};
    if (end_ - begin_ - kFrameHeaderBytes < length) return {State::kNeedMore, {}};
    const std::string_view body(buffer_.data() + begin_ + kFrameHeaderBytes, length);
    begin_ += kFrameHeaderBytes + length;
    return {State::kFrame, body};
}

}  // namespace slash32::rpc
