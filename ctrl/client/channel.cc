// SPDX-License-Identifier: Apache-2.0
#include "ctrl/client/channel.h"

#include "ctrl/rpc/json_text.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

namespace slash32::client {
namespace {

// Results may be larger than any request.
constexpr size_t kFrameBytesMax = size_t{1} << 30;
constexpr Milliseconds kConnectPause{10};

tl::unexpected<Error> unreachable(std::string message) {
    return tl::unexpected(Error{Failure::kUnreachable, 0, "unreachable", "", std::move(message)});
}

tl::unexpected<Error> timeout(std::string message) {
    return tl::unexpected(Error{Failure::kTimeout, 0, "timeout", "", std::move(message)});
}

// Milliseconds until the deadline for poll(), rounded up.
int remaining_ms(Deadline deadline) {
    const auto left = std::chrono::ceil<Milliseconds>(deadline - Clock::now());
    return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
}

}  // namespace

Channel::Channel(int fd) : fd_(fd), reader_(kFrameBytesMax) {}

Channel::Channel(Channel&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      reader_(std::move(other.reader_)),
      out_(std::move(other.out_)),
      out_begin_(other.out_begin_) {}

Channel& Channel::operator=(Channel&& other) noexcept {
    if (this != &other) {
        if (fd_ >= 0) close(fd_);
        fd_ = std::exchange(other.fd_, -1);
        reader_ = std::move(other.reader_);
        out_ = std::move(other.out_);
        out_begin_ = other.out_begin_;
    }
    return *this;
}

Channel::~Channel() {
    if (fd_ >= 0) close(fd_);
}

Result<Channel> Channel::open(const std::string& path, Deadline deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return unreachable("The socket path '" + path + "' is empty or too long.");
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return unreachable(std::string("No socket: ") + std::strerror(errno));
    Channel channel(fd);
    while (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        // A Unix socket connects at once, or not at all: EAGAIN is a full backlog.
        if (errno != EAGAIN && errno != EINTR) {
            return unreachable("slash32d cannot be reached at " + path + ": " +
                               std::strerror(errno));
        }
        if (Clock::now() >= deadline) return timeout("slash32d at " + path + " accepts nobody.");
        std::this_thread::sleep_for(kConnectPause);
    }
    return channel;
}

Result<void> Channel::send(std::string_view body) {
    if (out_begin_ == out_.size()) {
        out_.clear();
        out_begin_ = 0;
    }
    out_ += rpc::make_frame(body);
    return flush();
}

Result<void> Channel::flush() {
    while (out_begin_ < out_.size()) {
        const ssize_t sent = ::send(fd_, out_.data() + out_begin_, out_.size() - out_begin_,
                                    MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            out_begin_ += static_cast<size_t>(sent);
        } else if (errno == EAGAIN) {
            break;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            // What the daemon said before it hung up is still to be read, and says more.
            out_begin_ = out_.size();
            break;
        } else if (errno != EINTR) {
            return unreachable(std::string("The connection broke: ") + std::strerror(errno));
        }
    }
    return {};
}

Result<std::optional<Json>> Channel::take() {
    const rpc::FrameReader::Next next = reader_.next();
    switch (next.state) {
        case rpc::FrameReader::State::kNeedMore:
            return std::nullopt;
        case rpc::FrameReader::State::kLost:
            return unreachable("The daemon's framing makes no sense.");
        case rpc::FrameReader::State::kFrame:
            break;
    }
    slash32::Result<Json> message = rpc::parse_json(next.body);
    if (!message || !message->is_object()) return unreachable("The daemon sent no JSON object.");
    return std::move(*message);
}

// Reads what is there; false when there was nothing.
Result<bool> Channel::fill() {
    const std::span<char> room = reader_.prepare();
    const ssize_t got = recv(fd_, room.data(), room.size(), MSG_DONTWAIT);
    if (got > 0) {
        reader_.commit(static_cast<size_t>(got));
        return true;
    }
    if (got == 0) return unreachable("slash32d closed the connection.");
    if (errno == EAGAIN || errno == EINTR) return false;
    return unreachable(std::string("The connection broke: ") + std::strerror(errno));
}

Result<std::optional<Json>> Channel::receive(Deadline deadline) {
    for (;;) {
        auto message = take();
        if (!message || *message) return message;
        if (auto ok = flush(); !ok) return tl::unexpected(ok.error());
        const auto got = fill();
        if (!got) return tl::unexpected(got.error());
        if (*got) continue;
        const bool unsent = out_begin_ < out_.size();
        pollfd waits{fd_, static_cast<short>(POLLIN | (unsent ? POLLOUT : 0)), 0};
        const int ready = poll(&waits, 1, remaining_ms(deadline));
        if (ready == 0 && Clock::now() >= deadline) return std::nullopt;
        // A signal: the caller may want to look (slash32ctl ends a watch so).
        if (ready < 0 && errno == EINTR) return std::nullopt;
    }
}

}  // namespace slash32::client
