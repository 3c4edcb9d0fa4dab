// SPDX-License-Identifier: Apache-2.0
// The seam between the control socket and what answers it.
//
// The server (server.h) reads frames, checks them, and calls Handler::handle once for each valid
// request. The handler completes the Reply, at once or later. Everything here belongs to the
// control thread: one asio::io_context, no locks, never called from a worker or from librte_vhost.
//
// Before the handler sees a request the server has checked: JSON, the JSON-RPC envelope, that the
// method is one of methods.h, that a read-only peer calls no writing method, and the pinned
// instance. `hello` is answered by the server itself. docs/protocol.md is the contract.
#pragma once

#include "dp/base/result.h"

#include <nlohmann/json.hpp>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace slash32::rpc {

using Json = nlohmann::json;

// A whole frame, length included, shared by every session that it is sent to.
using SharedFrame = std::shared_ptr<const std::string>;

// A notification (`event`, `capture.packets`), serialised once for any number of sessions.
// REQUIRES: params is an object.
SharedFrame make_notification(std::string_view method, const Json& params);

// Who is on the other end, as the kernel says (SO_PEERCRED at connect time).
struct Peer {
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t pid = 0;
};

// One connection. A reference is valid until its close hooks have run, no longer.
class Session {
  public:
    Session() = default;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    virtual ~Session() = default;

    // Never used twice by one daemon, never 0.
    virtual uint64_t id() const = 0;
    virtual const Peer& peer() const = 0;
    virtual bool read_only() const = 0;

    // Queues the event with sequence number `seq`. When the output queue is full the event is
    // dropped and false comes back; once the queue has drained the server itself sends one event of
    // type `lost`. The caller need not do anything about it.
    virtual bool notify_event(uint64_t seq, const SharedFrame& frame) = 0;
    // Queues a notification that is not part of the event sequence (`capture.packets`); false when
    // the queue is full and it was dropped, which the caller counts.
    virtual bool notify(const SharedFrame& frame) = 0;

    // `hook` runs once, when the connection has gone, in the order of registration. Replies that
    // are still outstanding then may be completed or destroyed; nobody hears them.
    virtual void on_close(std::function<void()> hook) = 0;
};

// A result that is already JSON text (a large list written by hand); the server does not check it.
struct RawJson {
    std::string text;
};

using Outcome = std::variant<Json, RawJson, Error>;

// The right to answer one request, once. Movable. Completing it after the connection has gone is
// harmless; destroying it uncompleted answers kInternal, so that no client waits for ever.
class Reply {
  public:
    using Sink = std::function<void(Outcome)>;

    Reply() = default;
    explicit Reply(Sink sink) : sink_(std::move(sink)) {}
    Reply(Reply&& other) noexcept : sink_(std::exchange(other.sink_, nullptr)) {}
    Reply& operator=(Reply&& other) noexcept;
    Reply(const Reply&) = delete;
    Reply& operator=(const Reply&) = delete;
    ~Reply();

    // REQUIRES (all three): pending().
    void ok(Json result);
    void ok_raw(std::string result);
    void error(Error error);
    // For a handler that has a Result in its hand.
    void complete(Result<Json> result);

    bool pending() const { return sink_ != nullptr; }

  private:
    void finish(Outcome outcome);

    Sink sink_;
};

class Handler {
  public:
    Handler() = default;
    Handler(const Handler&) = delete;
    Handler& operator=(const Handler&) = delete;
    virtual ~Handler() = default;

    // `params` is an object without its `instance` member, which the server has checked; only
    // `watch` keeps it, because an old instance is answered there with `lost`.
    // Requests of one session arrive in the order in which they were sent; replies may be completed
    // in any order. The work of one call is bounded (a frame's worth); longer work continues from
    // the event loop.
    virtual void handle(Session& session, std::string_view method, Json params, Reply reply) = 0;
};

}  // namespace slash32::rpc
