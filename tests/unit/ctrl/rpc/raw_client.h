// SPDX-License-Identifier: Apache-2.0
// A client that may misbehave: bytes in, bytes out. Every read waits for at most five seconds.
#pragma once

#include "ctrl/rpc/frame.h"
#include "ctrl/rpc/handler.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace slash32::rpc {

class RawClient {
  public:
    explicit RawClient(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    ~RawClient() { hang_up(); }
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;

    bool connected() const { return connected_; }
    void hang_up() {
        if (fd_ >= 0) close(std::exchange(fd_, -1));
    }
    void end_of_input() { shutdown(fd_, SHUT_WR); }
    void bytes(std::string_view text) {
        while (!text.empty()) {
            const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            text.remove_prefix(static_cast<size_t>(sent));
        }
    }
    // What the socket takes without waiting; false when it takes nothing.
    bool try_bytes(std::string_view text) {
        return send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
    }
    void frame(std::string_view body) { bytes(make_frame(body)); }
    void request(int id, const std::string& method, const Json& params = Json::object()) {
        frame(Json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}}.dump());
    }

    // What comes next, as it comes; 0 or less at the end of the stream or after `wait_ms`.
    ssize_t take(std::span<char> room, int wait_ms = 5000) {
        pollfd wait{fd_, POLLIN, 0};
        return poll(&wait, 1, wait_ms) > 0 ? recv(fd_, room.data(), room.size(), 0) : 0;
    }

    // The next message; std::nullopt at the end of the stream or after `wait_ms`.
    std::optional<Json> message(int wait_ms = 5000) {
        for (;;) {
            const FrameReader::Next next = reader_.next();
            if (next.state == FrameReader::State::kFrame) return Json::parse(next.body);
            if (next.state == FrameReader::State::kLost) return std::nullopt;
            pollfd wait{fd_, POLLIN, 0};
            if (poll(&wait, 1, wait_ms) <= 0) return std::nullopt;
            const ssize_t got = take(reader_.prepare(), 0);
            if (got <= 0) {
                ended_ = true;
                return std::nullopt;
            }
            reader_.commit(static_cast<size_t>(got));
        }
    }
    // Whether the server has closed the connection, with nothing more to read.
    bool ended() { return !message().has_value() && ended_; }
    Json call(const std::string& method, const Json& params = Json::object()) {
        request(++last_id_, method, params);
        return message().value_or(Json());
    }

  private:
    int fd_;
    bool connected_ = false;
    bool ended_ = false;
    int last_id_ = 0;
    FrameReader reader_{size_t{1} << 30};
};

}  // namespace slash32::rpc
