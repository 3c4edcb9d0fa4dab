// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/frontend.h"

#include "dp/base/assert.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace slash32::frontend {

namespace {

Result<sockaddr_un> socket_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path)) {
        return fail(ErrorCode::kInvalid, "path", "the socket path is empty or over 107 bytes");
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

int new_eventfd(unsigned value) {
    const int fd = eventfd(value, EFD_NONBLOCK | EFD_CLOEXEC);
    S32_ASSERT(fd >= 0);
    return fd;
}

}  // namespace

FrontendOptions FrontendOptions::small(std::string path) {
    FrontendOptions options;
    options.path = std::move(path);
    options.tx = {.ring_size = 64, .segments = 64, .segment_bytes = 2048, .max_frame_bytes = 2000};
    options.rx = {.ring_size = 64, .buffer_bytes = 2048};
    options.offloads = 0;
    return options;
}

Frontend::Frontend(FrontendOptions options, EventLoop* shared_loop)
    : options_(std::move(options)),
      own_loop_(shared_loop == nullptr ? std::make_unique<EventLoop>() : nullptr),
      loop_(shared_loop == nullptr ? own_loop_.get() : shared_loop) {}

Frontend::~Frontend() {
    on_state = nullptr;
    close();
}

Result<void> Frontend::open() {
    S32_ASSERT(state_ == LinkState::kClosed);
    auto memory = GuestMemory::create(options_.queue_pairs *
                                      (RxQueue::bytes(options_.rx) + TxQueue::bytes(options_.tx)));
    if (!memory) return tl::unexpected(memory.error());
    memory_ = std::move(*memory);
    for (uint16_t pair = 0; pair < options_.queue_pairs; pair++) {
        rx_.push_back(std::make_unique<RxQueue>(memory_, options_.rx));
        tx_.push_back(std::make_unique<TxQueue>(memory_, options_.tx));
        for (int i = 0; i < 2; i++) {
            kick_fds_.push_back(-1);
            call_fds_.push_back(new_eventfd(0));
        }
        // Edge-triggered: each signal is an event, and the counter need not be read.
        loop_->add(call_fds_[2 * size_t{pair}], EPOLLIN | EPOLLET, this);
    }
    if (options_.server) {
        if (auto listening = listen(); !listening) {
            close();
            return listening;
        }
    } else {
        loop_->add_ticker(this);
    }
    set_state(LinkState::kWaiting);
    if (!options_.server) try_connect();
    return {};
}

void Frontend::close() {
    if (channel_.is_open()) {
        loop_->remove(channel_.fd());
        channel_.close();
    }
    loop_->remove_ticker(this);
    if (listen_fd_ >= 0) {
        loop_->remove(listen_fd_);
        ::close(listen_fd_);
        unlink(options_.path.c_str());
        listen_fd_ = -1;
    }
    for (int& fd : call_fds_) {
        loop_->remove(fd);
        ::close(fd);
    }
    for (int& fd : kick_fds_) {
        if (fd >= 0) ::close(fd);
    }
    call_fds_.clear();
    kick_fds_.clear();
    rx_.clear();
    tx_.clear();
    memory_ = GuestMemory();
    rings_ready_ = false;
    features_ = protocol_features_ = 0;
    pairs_in_use_ = 0;
    stopped_bases_.clear();
    step_ = Step::kNone;
    if (state_ != LinkState::kClosed) set_state(LinkState::kClosed);
}

Result<void> Frontend::listen() {
    auto address = socket_address(options_.path);
    if (!address) return tl::unexpected(address.error());
    unlink(options_.path.c_str());
    listen_fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listen_fd_ < 0 ||
        bind(listen_fd_, reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 ||
        ::listen(listen_fd_, 8) != 0) {
        const std::string why = std::strerror(errno);
        if (listen_fd_ >= 0) ::close(listen_fd_);
        listen_fd_ = -1;
        return fail(ErrorCode::kUnavailable, "path",
                    "cannot listen on " + options_.path + ": " + why);
    }
    loop_->add(listen_fd_, EPOLLIN, this);
    return {};
}

void Frontend::accept_one() {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    loop_->remove(listen_fd_);  // one backend at a time: the next waits in the backlog
    connected(fd);
}

void Frontend::try_connect() {
    const auto address = socket_address(options_.path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return;
    if (!address ||
        connect(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
        error_ = address ? std::strerror(errno) : address.error().message;
        ::close(fd);
        return;
    }
    connected(fd);
}

void Frontend::on_tick() {
    if (state_ == LinkState::kWaiting && !channel_.is_open()) try_connect();
}

void Frontend::connected(int fd) {
    channel_ = Channel(fd);
    loop_->add(fd, EPOLLIN | EPOLLRDHUP, this);
    connections_++;
    connected_at_ns_ = now_ns();
    set_state(LinkState::kNegotiating);
    acks_awaited_ = 0;
    step_ = Step::kNone;
    if (!handshake_) return;
    step_ = Step::kFeatures;
    awaited_ = Request::kGetFeatures;
    post(Request::kGetFeatures, {});
}

void Frontend::disconnect() {
    if (channel_.is_open()) lost("closed by the frontend");
}

void Frontend::lost(const std::string& why) {
    error_ = why;
    if (channel_.is_open()) {
        loop_->remove(channel_.fd());
        channel_.close();
    }
    step_ = Step::kNone;
    disconnected_at_ns_ = now_ns();
    if (listen_fd_ >= 0) loop_->add(listen_fd_, EPOLLIN, this);
    set_state(LinkState::kWaiting);
}

void Frontend::set_state(LinkState state) {
    state_ = state;
    if (on_state) on_state(*this);
}

void Frontend::on_event(int fd, uint32_t /*events*/) {
    if (fd == listen_fd_) {
        accept_one();
        return;
    }
    if (fd != channel_.fd()) {
        called_ = true;
        if (on_call) on_call(*this);
        return;
    }
    const bool alive = channel_.fill();
    while (auto message = channel_.next()) {
        handle(*message);
        if (!channel_.is_open()) return;
    }
    if (!alive && channel_.is_open()) lost(channel_.error());
}

// --- the handshake, a step per awaited reply ---

void Frontend::post(Request request, std::span<const uint8_t> payload, int fd, bool ack) {
    if (!channel_.is_open()) return;
    ack = ack && has_protocol(kProtocolReplyAck);
    if (ack) acks_awaited_++;
    const std::span<const int> fds =
        fd >= 0 ? std::span<const int>(&fd, 1) : std::span<const int>();
    // A failed send shows as a hang-up on the loop's next turn.
    channel_.send(request, ack ? kFlagNeedReply : 0, payload, fds);
}

void Frontend::handle(const Message& message) {
    if (step_ == Step::kNone) return;  // a late acknowledgement, or an answer to a hostile message
    if ((message.flags & kFlagReply) == 0) {
        lost("the backend sent a request on the frontend's channel");
        return;
    }
    if (acks_awaited_ > 0) {
        if (message.u64() != 0) {
            lost("the backend refused request " + std::to_string(message.request));
            return;
        }
        acks_awaited_--;
        proceed_if_acknowledged();
        return;
    }
    if (message.request != static_cast<uint32_t>(awaited_)) {
        lost("the backend answered request " + std::to_string(message.request) + " unasked");
        return;
    }
    switch (step_) {
        case Step::kFeatures:
            after_features(message.u64());
            break;
        case Step::kProtocolFeatures:
            after_protocol_features(message.u64());
            break;
        case Step::kQueueNum:
            backend_queue_pairs_ = message.u64();
            send_setup();
            break;
        default:
            break;
    }
}

void Frontend::proceed_if_acknowledged() {
    if (acks_awaited_ > 0) return;
    if (step_ == Step::kMemory) {
        send_vrings();
    } else if (step_ == Step::kEnable) {
        finish();
    }
}

uint64_t Frontend::wanted_features() const {
    uint64_t wanted = options_.offloads | kFeatureProtocolFeatures;
    if (options_.version1) wanted |= kFeatureVersion1;
    if (options_.mergeable) wanted |= kFeatureMergeable;
    if (options_.indirect) wanted |= kFeatureIndirect;
    if (options_.event_index) wanted |= kFeatureEventIndex;
    if (options_.mtu != 0) wanted |= kFeatureMtu;
    if (options_.queue_pairs > 1) wanted |= kFeatureMultiQueue | kFeatureControlQueue;
    return wanted;
}

void Frontend::after_features(uint64_t offered) {
    offered_ = offered;
    if (rings_ready_ && (features_ & ~offered) != 0) {
        lost("the backend no longer offers what was negotiated");
        return;
    }
    if (!rings_ready_) features_ = offered & wanted_features();
    protocol_features_ = 0;
    backend_queue_pairs_ = 1;
    if ((features_ & kFeatureProtocolFeatures) == 0) {
        send_setup();
        return;
    }
    step_ = Step::kProtocolFeatures;
    awaited_ = Request::kGetProtocolFeatures;
    post(Request::kGetProtocolFeatures, {});
}

void Frontend::after_protocol_features(uint64_t offered) {
    uint64_t wanted = kProtocolMq;
    if (options_.reply_ack) wanted |= kProtocolReplyAck;
    if (options_.mtu != 0) wanted |= kProtocolNetMtu;
    if (options_.status) wanted |= kProtocolStatus;
    const uint64_t agreed = offered & wanted;
    post_value(Request::kSetProtocolFeatures, agreed);
    protocol_features_ = agreed;
    if (!has_protocol(kProtocolMq)) {
        send_setup();
        return;
    }
    step_ = Step::kQueueNum;
    awaited_ = Request::kGetQueueNum;
    post(Request::kGetQueueNum, {});
}

// From the features to the memory table.
void Frontend::send_setup() {
    if (!rings_ready_) {
        pairs_in_use_ = options_.queue_pairs;
        if (!options_.force_queue_pairs) {
            const uint64_t most = (features_ & kFeatureMultiQueue) != 0 ? backend_queue_pairs_ : 1;
            pairs_in_use_ = static_cast<uint16_t>(std::min<uint64_t>(pairs_in_use_, most));
        }
        if (!make_rings()) {
            lost("the receive ring cannot hold the largest frame");
            return;
        }
    }
    post(Request::kSetOwner, {});
    for (uint16_t v = 0; v < 2 * pairs_in_use_; v++) {
        post_value(Request::kSetVringCall, uint64_t{v}, call_fds_[v]);
    }
    post_value(Request::kSetFeatures, features_);
    if (has_protocol(kProtocolNetMtu)) {
        post_value(Request::kNetSetMtu, uint64_t{options_.mtu}, -1, true);
    }
    const MemoryTable table = memory_table();
    step_ = Step::kMemory;
    post(Request::kSetMemTable, {reinterpret_cast<const uint8_t*>(&table), memory_table_bytes(1)},
         memory_.fd(), true);
    proceed_if_acknowledged();
}

MemoryTable Frontend::memory_table() const {
    MemoryTable table{};
    table.regions = 1;
    table.region[0] = {kGuestBase, memory_.size(), memory_.user_address(0), 0};
    return table;
}

bool Frontend::make_rings() {
    QueueMode mode;
    mode.indirect = (features_ & kFeatureIndirect) != 0;
    mode.event_index = (features_ & kFeatureEventIndex) != 0;
    mode.mergeable = (features_ & kFeatureMergeable) != 0;
    mode.separate_header = options_.separate_header;
    if ((features_ & (kFeatureVersion1 | kFeatureMergeable)) == 0) {
        mode.header_bytes = kLegacyHeaderBytes;
    }
    const bool big = (features_ & (kFeatureGuestTso4 | kFeatureGuestTso6)) != 0;
    mode.max_rx_frame_bytes = big ? kMaxFrameBytes : (options_.mtu != 0 ? options_.mtu : 1500) + 18;
    for (uint16_t pair = 0; pair < pairs_in_use_; pair++) {
        if (!rx_[pair]->reset(mode)) return false;
        tx_[pair]->reset(mode);
    }
    rings_ready_ = true;
    return true;
}

SplitRing& Frontend::ring(uint16_t vring) {
    const size_t pair = vring / 2u;
    return vring % 2 == 0 ? rx_[pair]->ring() : tx_[pair]->ring();
}

void Frontend::send_vrings() {
    step_ = Step::kEnable;
    for (uint16_t v = 0; v < 2 * pairs_in_use_; v++) {
        // After an orderly stop the backend told where it was; otherwise the memory knows what the
        // last backend returned, and everything after that is offered again.
        send_vring(v, stopped_bases_.empty() ? ring(v).used_index() : stopped_bases_[v]);
    }
    stopped_bases_.clear();
    if ((features_ & kFeatureProtocolFeatures) != 0) {
        for (uint16_t v = 0; v < 2 * pairs_in_use_; v++) {
            post_value(Request::kSetVringEnable, VringState{v, 1}, -1, true);
        }
    }
    if (has_protocol(kProtocolStatus)) {
        post_value(Request::kSetStatus, kStatusDriverOk, -1, true);
    }
    proceed_if_acknowledged();
}

void Frontend::send_vring(uint16_t vring, uint16_t base) {
    SplitRing& r = ring(vring);
    post_value(Request::kSetVringNum, VringState{vring, r.size()});
    post_value(Request::kSetVringBase, VringState{vring, base});
    post_value(Request::kSetVringAddr,
               VringAddr{vring, 0, r.descriptors_user_address(), r.used_user_address(),
                         r.available_user_address(), 0});
    if (kick_fds_[vring] >= 0) ::close(kick_fds_[vring]);
    kick_fds_[vring] = new_eventfd(options_.initial_kick ? 1 : 0);
    post_value(Request::kSetVringKick, uint64_t{vring}, kick_fds_[vring]);
    post_value(Request::kSetVringCall, uint64_t{vring}, call_fds_[vring]);
}

void Frontend::finish() {
    step_ = Step::kNone;
    running_at_ns_ = now_ns();
    arm_calls();
    set_state(LinkState::kRunning);
}

// --- orderly stop and start ---

Result<void> Frontend::stop() {
    if (!running()) return fail(ErrorCode::kUnavailable, "", "the rings are not running");
    std::vector<uint16_t> bases;
    for (uint16_t v = 0; v < 2 * pairs_in_use_; v++) {
        const VringState state{v, 0};
        if ((features_ & kFeatureProtocolFeatures) != 0) {
            request(Request::kSetVringEnable,
                    {reinterpret_cast<const uint8_t*>(&state), sizeof(state)});
        }
        const auto reply = request(Request::kGetVringBase,
                                   {reinterpret_cast<const uint8_t*>(&state), sizeof(state)});
        if (!reply) return fail(ErrorCode::kUnavailable, "", "no answer to GET_VRING_BASE");
        bases.push_back(static_cast<uint16_t>(reply->state().num));
    }
    stopped_bases_ = bases;
    set_state(LinkState::kStopped);
    return {};
}

Result<void> Frontend::start() {
    if (state_ != LinkState::kStopped) {
        return fail(ErrorCode::kUnavailable, "", "the rings are not stopped");
    }
    set_state(LinkState::kNegotiating);
    send_vrings();
    return {};
}

std::optional<Message> Frontend::request(Request request, std::span<const uint8_t> payload,
                                         std::span<const int> fds, uint64_t timeout_ms) {
    // Read here, and not by the loop: nobody else may take the reply.
    const bool get = request == Request::kGetFeatures || request == Request::kGetVringBase ||
                     request == Request::kGetProtocolFeatures || request == Request::kGetQueueNum;
    const bool ack = !get && has_protocol(kProtocolReplyAck);
    if (!channel_.send(request, ack ? kFlagNeedReply : 0, payload, fds)) return std::nullopt;
    if (!get && !ack) return Message{static_cast<uint32_t>(request), kFlagReply, {}};
    const uint64_t deadline = now_ns() + timeout_ms * 1'000'000;
    while (now_ns() < deadline) {
        const bool alive = channel_.fill();
        while (auto message = channel_.next()) {
            if (message->request == static_cast<uint32_t>(request)) return message;
        }
        if (!alive) break;
        usleep(200);
    }
    return std::nullopt;
}

// --- frames ---

size_t Frontend::send(std::span<const TxFrame> frames, uint16_t pair) {
    S32_ASSERT(rings_ready_ && pair < pairs_in_use_);
    bool wanted = false;
    const size_t sent = tx_[pair]->send(frames, wanted);
    if (wanted) kick(static_cast<uint16_t>(2 * pair + 1));
    return sent;
}

bool Frontend::send(std::span<const uint8_t> frame, const NetHeader& header, uint16_t pair) {
    const TxFrame one{frame, header};
    return send(std::span<const TxFrame>(&one, 1), pair) == 1;
}

size_t Frontend::receive(const std::function<void(const RxFrame&)>& callback, size_t max,
                         uint16_t pair) {
    S32_ASSERT(rings_ready_ && pair < pairs_in_use_);
    size_t received = 0;
    bool wanted = false;
    called_ = false;
    do {
        received += rx_[pair]->receive(max - received, callback, wanted);
        // Once it is empty, ask for a call; what came in between is taken at once.
    } while (received < max && !polling_ && rx_[pair]->ring().enable_calls() && received != 0);
    if (wanted) kick(static_cast<uint16_t>(2 * pair));
    return received;
}

size_t Frontend::receive_all(const std::function<void(const RxFrame&)>& callback, size_t max) {
    size_t received = 0;
    for (uint16_t pair = 0; pair < pairs_in_use_; pair++)
        received += receive(callback, max, pair);
    return received;
}

bool Frontend::wait_receive(uint64_t timeout_ms) {
    const auto waiting = [this] {
        for (uint16_t pair = 0; rings_ready_ && pair < pairs_in_use_; pair++) {
            if (rx_[pair]->ring().used_count() != 0) return true;
        }
        return false;
    };
    return loop_->run_until(timeout_ms, waiting);
}

void Frontend::set_polling(bool on) {
    polling_ = on;
    if (rings_ready_) arm_calls();
}

// After a start the new backend has not signalled what the old one had already returned.
void Frontend::arm_calls() {
    bool pending = false;
    for (uint16_t pair = 0; pair < pairs_in_use_; pair++) {
        if (polling_) {
            rx_[pair]->ring().disable_calls();
        } else {
            pending |= rx_[pair]->ring().enable_calls();
        }
    }
    if (pending && on_call) on_call(*this);
}

void Frontend::kick(uint16_t vring) {
    if (vring < kick_fds_.size() && kick_fds_[vring] >= 0) {
        const uint64_t one = 1;
        // A full counter is a kick already made.
        [[maybe_unused]] const ssize_t n = write(kick_fds_[vring], &one, sizeof(one));
    }
}

bool Frontend::wait_running(uint64_t timeout_ms) {
    return loop_->run_until(timeout_ms, [this] { return running(); });
}

bool Frontend::wait_disconnected(uint64_t timeout_ms) {
    return loop_->run_until(timeout_ms, [this] { return !channel_.is_open(); });
}

uint64_t Frontend::malformed() const {
    uint64_t sum = 0;
    for (const auto& q : rx_)
        sum += q->malformed() + q->ring().implausible();
    for (const auto& q : tx_)
        sum += q->ring().implausible();
    return sum;
}

}  // namespace slash32::frontend
