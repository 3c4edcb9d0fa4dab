// SPDX-License-Identifier: Apache-2.0
// One client of the control socket: reads frames, hands requests to the handler, writes replies and
// events. Used by server.cc alone; its limits are those of server.h.
//
// Life: start() → requests and replies → close(), once, for whatever reason. Asynchronous
// operations and replies hold the object; the handler never does.
#pragma once

#include "ctrl/rpc/envelope.h"
#include "ctrl/rpc/frame.h"
#include "ctrl/rpc/handler.h"
#include "ctrl/rpc/server.h"

#include <asio/local/stream_protocol.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace slash32::rpc {

// What the connections of a server share. Outlives them.
struct ServerShared {
    Handler& handler;
    ServerOptions options;
    ServerInfo info;
    ServerCounters counters;
};

class Connection final : public Session, public std::enable_shared_from_this<Connection> {
  public:
    using Socket = asio::local::stream_protocol::socket;

    Connection(std::shared_ptr<ServerShared> shared, Socket socket, uint64_t id, Peer peer,
               bool read_only, std::function<void(uint64_t id)> gone);

    void start();
    // Drops what is queued, runs the hooks.
    void close();

    uint64_t id() const override { return id_; }
    const Peer& peer() const override { return peer_; }
    bool read_only() const override { return read_only_; }
    bool notify_event(uint64_t seq, const SharedFrame& frame) override;
    bool notify(const SharedFrame& frame) override;
    void on_close(std::function<void()> hook) override;

  private:
    struct Output {
        SharedFrame frame;
        bool is_event;
    };

    void read();
    void process();
    bool may_process() const;
    void handle_frame(std::string_view body);
    void dispatch(Request request);
    Json hello(const Request& request) const;
    void finish_request(const Json& id, const Outcome& outcome);
    void end_input();
    void close_if_done();

    void enqueue(SharedFrame frame, bool is_event);
    void enqueue_reply(std::string frame);
    void write();
    void written(size_t frames);
    void report_lost();

    std::shared_ptr<ServerShared> shared_;
    Socket socket_;
    const uint64_t id_;
    const Peer peer_;
    const bool read_only_;
    std::function<void(uint64_t)> gone_;
    std::vector<std::function<void()>> close_hooks_;

    FrameReader reader_;
    bool reading_ = false;    // a read is under way
    bool scheduled_ = false;  // process() will run
    bool input_ended_ = false;
    bool closed_ = false;
    size_t outstanding_ = 0;

    std::deque<Output> output_;
    size_t reply_bytes_ = 0;  // queued in output_
    size_t event_bytes_ = 0;
    bool writing_ = false;
    uint64_t lost_since_ = 0;  // the last event before the first that was dropped
    uint64_t lost_seq_ = 0;    // the last that was dropped; 0: none
};

}  // namespace slash32::rpc
