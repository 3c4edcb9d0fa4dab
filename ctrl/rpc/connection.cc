// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/connection.h"

#include "ctrl/rpc/clock_text.h"
#include "ctrl/rpc/decode.h"
#include "ctrl/rpc/json_text.h"

#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/write.hpp>
#include <unistd.h>

#include <algorithm>
#include <exception>

namespace slash32::rpc {
namespace {

constexpr size_t kFramesPerWrite = 32;

Error internal_error(const char* what) {
    return Error{ErrorCode::kInternal, "", std::string("The request failed: ") + what};
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerShared> shared, Socket socket, uint64_t id, Peer peer,
                       bool read_only, std::function<void(uint64_t id)> gone)
    : shared_(std::move(shared)),
      socket_(std::move(socket)),
      id_(id),
      peer_(peer),
      read_only_(read_only),
      gone_(std::move(gone)),
      reader_(read_only ? shared_->options.read_only_frame_bytes_max
                        : shared_->options.frame_bytes_max) {}

void Connection::start() {
    process();
}

void Connection::close() {
    if (std::exchange(closed_, true)) return;
    const auto self = shared_from_this();  // the hooks and gone_ may drop every other reference
    asio::error_code ignored;
    socket_.close(ignored);
    output_.clear();
    reply_bytes_ = event_bytes_ = 0;
    for (const auto& hook : std::exchange(close_hooks_, {}))
        hook();
    if (gone_) std::exchange(gone_, nullptr)(id_);
}

void Connection::on_close(std::function<void()> hook) {
    close_hooks_.push_back(std::move(hook));
}

// Input ------------------------------------------------------------------------------------------

void Connection::read() {
    if (reading_ || input_ended_ || closed_) return;
    reading_ = true;
    const std::span<char> room = reader_.prepare();
    socket_.async_read_some(asio::buffer(room.data(), room.size()),
                            [self = shared_from_this()](asio::error_code error, size_t bytes) {
                                self->reading_ = false;
                                if (self->closed_) return;
                                if (error) {
                                    self->end_input();
                                    return;
                                }
                                self->reader_.commit(bytes);
                                self->process();
                            });
}

bool Connection::may_process() const {
    const ServerOptions& options = shared_->options;
    return !closed_ && outstanding_ < options.max_outstanding &&
           reply_bytes_ < options.output_bytes_max;
}

// Handles at most one frame, then gives the event loop to others. When the session's limits are
// reached it stops, and whatever lifts them (a reply, a write) calls it again.
void Connection::process() {
    if (scheduled_ || reading_ || input_ended_ || !may_process()) return;
    const FrameReader::Next next = reader_.next();
    switch (next.state) {
        case FrameReader::State::kNeedMore:
            read();
            return;
        case FrameReader::State::kLost:
            ++shared_->counters.framing_lost;
            enqueue_reply(make_error(
                nullptr,
                WireError{kInvalidRequest, "request",
                          "Framing is lost: a frame's length is 0 or over the limit.", ""}));
            end_input();
            return;
        case FrameReader::State::kFrame:
            break;
    }
    scheduled_ = true;
    handle_frame(next.body);
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
        self->scheduled_ = false;
        self->process();
    });
}

void Connection::handle_frame(std::string_view body) {
    std::variant<Request, Refusal> parsed = parse_request(body);
    if (const auto* refusal = std::get_if<Refusal>(&parsed)) {
        ++shared_->counters.rejected;
        enqueue_reply(make_error(refusal->id, refusal->error));
        return;
    }
    auto& request = std::get<Request>(parsed);
    std::optional<Error> error;
    if (read_only_ && request.access == Access::kWrite) {
        error = Error{ErrorCode::kForbidden, "$.method", "This peer may only read."};
    } else if (!request.instance.empty() && request.instance != shared_->info.instance &&
               request.method != "watch") {
        error = Error{ErrorCode::kWrongInstance, "$.params.instance",
                      "The daemon is another instance: it has been restarted."};
    }
    if (error) {
        ++shared_->counters.rejected;
        enqueue_reply(make_error(request.id, to_wire(std::move(*error))));
        return;
    }
    ++shared_->counters.requests;
    dispatch(std::move(request));
}

void Connection::dispatch(Request request) {
    ++outstanding_;
    Reply reply([weak = weak_from_this(), id = request.id](const Outcome& outcome) {
        if (const auto self = weak.lock()) self->finish_request(id, outcome);
    });
    if (request.method == "hello") {
        std::string client;
        const Path path("$.params");
        Fields fields(request.params, path);
        fields.optional("client", client, Length{1, 64});
        if (auto ok = fields.done(); !ok) return reply.error(ok.error());
        return reply.ok(hello(request));
    }
    try {
        shared_->handler.handle(*this, request.method, std::move(request.params), std::move(reply));
    } catch (const std::exception& failure) {
        // A handler that threw has lost its reply, whose destructor has answered, or has not taken
        // it yet.
        if (reply.pending()) reply.error(internal_error(failure.what()));
    }
}

Json Connection::hello(const Request& /*request*/) const {
    return Json{{"api_version", kApiVersion},
                {"version", shared_->info.version},
                {"instance", shared_->info.instance},
                {"pid", getpid()},
                {"started", shared_->info.started},
                {"read_only", read_only_},
                {"frame_bytes_max", read_only_ ? shared_->options.read_only_frame_bytes_max
                                               : shared_->options.frame_bytes_max}};
}

void Connection::finish_request(const Json& id, const Outcome& outcome) {
    --outstanding_;
    if (closed_) return;
    enqueue_reply(make_result(id, outcome));
    if (!scheduled_) process();
}

// No more requests: answer those that are under way, write what is queued, and close.
void Connection::end_input() {
    input_ended_ = true;
    close_if_done();
}

void Connection::close_if_done() {
    if (input_ended_ && outstanding_ == 0 && output_.empty()) close();
}

// Output -----------------------------------------------------------------------------------------

bool Connection::notify_event(uint64_t seq, const SharedFrame& frame) {
    if (closed_) return false;
    if (lost_seq_ == 0 && event_bytes_ + frame->size() <= shared_->options.output_bytes_max) {
        enqueue(frame, true);
        return true;
    }
    // Sequence numbers have no gaps, so the one before the first dropped is the last good one.
    if (lost_seq_ == 0) lost_since_ = seq - 1;
    lost_seq_ = seq;
    ++shared_->counters.events_dropped;
    return false;
}

bool Connection::notify(const SharedFrame& frame) {
    if (closed_ || event_bytes_ + frame->size() > shared_->options.output_bytes_max) return false;
    enqueue(frame, true);
    return true;
}

void Connection::report_lost() {
    if (lost_seq_ == 0 || event_bytes_ > shared_->options.output_bytes_max / 2) return;
    const uint64_t seq = std::exchange(lost_seq_, 0);
    enqueue(make_notification(
                "event",
                Json{{"seq", seq}, {"type", "lost"}, {"time", now_text()}, {"since", lost_since_}}),
            true);
}

void Connection::enqueue_reply(std::string frame) {
    enqueue(std::make_shared<const std::string>(std::move(frame)), false);
}

void Connection::enqueue(SharedFrame frame, bool is_event) {
    if (closed_) return;
    (is_event ? event_bytes_ : reply_bytes_) += frame->size();
    output_.push_back(Output{std::move(frame), is_event});
    write();
}

void Connection::write() {
    if (writing_ || closed_ || output_.empty()) return;
    writing_ = true;
    const size_t frames = std::min(output_.size(), kFramesPerWrite);
    std::vector<asio::const_buffer> buffers;
    // The operation may outlive this object's queue (close() clears it): it holds its frames
    // itself.
    std::vector<SharedFrame> held;
    for (size_t i = 0; i < frames; ++i) {
        buffers.emplace_back(output_[i].frame->data(), output_[i].frame->size());
        held.push_back(output_[i].frame);
    }
    asio::async_write(socket_, buffers,
                      [self = shared_from_this(), held = std::move(held)](asio::error_code error,
                                                                          size_t /*bytes*/) {
                          self->writing_ = false;
                          if (self->closed_) return;
                          if (error) {
                              self->close();
                              return;
                          }
                          self->written(held.size());
                      });
}

void Connection::written(size_t frames) {
    for (size_t i = 0; i < frames; ++i) {
        const Output& done = output_.front();
        (done.is_event ? event_bytes_ : reply_bytes_) -= done.frame->size();
        output_.pop_front();
    }
    report_lost();
    write();
    close_if_done();
    process();
}

}  // namespace slash32::rpc
