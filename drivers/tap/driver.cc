// SPDX-License-Identifier: Apache-2.0
#include "drivers/tap/driver.h"

#include "dp/base/limits.h"
#include "drivers/tap/queue.h"
#include "drivers/virtio_net.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <pthread.h>
#include <rte_mbuf.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

namespace slash32 {
namespace {

constexpr auto kFaultPeriod = std::chrono::milliseconds(500);

std::string error_text(int error) {
    char buffer[128];
    return strerror_r(error, buffer, sizeof buffer);
}

bool valid_name(const std::string& name) {
    if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == "..") return false;
    return std::all_of(name.begin(), name.end(), [](char c) {
        return c > ' ' && c != '/' && c != ':' && c != '%' && static_cast<unsigned char>(c) < 127;
    });
}

Result<void> check(const TapPortSpec& s) {
    if (!valid_name(s.interface))
        return fail(ErrorCode::kInvalid, "interface", "must be 1 to 15 printable characters");
    if (s.queue_pairs == 0 || s.queue_pairs > kMaxQueuePairs) {
        return fail(ErrorCode::kInvalid, "queues", fmt::format("must be 1 to {}", kMaxQueuePairs));
    }
    if (s.mtu < 68 || s.mtu > kMaxMtu)
        return fail(ErrorCode::kInvalid, "mtu", fmt::format("must be 68 to {}", kMaxMtu));
    if (s.mac && (s.mac->is_multicast() || s.mac->is_zero()))
        return fail(ErrorCode::kInvalid, "mac", "must be a unicast address");
    return {};
}

ifreq request_for(const std::string& name) {
    ifreq request{};
    std::memcpy(request.ifr_name, name.c_str(), name.size() + 1);
    return request;
}

// Header and offloads of a queue.
bool set_up_queue(int fd, const TapPortSpec& s) {
    int header_bytes = sizeof(VirtioNetHeader);
    // What the kernel may leave to us: checksums and TCP segmentation. ECN is left out, as for
    // vhost-user.
    const unsigned long accepted = s.offloads ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0;
    return ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) == 0 &&
           ioctl(fd, TUNSETOFFLOAD, accepted) == 0;
}

// Whether the interface of the descriptor is in the network namespace of this thread. One that was
// kept may be of a namespace that is going, or has gone.
bool is_here(int fd) {
    const int there = ioctl(fd, TUNGETDEVNETNS);
    struct stat theirs {};
    struct stat ours {};
    const bool same = there >= 0 && fstat(there, &theirs) == 0 &&
                      stat("/proc/thread-self/ns/net", &ours) == 0 &&
                      theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
    if (there >= 0) close(there);
    return same;
}

// Whether the adopted descriptor is a queue of the interface, and such as we make them.
bool take_over(const TapPortSpec& s) {
    ifreq request{};
    if (s.queue_pairs != 1 || ioctl(s.adopted, TUNGETIFF, &request) != 0) return false;
    constexpr int kOurs = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    const int flags = request.ifr_flags;
    return s.interface == request.ifr_name && (flags & kOurs) == kOurs &&
           (flags & IFF_MULTI_QUEUE) == 0 && is_here(s.adopted) && set_up_queue(s.adopted, s);
}

void set_carrier_of(int fd, bool up) {
    unsigned carrier = up ? 1 : 0;
    // Kernels before 5.0 have no such call: there is always a carrier.
    ioctl(fd, TUNSETCARRIER, &carrier);
}

// One queue of the interface; the first one makes it.
Result<int> open_queue(const TapPortSpec& s, bool first) {
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return fail(
            errno == EACCES || errno == EPERM ? ErrorCode::kForbidden : ErrorCode::kUnavailable, "",
            "cannot open /dev/net/tun: " + error_text(errno));
    }
    ifreq request = request_for(s.interface);
    int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (s.queue_pairs > 1) flags |= IFF_MULTI_QUEUE;
    if (first) flags |= IFF_TUN_EXCL;
    request.ifr_flags = static_cast<short>(flags);
    if (ioctl(fd, TUNSETIFF, &request) == 0 && set_up_queue(fd, s)) return fd;
    const int error = errno;
    close(fd);
    switch (error) {
        case EBUSY:
        case EEXIST:
            return fail(ErrorCode::kConflict, "interface",
                        fmt::format("the interface {} exists already or is in use", s.interface));
        case EINVAL:
            return fail(ErrorCode::kConflict, "interface",
                        fmt::format("{} exists and is no TAP interface with {} queues", s.interface,
                                    s.queue_pairs));
        case EPERM:
            return fail(ErrorCode::kForbidden, "interface",
                        "this user may not make TAP interfaces (CAP_NET_ADMIN)");
        default:
            return fail(
                ErrorCode::kUnavailable, "interface",
                fmt::format("cannot make the interface {}: {}", s.interface, error_text(error)));
    }
}

// MTU, address and state of the kernel's side.
Result<void> configure(const TapPortSpec& s) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const auto failed = [&](const char* field) {
        const int error = errno;
        if (fd >= 0) close(fd);
        return fail(ErrorCode::kUnavailable, field,
                    fmt::format("cannot set it on {}: {}", s.interface, error_text(error)));
    };
    if (fd < 0) return failed("interface");
    ifreq request = request_for(s.interface);
    request.ifr_mtu = s.mtu;
    if (ioctl(fd, SIOCSIFMTU, &request) != 0) return failed("mtu");
    request = request_for(s.interface);
    const bool has_mac =
        s.mac && ioctl(fd, SIOCGIFHWADDR, &request) == 0 &&
        std::memcmp(request.ifr_hwaddr.sa_data, s.mac->bytes.data(), s.mac->bytes.size()) == 0;
    // Setting the same again would make the kernel forget its neighbours.
    if (s.mac && !has_mac) {
        request = request_for(s.interface);
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        std::memcpy(request.ifr_hwaddr.sa_data, s.mac->bytes.data(), s.mac->bytes.size());
        if (ioctl(fd, SIOCSIFHWADDR, &request) != 0) return failed("mac");
    }
    request = request_for(s.interface);
    if (ioctl(fd, SIOCGIFFLAGS, &request) != 0) return failed("interface");
    const int flags = s.up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
    request.ifr_flags = static_cast<short>(flags);
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) return failed("up");
    close(fd);
    return {};
}

void no_signal_needed(RxQueue&) {}  // it is readable while a packet waits

}  // namespace

struct TapDriver::Port {
    TapPortSpec spec;
    std::vector<int> fds;
    std::vector<std::unique_ptr<TapRxQueue>> rx;
    TapTxPort tx;
    bool adopted = false;
    bool failed = false;  // the driver's thread

    ~Port() {
        for (const auto& queue : rx) {
            rte_pktmbuf_free_bulk(queue->spare.data(), queue->spare_count);
            if (queue->wake_fd >= 0) close(queue->wake_fd);
        }
        for (const int fd : fds)
            close(fd);
    }
};

TapDriver::TapDriver(Options options) : options_(std::move(options)) {
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "s32-tap");
}

TapDriver::~TapDriver() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

Result<PortHandles> TapDriver::add(const TapPortSpec& spec) {
    if (auto ok = check(spec); !ok) return tl::unexpected(ok.error());
    {
        const std::lock_guard lock(mutex_);
        if (ports_.contains(spec.id.value()))
            return fail(ErrorCode::kConflict, "", "the port exists already");
    }
    auto port = std::make_shared<Port>();
    port->spec = spec;
    if (spec.adopted >= 0) {
        if (take_over(spec)) {
            port->fds.push_back(spec.adopted);
            port->adopted = true;
        } else {
            close(spec.adopted);
        }
    }
    for (uint16_t i = port->adopted; i < spec.queue_pairs; ++i) {
        const auto fd = open_queue(spec, i == 0);
        if (!fd) return tl::unexpected(fd.error());
        port->fds.push_back(*fd);
    }
    if (auto ok = configure(spec); !ok) return tl::unexpected(ok.error());
    if (!port->adopted) set_carrier_of(port->fds[0], spec.carrier);
    PortHandles handles;
    for (uint16_t i = 0; i < spec.queue_pairs; ++i) {
        auto queue = std::make_unique<TapRxQueue>();
        queue->receive = tap_receive;
        queue->arm = no_signal_needed;
        queue->disarm = no_signal_needed;
        queue->port = spec.id;
        queue->index = i;
        queue->fd = port->fds[i];
        queue->wake_fd = epoll_create1(EPOLL_CLOEXEC);
        epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
        const bool ok = epoll_ctl(queue->wake_fd, EPOLL_CTL_ADD, queue->fd, &event) == 0;
        queue->pool = options_.pool;
        port->tx.fds[i] = port->fds[i];
        handles.rx.push_back(queue.get());
        port->rx.push_back(std::move(queue));
        if (!ok) {
            return fail(ErrorCode::kUnavailable, "",
                        "no file descriptors left: " + error_text(errno));
        }
    }
    port->tx.transmit = tap_transmit;
    port->tx.port = spec.id;
    port->tx.queues = spec.queue_pairs;
    port->tx.offloads = kTxChecksum | kTxTso4 | kTxTso6 | kTxMultiSegment;
    port->tx.ready = true;
    handles.tx = &port->tx;
    {
        const std::lock_guard lock(mutex_);
        ports_[spec.id.value()] = std::move(port);
    }
    if (options_.event) {
        post([hook = options_.event, spec] {
            const uint64_t features = kVirtioCsum | kVirtioGuestCsum | kVirtioGuestTso4 |
                                      kVirtioGuestTso6 | kVirtioHostTso4 | kVirtioHostTso6;
            DriverEvent event{.type = DriverEventType::kConnected,
                              .port = spec.id,
                              .path = spec.interface,
                              .reason = {},
                              .features = features,
                              .mtu = spec.mtu,
                              .queue_pairs = spec.queue_pairs};
            hook(event);
            event.type = DriverEventType::kRingsReady;
            hook(event);
        });
    }
    return handles;
}

void TapDriver::set_carrier(PortId id, bool up) {
    const std::lock_guard lock(mutex_);
    const auto found = ports_.find(id.value());
    if (found == ports_.end()) return;
    set_carrier_of(found->second->fds[0], up);
}

int TapDriver::descriptor(PortId id) {
    const std::lock_guard lock(mutex_);
    const auto found = ports_.find(id.value());
    return found == ports_.end() ? -1 : found->second->fds[0];
}

void TapDriver::remove(PortId id, std::function<void()> done) {
    std::shared_ptr<Port> port;
    {
        const std::lock_guard lock(mutex_);
        if (const auto it = ports_.find(id.value()); it != ports_.end()) {
            port = std::move(it->second);
            ports_.erase(it);
        }
    }
    post([port = std::move(port), done = std::move(done)]() mutable {
        port.reset();
        if (done) done();
    });
}

void TapDriver::post(std::function<void()> action) {
    {
        const std::lock_guard lock(mutex_);
        actions_.push_back(std::move(action));
    }
    changed_.notify_one();
}

void TapDriver::check_faults() {
    std::vector<std::shared_ptr<Port>> gone;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, port] : ports_) {
            const bool fault = std::any_of(port->rx.begin(), port->rx.end(), [](const auto& q) {
                return q->fault.load(std::memory_order_acquire) != QueueFault::kNone;
            });
            if (!fault || port->failed) continue;
            port->failed = true;
            gone.push_back(port);
        }
    }
    for (const auto& port : gone) {
        port->tx.ready.store(false, std::memory_order_release);
        if (!options_.event) continue;
        DriverEvent event{.type = DriverEventType::kRingsOff,
                          .port = port->spec.id,
                          .path = port->spec.interface,
                          .reason = {}};
        options_.event(event);
        event.type = DriverEventType::kFailed;
        event.reason = fmt::format("the interface {} was deleted", port->spec.interface);
        options_.event(event);
    }
}

void TapDriver::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        const auto due = [this] { return stopping_ || !actions_.empty(); };
        if (ports_.empty())
            changed_.wait(lock, due);
        else
            changed_.wait_for(lock, kFaultPeriod, due);
        if (actions_.empty()) {
            if (stopping_) return;
            lock.unlock();
            check_faults();
            lock.lock();
            continue;
        }
        auto action = std::move(actions_.front());
        actions_.pop_front();
        lock.unlock();
        action();
        action = nullptr;
        lock.lock();
    }
}

}  // namespace slash32
