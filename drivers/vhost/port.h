// SPDX-License-Identifier: Apache-2.0
// One vhost-user port: what librte_vhost's callbacks change, and what workers see of it.
//
// Thread safety: callbacks come on librte_vhost's event thread (and, for a client's
// new_connection and on unregister, on the device thread); `mutex` guards everything that they
// share with the device thread. It is held for a few instructions, and for no wait but that of
// VhostRing::halt(), for a worker in the middle of a burst, which waits for nobody: the library
// calls vring_state_changed with every queue's access lock held, and workers wait for those locks.
//
// Invariants: a queue's vid is set only while the device is live (new_device was called), the ring
// is enabled and the port is not being stopped. Whoever clears it runs the workers' grace period
// before the library may free the device. The device thread does so before it unregisters
// (quiesce), because the library then holds a lock that its own event thread may be waiting for
// with queue locks held, which a worker may be waiting for: waiting for workers there would
// complete a circle.
#pragma once

#include "drivers/driver_event.h"
#include "drivers/vhost/message.h"
#include "drivers/vhost/queue.h"

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace slash32 {

struct VhostPortSpec {
    PortId id;
    std::string path;     // absolute, of the Unix socket; at most 107 bytes
    bool server = false;  // the router listens, the frontend connects; else the other way round
    uint16_t queue_pairs = 1;
    bool packed = false;           // offers packed rings
    uint64_t masked_features = 0;  // virtio feature bits not to offer
    mode_t mode = 0660;            // of the socket, server only
    std::optional<gid_t> group;    // of the socket, server only
};

// What the callbacks tell the device thread.
struct VhostNotice {
    enum class Type : uint8_t { kConnected, kRingsChanged, kClosed, kRefused };
    Type type;
    PortId port;
    uint32_t generation;
    std::string reason;
};

class VhostPort {
  public:
    struct Context {
        rte_mempool* pool = nullptr;
        int fault_fd = -1;
        std::function<void()> synchronize;        // the workers' grace period
        std::function<void(VhostNotice)> notify;  // any thread; does not block
    };

    // `context` outlives the port. ok() is false when descriptors ran out.
    VhostPort(const VhostPortSpec& spec, const Context& context);
    ~VhostPort();
    VhostPort(const VhostPort&) = delete;
    VhostPort& operator=(const VhostPort&) = delete;

    bool ok() const { return ok_; }
    const VhostPortSpec& spec() const { return spec_; }
    PortHandles handles();
    // The features to offer, out of those the library has.
    uint64_t offered(uint64_t available) const;

    // librte_vhost's callbacks. 0, or -1 to refuse. `fd`: of the connection, -1 if not known.
    int new_connection(int vid, int fd);
    int new_device(int vid);
    void destroy_device(int vid);
    void destroy_connection(int vid);
    void vring_state_changed(int vid, uint16_t vring, bool enabled);
    // Seen before the library handles it. False: refuse the message.
    bool message(int vid, VhostMessage& message);
    // After that.
    void message_handled(int vid);

    // Device thread. Takes the rings from the workers and lets nothing back in until restart();
    // after it, unregistering waits for no worker.
    void quiesce();
    void restart();
    void clear_faults();
    QueueFault fault() const;

    struct View {
        bool connected = false;
        uint32_t generation = 0;
        bool live = false;
        uint64_t features = 0;
        uint16_t mtu = 0;
        uint16_t queue_pairs = 0;  // with both rings enabled
    };
    View view() const;

  private:
    void publish();
    void halt_rings();
    void open_rings();
    void publish_rx(uint16_t pair, bool on);
    bool take_kick(VhostRxQueue& queue);
    void drop_kick(VhostRxQueue& queue);
    void refuse(std::string reason);
    void tell(VhostNotice::Type type, std::string reason = {});
    uint16_t vring_count() const { return static_cast<uint16_t>(2 * spec_.queue_pairs); }

    const VhostPortSpec spec_;
    const Context& context_;
    bool ok_ = false;
    int nudge_fd_ = -1;
    std::vector<std::unique_ptr<VhostRxQueue>> rx_;
    VhostTxPort tx_;

    mutable std::mutex mutex_;
    std::condition_variable quiesced_changed_;
    bool stopping_ = false;
    bool quiesced_ = false;  // while stopping: no worker is at the rings any more
    bool refused_ = false;
    bool handling_ = false;    // a message: what the rings lie on may be changing
    bool has_failed_ = false;  // a message has, so that nobody knows what the rings lie on
    bool replacing_ = false;   // by that message, a descriptor of a ring
    uint32_t generation_ = 0;
    int connection_ = -1;     // vid of the connection, -1: none
    int connection_fd_ = -1;  // the library's
    int device_ = -1;         // vid while the device is live
    uint32_t enabled_ = 0;    // a bit each vring
    uint32_t new_kick_ = 0;   // vrings whose kick descriptor was replaced
    uint32_t enabled_pairs_ = 0;
    uint64_t features_ = 0;
    uint16_t mtu_ = 0;
};

}  // namespace slash32
