// SPDX-License-Identifier: Apache-2.0
// A vhost-user frontend: what QEMU and a guest's network driver are to a backend, in one object.
//
// It opens a socket (or connects to one), negotiates, shares its memory, sets up split rings, and
// sends and receives Ethernet frames with virtio-net headers. When the backend dies it listens
// again and starts the rings of the next one at the used index found in the ring memory, as QEMU
// does: what the dead backend had not returned is offered again. What a first negotiation agreed
// on is what a later backend must offer.
//
// Not thread-safe. All progress is made by an EventLoop: its own, or one shared by many frontends,
// whose thread then is the only one that may touch any of them. Limits: one memory region, 8 queue
// pairs unless told otherwise for hostile cases, no packed rings, no control queue.
#pragma once

#include "dp/base/result.h"
#include "tests/frontend/channel.h"
#include "tests/frontend/event_loop.h"
#include "tests/frontend/guest_memory.h"
#include "tests/frontend/queues.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace slash32::frontend {

// The feature bits of checksum and segmentation offload in both directions, for `offloads`.
inline constexpr uint64_t kAllOffloads = kFeatureCsum | kFeatureGuestCsum | kFeatureHostTso4 |
                                         kFeatureHostTso6 | kFeatureGuestTso4 | kFeatureGuestTso6;

struct FrontendOptions {
    std::string path;                // of the Unix socket
    bool server = true;              // listen, and the backend connects; false: the other way round
    uint16_t queue_pairs = 1;        // wanted; fewer are used when the backend has fewer
    bool force_queue_pairs = false;  // hostile: use them all the same
    TxQueue::Geometry tx;
    RxQueue::Geometry rx;
    // Wanted; each is used when the backend offers it.
    bool version1 = true;
    bool mergeable = true;
    bool indirect = true;
    bool event_index = true;
    bool reply_ack = true;
    bool status = false;           // SET_STATUS with DRIVER_OK, as QEMU from 8.1 does
    bool separate_header = false;  // see QueueMode
    uint64_t offloads = kAllOffloads;
    uint16_t mtu = 0;          // bytes, sent with NET_SET_MTU; 0: not sent
    bool initial_kick = true;  // the kick descriptors start signalled, as QEMU's do

    // For a thousand ports in a process: short rings, ordinary frames, under 300 KB each.
    static FrontendOptions small(std::string path);
};

enum class LinkState {
    kClosed,       // `open` has not been called, or `close` has
    kWaiting,      // for the backend to come (server) or to accept (client)
    kNegotiating,  // connected, messages under way
    kRunning,      // rings enabled and, where replies are acknowledged, the enabling too
    kStopped,      // connected, rings stopped by `stop`
};

class Frontend : private EventLoop::Handler {
  public:
    explicit Frontend(FrontendOptions options, EventLoop* shared_loop = nullptr);
    ~Frontend() override;
    Frontend(const Frontend&) = delete;
    Frontend& operator=(const Frontend&) = delete;

    // Makes the memory and opens the socket. Fails when the path or the memory cannot be had.
    Result<void> open();
    // Closes everything, with no word to the backend, and forgets what was negotiated: the next
    // `open` is a freshly started VM on the same path.
    void close();
    // Closes the connection with no word to the backend; the rings stay, and the frontend waits
    // for a backend again.
    void disconnect();
    // Stops the rings in an orderly way (GET_VRING_BASE each) and starts them again.
    Result<void> stop();
    Result<void> start();

    LinkState state() const { return state_; }
    bool running() const { return state_ == LinkState::kRunning; }
    // Why the last connection ended or was refused; "" if none was.
    const std::string& error() const { return error_; }
    bool wait_running(uint64_t timeout_ms);
    bool wait_disconnected(uint64_t timeout_ms);

    // Queues as many of the frames as there is room for, in order; says how many. Works without a
    // backend too: they then wait in the ring for the next.
    // REQUIRES: the first negotiation is over (`ready`); pair < queue_pairs().
    size_t send(std::span<const TxFrame> frames, uint16_t pair = 0);
    bool send(std::span<const uint8_t> frame, const NetHeader& header = {}, uint16_t pair = 0);
    // Hands up to `max` received frames to the callback. REQUIRES: as for `send`.
    size_t receive(const std::function<void(const RxFrame&)>& callback, size_t max = 256,
                   uint16_t pair = 0);
    // The same over all queue pairs, up to `max` from each.
    size_t receive_all(const std::function<void(const RxFrame&)>& callback, size_t max = 256);
    // Whether something has been received; runs the loop until then.
    bool wait_receive(uint64_t timeout_ms);
    // The device asks for no calls while polling is on: the owner calls `receive` often instead.
    void set_polling(bool on);

    // Called from the loop. `on_state`: after each change of state; `on_call`: the backend
    // signalled that a receive queue has something.
    std::function<void(Frontend&)> on_state;
    std::function<void(Frontend&)> on_call;

    bool ready() const { return rings_ready_; }
    uint64_t features() const { return features_; }
    uint64_t offered_features() const { return offered_; }
    uint64_t protocol_features() const { return protocol_features_; }
    uint64_t backend_queue_pairs() const { return backend_queue_pairs_; }
    uint16_t queue_pairs() const { return pairs_in_use_; }
    uint64_t connections() const { return connections_; }
    // now_ns() of the last such change, 0 if never.
    uint64_t connected_at_ns() const { return connected_at_ns_; }
    uint64_t running_at_ns() const { return running_at_ns_; }
    uint64_t disconnected_at_ns() const { return disconnected_at_ns_; }
    // Frames and used elements that the backend described wrongly.
    uint64_t malformed() const;

    // For hostile cases: everything a driver or a VMM could write, unchecked.
    EventLoop& loop() { return *loop_; }
    Channel& channel() { return channel_; }
    GuestMemory& memory() { return memory_; }
    TxQueue& tx(uint16_t pair = 0) { return *tx_.at(pair); }
    RxQueue& rx(uint16_t pair = 0) { return *rx_.at(pair); }
    void kick(uint16_t vring);
    int call_fd(uint16_t vring) const { return call_fds_.at(vring); }
    // Sends a message with REPLY_ACK asked for, and waits. Empty when the connection ended or
    // nothing came in time.
    std::optional<Message> request(Request request, std::span<const uint8_t> payload,
                                   std::span<const int> fds = {}, uint64_t timeout_ms = 1000);
    // With this off, a new connection is accepted but nothing is said on it.
    void set_handshake(bool on) { handshake_ = on; }
    MemoryTable memory_table() const;

  private:
    enum class Step {
        kNone,
        kFeatures,
        kProtocolFeatures,
        kQueueNum,
        kMemory,
        kEnable,
    };

    void on_event(int fd, uint32_t events) override;
    void on_tick() override;

    Result<void> listen();
    void accept_one();
    void try_connect();
    void connected(int fd);
    void lost(const std::string& why);
    void set_state(LinkState state);

    void handle(const Message& message);
    void after_features(uint64_t offered);
    void after_protocol_features(uint64_t offered);
    void send_setup();
    void send_vrings();
    void send_vring(uint16_t vring, uint16_t base);
    void finish();
    // Sends one of the handshake's messages, with an acknowledgement if that was negotiated.
    void post(Request request, std::span<const uint8_t> payload, int fd = -1, bool ack = false);
    template <typename T>
    void post_value(Request request, const T& value, int fd = -1, bool ack = false) {
        post(request, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)}, fd, ack);
    }
    void proceed_if_acknowledged();

    uint64_t wanted_features() const;
    bool make_rings();
    void arm_calls();
    SplitRing& ring(uint16_t vring);
    bool has_protocol(uint64_t bit) const { return (protocol_features_ & bit) != 0; }

    FrontendOptions options_;
    std::unique_ptr<EventLoop> own_loop_;
    EventLoop* loop_;
    GuestMemory memory_;
    std::vector<std::unique_ptr<RxQueue>> rx_;
    std::vector<std::unique_ptr<TxQueue>> tx_;
    std::vector<int> kick_fds_;  // by vring: 2 * pair is receive, 2 * pair + 1 transmit
    std::vector<int> call_fds_;

    int listen_fd_ = -1;
    Channel channel_;
    LinkState state_ = LinkState::kClosed;
    std::string error_;
    bool handshake_ = true;
    bool polling_ = false;
    bool called_ = false;

    Step step_ = Step::kNone;
    Request awaited_ = Request::kGetFeatures;
    unsigned acks_awaited_ = 0;
    uint64_t offered_ = 0;
    uint64_t features_ = 0;
    uint64_t protocol_features_ = 0;
    uint64_t backend_queue_pairs_ = 1;
    uint16_t pairs_in_use_ = 0;
    bool rings_ready_ = false;
    std::vector<uint16_t> stopped_bases_;  // by vring, after `stop`

    uint64_t connections_ = 0;
    uint64_t connected_at_ns_ = 0;
    uint64_t running_at_ns_ = 0;
    uint64_t disconnected_at_ns_ = 0;
};

}  // namespace slash32::frontend
