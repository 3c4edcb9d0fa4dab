// SPDX-License-Identifier: Apache-2.0
// The control socket: a Unix stream socket whose connections are Sessions for one Handler.
//
// Thread safety: none; everything runs on the io_context given. Invariants: a session never holds
// more than one frame being read, `max_outstanding` unanswered requests and about twice
// `output_bytes_max` (plus the replies already owed) of output; what would exceed that is not read,
// and events are dropped and reported as lost. One frame of one session is handled in a turn of the
// event loop, so that no client holds up another. A peer that reads slowly costs memory within
// these limits, and nothing else.
#pragma once

#include "ctrl/rpc/frame.h"
#include "ctrl/rpc/handler.h"
#include "dp/base/result.h"

#include <asio/io_context.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace slash32::rpc {

struct ServerOptions {
    std::string path;    // absolute, at most 107 bytes
    mode_t mode = 0660;  // of the socket
    std::string group;   // of the socket, by name or number; "" leaves it
    // Peers that may write; uid 0 and the daemon's own uid always may. Groups are matched against
    // the peer's primary and supplementary groups.
    std::vector<uid_t> rw_uids;
    std::vector<gid_t> rw_gids;
    // Peers that may only read.
    std::vector<uid_t> ro_uids;
    std::vector<gid_t> ro_gids;
    size_t max_clients = 64;
    size_t max_read_only_clients = 32;  // of max_clients
    size_t max_outstanding = 64;        // requests of a session
    size_t frame_bytes_max = kFrameBytesMaxDefault;
    size_t read_only_frame_bytes_max = size_t{64} << 10;
    size_t output_bytes_max = size_t{8} << 20;  // of replies, and again of events, of a session
};

struct ServerInfo {
    std::string version;
    std::string instance;  // make_instance_id()
    std::string started;   // RFC 3339
};

struct ServerCounters {
    uint64_t accepted = 0;
    uint64_t refused = 0;   // not admitted, or over max_clients
    uint64_t requests = 0;  // that reached the handler, or hello
    uint64_t rejected = 0;  // answered with an error before the handler
    uint64_t framing_lost = 0;
    uint64_t events_dropped = 0;
};

// 16 hexadecimal digits of the kernel's randomness.
std::string make_instance_id();

class Server {
  public:
    // `handler` and `io` outlive the server.
    Server(asio::io_context& io, Handler& handler, ServerOptions options, ServerInfo info);
    // Closes what stop() would.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Binds and listens. A socket file that nobody answers on is replaced; one in use is an error
    // (kConflict), as is a path, mode or group that cannot be had (kInvalid, kUnavailable). The
    // lock file `path`.lock is held while the server lives and left behind.
    Result<void> start();
    // Stops listening, closes every session (their hooks run), removes the socket.
    void stop();

    size_t client_count() const;
    const ServerCounters& counters() const;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace slash32::rpc
