// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/port.h"

#include "drivers/vhost/connection.h"
#include "drivers/virtio_net.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <rte_vhost.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <utility>

namespace slash32 {
namespace {

// Fragmentation offload of UDP and the ECN marks of TSO have no counterpart on the way to another
// guest; both are left out (Linux guests do without).
constexpr uint64_t kNeverOffered =
    kVirtioGuestEcn | kVirtioGuestUfo | kVirtioHostEcn | kVirtioHostUfo;

uint32_t tx_offloads(uint64_t features) {
    uint32_t offloads = kTxMultiSegment;
    if ((features & kVirtioGuestCsum) == 0) return offloads;
    offloads |= kTxChecksum;
    // virtio 1.2 section 5.1.3.1: segmentation depends on checksums.
    if ((features & kVirtioGuestTso4) != 0) offloads |= kTxTso4;
    if ((features & kVirtioGuestTso6) != 0) offloads |= kTxTso6;
    return offloads;
}

}  // namespace

VhostPort::VhostPort(const VhostPortSpec& spec, const Context& context)
    : spec_(spec), context_(context) {
    nudge_fd_ = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    tx_.transmit = vhost_transmit;
    tx_.port = spec.id;
    tx_.fault_fd = context.fault_fd;
    for (auto& route : tx_.route)
        route.store(-1, std::memory_order_relaxed);
    ok_ = nudge_fd_ >= 0;
    for (uint16_t i = 0; i < spec.queue_pairs; ++i) {
        auto queue = std::make_unique<VhostRxQueue>();
        queue->receive = vhost_receive;
        queue->arm = vhost_arm;
        queue->disarm = vhost_disarm;
        queue->port = spec.id;
        queue->index = i;
        queue->vring = static_cast<uint16_t>(2 * i + 1);
        queue->pool = context.pool;
        queue->fault_fd = context.fault_fd;
        queue->nudge_fd = nudge_fd_;
        queue->wake_fd = epoll_create1(EPOLL_CLOEXEC);
        epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = 0}};
        ok_ = ok_ && queue->wake_fd >= 0 &&
              epoll_ctl(queue->wake_fd, EPOLL_CTL_ADD, nudge_fd_, &event) == 0;
        rx_.push_back(std::move(queue));
    }
}

VhostPort::~VhostPort() {
    for (const auto& queue : rx_) {
        drop_kick(*queue);
        if (queue->wake_fd >= 0) close(queue->wake_fd);
    }
    if (nudge_fd_ >= 0) close(nudge_fd_);
}

PortHandles VhostPort::handles() {
    PortHandles handles{.tx = &tx_, .rx = {}};
    for (const auto& queue : rx_)
        handles.rx.push_back(queue.get());
    return handles;
}

uint64_t VhostPort::offered(uint64_t available) const {
    uint64_t features = available & ~kNeverOffered & ~spec_.masked_features;
    if (!spec_.packed) features &= ~kVirtioRingPacked;
    if (spec_.queue_pairs == 1) features &= ~kVirtioMultiQueue;
    return features;
}

int VhostPort::new_connection(int vid, int fd) {
    const std::lock_guard lock(mutex_);
    if (stopping_ || connection_ >= 0) return -1;
    connection_ = vid;
    connection_fd_ = fd;
    ++generation_;
    refused_ = false;
    handling_ = replacing_ = has_failed_ = false;
    enabled_ = 0;
    new_kick_ = UINT32_MAX;
    features_ = 0;
    mtu_ = 0;
    tell(VhostNotice::Type::kConnected);
    return 0;
}

int VhostPort::new_device(int vid) {
    const std::lock_guard lock(mutex_);
    if (stopping_ || vid != connection_) return -1;
    rte_vhost_get_negotiated_features(vid, &features_);
    if (rte_vhost_get_mtu(vid, &mtu_) != 0) mtu_ = 0;
    device_ = vid;
    publish();
    return 0;
}

void VhostPort::destroy_device(int vid) {
    std::unique_lock lock(mutex_);
    if (vid != device_) return;
    device_ = -1;
    publish();
    if (stopping_) {
        // Once for both: quiesce() may be waiting for the workers just now.
        quiesced_changed_.wait(lock, [this] { return quiesced_; });
        return;
    }
    lock.unlock();
    if (context_.synchronize) context_.synchronize();
}

void VhostPort::destroy_connection(int vid) {
    const std::lock_guard lock(mutex_);
    if (vid != connection_) return;
    connection_ = -1;
    enabled_ = 0;
    tell(VhostNotice::Type::kClosed);
}

void VhostPort::vring_state_changed(int vid, uint16_t vring, bool enabled) {
    const std::lock_guard lock(mutex_);
    if (vid != connection_ || vring >= vring_count()) return;
    // The library stops a ring that is to call or be kicked otherwise, and starts it again at once.
    // Workers wait for its lock meanwhile: what they would find stopped, they would drop.
    if (!enabled && replacing_) return;
    const uint32_t mask = 1u << vring;
    enabled_ = enabled ? enabled_ | mask : enabled_ & ~mask;
    if (device_ >= 0) publish();
}

bool VhostPort::message(int vid, VhostMessage& message) {
    std::string objection = message.objection();
    const uint32_t vring = message.vring();
    const std::lock_guard lock(mutex_);
    if (vid != connection_) return true;
    // The library says nothing of one that it has failed to handle. It may have lost its memory.
    has_failed_ = has_failed_ || handling_;
    handling_ = true;
    replacing_ = message.request() == VhostRequest::kSetVringKick ||
                 message.request() == VhostRequest::kSetVringCall;
    halt_rings();
    if (objection.empty() && connection_fd_ >= 0 && !takes_replies(connection_fd_))
        objection = "it reads no replies";
    if (!objection.empty()) {
        message.close_descriptors();
        // A message that asks for an acknowledgement would be refused with one, and the connection
        // kept.
        if (connection_fd_ >= 0) cut_connection(connection_fd_);
        refuse("the frontend breaks the protocol: " + objection);
        return false;
    }
    if (message.request() == VhostRequest::kResetOwner) {
        enabled_ = 0;
        new_kick_ = UINT32_MAX;
    }
    if (vring == UINT32_MAX) return true;
    if (vring >= vring_count()) {
        // The library may handle it all the same; the device thread takes the port down.
        refuse(fmt::format("the frontend asks for {} queue pairs or more, the port has {}",
                           vring / 2 + 1, spec_.queue_pairs));
    } else if (message.request() == VhostRequest::kSetVringKick) {
        new_kick_ |= 1u << vring;
    }
    return true;
}

void VhostPort::message_handled(int vid) {
    const std::lock_guard lock(mutex_);
    if (vid != connection_) return;
    handling_ = replacing_ = false;
    open_rings();
}

// REQUIRES: mutex_ is held. The device thread takes the port down; the first reason counts.
void VhostPort::refuse(std::string reason) {
    if (!std::exchange(refused_, true)) tell(VhostNotice::Type::kRefused, std::move(reason));
}

void VhostPort::quiesce() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        quiesced_ = false;
        publish();
    }
    if (context_.synchronize) context_.synchronize();
    {
        const std::lock_guard lock(mutex_);
        quiesced_ = true;
    }
    quiesced_changed_.notify_all();
}

void VhostPort::restart() {
    const std::lock_guard lock(mutex_);
    stopping_ = false;
    connection_ = -1;
    device_ = -1;
    enabled_ = 0;
}

void VhostPort::clear_faults() {
    for (const auto& queue : rx_)
        queue->fault.store(QueueFault::kNone, std::memory_order_release);
    tx_.fault.store(QueueFault::kNone, std::memory_order_release);
}

QueueFault VhostPort::fault() const {
    for (const auto& queue : rx_) {
        const QueueFault fault = queue->fault.load(std::memory_order_acquire);
        if (fault != QueueFault::kNone) return fault;
    }
    return tx_.fault.load(std::memory_order_acquire);
}

VhostPort::View VhostPort::view() const {
    const std::lock_guard lock(mutex_);
    return View{.connected = connection_ >= 0,
                .generation = generation_,
                .live = device_ >= 0 && !stopping_ && enabled_pairs_ != 0,
                .features = features_,
                .mtu = mtu_,
                .queue_pairs = static_cast<uint16_t>(std::popcount(enabled_pairs_))};
}

// Makes what workers see agree with the state. REQUIRES: mutex_ is held.
void VhostPort::publish() {
    const bool live = device_ >= 0 && !stopping_;
    halt_rings();
    uint32_t pairs = 0;
    std::array<uint16_t, kMaxQueuePairs> tx_rings{};
    unsigned tx_count = 0;
    for (uint16_t pair = 0; pair < spec_.queue_pairs; ++pair) {
        const bool tx_on = live && (enabled_ >> (2 * pair) & 1) != 0;
        const bool rx_on = live && (enabled_ >> (2 * pair + 1) & 1) != 0;
        publish_rx(pair, rx_on);
        if (tx_on) tx_rings[tx_count++] = static_cast<uint16_t>(2 * pair);
        if (tx_on && rx_on) pairs |= 1u << pair;
    }
    uint16_t size = 0;
    if (tx_count > 0) {
        rte_vhost_vring ring{};
        if ((features_ & kVirtioRingPacked) == 0 &&
            rte_vhost_get_vhost_vring(device_, tx_rings[0], &ring) == 0)
            size = ring.size;
    }
    tx_.ring_size.store(size, std::memory_order_relaxed);
    tx_.offloads.store(tx_count > 0 ? tx_offloads(features_) : 0, std::memory_order_relaxed);
    for (size_t worker = 0; worker < tx_.route.size(); ++worker) {
        const int32_t route = tx_count == 0 ? -1 : device_ << 8 | tx_rings[worker % tx_count];
        tx_.route[worker].store(route, std::memory_order_release);
    }
    tx_.ready.store(tx_count > 0, std::memory_order_release);
    enabled_pairs_ = pairs;
    open_rings();
    tell(VhostNotice::Type::kRingsChanged);
}

// REQUIRES: mutex_ is held, as for open_rings().
void VhostPort::halt_rings() {
    for (uint16_t pair = 0; pair < spec_.queue_pairs; ++pair) {
        rx_[pair]->ring.halt();
        tx_.rings[pair].halt();
    }
}

// Those that workers may be at. REQUIRES: all are halted.
void VhostPort::open_rings() {
    if (handling_ || has_failed_ || device_ < 0 || stopping_) return;
    for (uint16_t pair = 0; pair < spec_.queue_pairs; ++pair) {
        const auto sends = static_cast<uint16_t>(2 * pair + 1);
        const auto receives = static_cast<uint16_t>(2 * pair);
        if ((enabled_ >> sends & 1) != 0) rx_[pair]->ring.open(device_, sends);
        if ((enabled_ >> receives & 1) != 0) tx_.rings[pair].open(device_, receives);
    }
}

void VhostPort::publish_rx(uint16_t pair, bool on) {
    VhostRxQueue& queue = *rx_[pair];
    if (!on) {
        queue.vid.store(-1, std::memory_order_release);
        if (device_ < 0 || stopping_) drop_kick(queue);
        return;
    }
    const uint32_t mask = 1u << queue.vring;
    if ((new_kick_ & mask) != 0 || queue.kick_fd < 0) {
        new_kick_ &= ~mask;
        if (!take_kick(queue)) {
            refuse("the frontend gives no kick descriptor that can be waited for");
            return;
        }
    }
    if (queue.vid.load(std::memory_order_relaxed) < 0)
        queue.fresh.store(true, std::memory_order_relaxed);  // published by vid
    if (queue.vid.exchange(device_, std::memory_order_acq_rel) < 0) {
        // What the guest had made available before is not kicked for again.
        vhost_nudge(queue);
    }
}

// Duplicates the ring's kick descriptor: the library closes it when the frontend sends another
// one, while the frontend keeps the file, and with it its place in the epoll instance.
bool VhostPort::take_kick(VhostRxQueue& queue) {
    drop_kick(queue);
    rte_vhost_vring ring{};
    if (rte_vhost_get_vhost_vring(device_, queue.vring, &ring) != 0 || ring.kickfd < 0)
        return false;
    const bool packed = (features_ & kVirtioRingPacked) != 0;
    queue.ring_size.store(packed ? 0 : ring.size, std::memory_order_relaxed);
    queue.kick_fd = fcntl(ring.kickfd, F_DUPFD_CLOEXEC, 3);
    if (queue.kick_fd < 0) return false;
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = 1}};
    if (epoll_ctl(queue.wake_fd, EPOLL_CTL_ADD, queue.kick_fd, &event) == 0) return true;
    close(queue.kick_fd);
    queue.kick_fd = -1;
    return false;
}

void VhostPort::drop_kick(VhostRxQueue& queue) {
    if (queue.kick_fd < 0) return;
    epoll_ctl(queue.wake_fd, EPOLL_CTL_DEL, queue.kick_fd, nullptr);
    close(queue.kick_fd);
    queue.kick_fd = -1;
}

void VhostPort::tell(VhostNotice::Type type, std::string reason) {
    context_.notify(VhostNotice{
        .type = type, .port = spec_.id, .generation = generation_, .reason = std::move(reason)});
}

}  // namespace slash32
