// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/server.h"

#include "ctrl/rpc/connection.h"
#include "ctrl/rpc/envelope.h"
#include "ctrl/rpc/listener.h"
#include "dp/base/assert.h"

#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

namespace slash32::rpc {
namespace {

using Protocol = asio::local::stream_protocol;

// After a failed accept (no descriptors left) the pending connection stays pending: trying again at
// once would spin.
constexpr std::chrono::milliseconds kAcceptPause{100};

std::optional<Peer> peer_of(int fd) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
    return Peer{credentials.uid, credentials.gid, credentials.pid};
}

// The primary group and the supplementary ones, as they were when the peer connected.
std::vector<gid_t> groups_of(int fd, const Peer& peer) {
    std::vector<gid_t> groups(64);
    socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    if (result != 0 && errno == ERANGE) {
        groups.resize(size / sizeof(gid_t));
        result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    }
    groups.resize(result == 0 ? size / sizeof(gid_t) : 0);
    groups.push_back(peer.gid);
    return groups;
}

bool any_of(const std::vector<gid_t>& allowed, const std::vector<gid_t>& groups) {
    return std::ranges::any_of(groups, [&](gid_t gid) { return std::ranges::count(allowed, gid); });
}

enum class Admission { kNone, kReadOnly, kReadWrite };

Admission admit(const ServerOptions& options, const Peer& peer, const std::vector<gid_t>& groups) {
    if (peer.uid == 0 || peer.uid == geteuid() || std::ranges::count(options.rw_uids, peer.uid) ||
        any_of(options.rw_gids, groups)) {
        return Admission::kReadWrite;
    }
    if (std::ranges::count(options.ro_uids, peer.uid) || any_of(options.ro_gids, groups)) {
        return Admission::kReadOnly;
    }
    return Admission::kNone;
}

// Says why and hangs up. One small write to an empty socket buffer: it does not block.
void turn_away(Protocol::socket& socket, Error error) {
    const std::string frame = make_error(nullptr, to_wire(std::move(error)));
    [[maybe_unused]] const ssize_t sent =
        send(socket.native_handle(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

std::string make_instance_id() {
    uint64_t id = 0;
    S32_ASSERT(getrandom(&id, sizeof id, 0) == sizeof id);
    return fmt::format("{:016x}", id);
}

struct Server::State : std::enable_shared_from_this<Server::State> {
    State(asio::io_context& io, std::shared_ptr<ServerShared> what)
        : shared(std::move(what)), acceptor(io), pause(io) {}

    void accept();
    void accepted(Protocol::socket socket);
    size_t read_only_clients() const;

    std::shared_ptr<ServerShared> shared;
    std::optional<Listener> listener;
    Protocol::acceptor acceptor;
    asio::steady_timer pause;
    std::map<uint64_t, std::shared_ptr<Connection>> connections;
    uint64_t last_id = 0;
    bool stopped = false;
};

void Server::State::accept() {
    acceptor.async_accept(
        [self = shared_from_this()](asio::error_code error, Protocol::socket socket) {
            if (self->stopped) return;
            if (!error) {
                self->accepted(std::move(socket));
                self->accept();
                return;
            }
            self->pause.expires_after(kAcceptPause);
            self->pause.async_wait([self](asio::error_code cancelled) {
                if (!cancelled && !self->stopped) self->accept();
            });
        });
}

size_t Server::State::read_only_clients() const {
    return static_cast<size_t>(std::ranges::count_if(
        connections, [](const auto& entry) { return entry.second->read_only(); }));
}

void Server::State::accepted(Protocol::socket socket) {
    const ServerOptions& options = shared->options;
    const auto peer = peer_of(socket.native_handle());
    const Admission admission =
        peer ? admit(options, *peer, groups_of(socket.native_handle(), *peer)) : Admission::kNone;
    const bool read_only = admission == Admission::kReadOnly;
    std::optional<Error> refusal;
    if (admission == Admission::kNone) {
        refusal = Error{ErrorCode::kForbidden, "", "This user may not use the control socket."};
    } else if (connections.size() >= options.max_clients ||
               (read_only && read_only_clients() >= options.max_read_only_clients)) {
        refusal = Error{ErrorCode::kLimit, "", "There are too many clients."};
    }
    if (refusal) {
        ++shared->counters.refused;
        turn_away(socket, std::move(*refusal));
        return;
    }
    ++shared->counters.accepted;
    const uint64_t id = ++last_id;
    auto connection = std::make_shared<Connection>(shared, std::move(socket), id, *peer, read_only,
                                                   [weak = weak_from_this()](uint64_t gone) {
                                                       if (const auto self = weak.lock())
                                                           self->connections.erase(gone);
                                                   });
    connections.emplace(id, connection);
    connection->start();
}

Server::Server(asio::io_context& io, Handler& handler, ServerOptions options, ServerInfo info)
    : state_(std::make_shared<State>(io, std::make_shared<ServerShared>(ServerShared{
                                             handler, std::move(options), std::move(info), {}}))) {}

Server::~Server() {
    stop();
}

Result<void> Server::start() {
    const ServerOptions& options = state_->shared->options;
    Result<Listener> listener = Listener::open(options.path, options.mode, options.group);
    if (!listener) return tl::unexpected(listener.error());
    state_->listener = std::move(*listener);
    asio::error_code error;
    state_->acceptor.assign(Protocol(), state_->listener->release_fd(), error);
    if (error) {
        state_->listener.reset();
        return fail(ErrorCode::kUnavailable, "",
                    "The control socket cannot be polled: " + error.message());
    }
    state_->accept();
    return {};
}

void Server::stop() {
    if (std::exchange(state_->stopped, true)) return;
    asio::error_code ignored;
    state_->acceptor.close(ignored);
    state_->pause.cancel();
    // A hook may look at the server: the map is empty by then.
    for (const auto& [id, connection] : std::exchange(state_->connections, {})) {
        connection->close();
    }
    state_->listener.reset();
}

size_t Server::client_count() const {
    return state_->connections.size();
}

const ServerCounters& Server::counters() const {
    return state_->shared->counters;
}

}  // namespace slash32::rpc
