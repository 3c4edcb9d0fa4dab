// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/driver.h"

#include "dp/base/assert.h"
#include "dp/base/limits.h"
#include "drivers/vhost/connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <rte_vhost.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace slash32 {

// What librte_vhost calls: it hands over a device number, of which the port is looked up by path
// once a connection and by number from then on.
struct VhostCallbacks {
    static std::atomic<VhostDriver*> driver;
    static std::array<std::atomic<VhostPort*>, RTE_MAX_VHOST_DEVICE> by_vid;

    static VhostPort* port(int vid) {
        return by_vid[static_cast<size_t>(vid)].load(std::memory_order_acquire);
    }

    // REQUIRES: the port is unregistered, so that no callback of it is running.
    static void forget(const VhostPort* gone) {
        for (auto& slot : by_vid) {
            if (slot.load(std::memory_order_relaxed) == gone)
                slot.store(nullptr, std::memory_order_release);
        }
    }

    static int new_connection(int vid) {
        VhostDriver* d = driver.load(std::memory_order_acquire);
        char path[sizeof(sockaddr_un::sun_path) + 1] = {};
        if (d == nullptr || rte_vhost_get_ifname(vid, path, sizeof path) != 0) return -1;
        VhostPort* found = nullptr;
        {
            const std::lock_guard lock(d->mutex_);
            const auto it = d->by_path_.find(path);
            if (it != d->by_path_.end()) found = it->second;
        }
        if (found == nullptr) return -1;
        const int fd = find_connection(path, found->spec().server, d->next_socket_);
        if (fd >= 0) bound_reads(fd);
        if (found->new_connection(vid, fd) != 0) return -1;
        by_vid[static_cast<size_t>(vid)].store(found, std::memory_order_release);
        static constexpr rte_vhost_user_extern_ops kMessages{.pre_msg_handle = message,
                                                             .post_msg_handle = message_handled};
        rte_vhost_extern_callback_register(vid, &kMessages, nullptr);
        return 0;
    }
    static void destroy_connection(int vid) {
        // by_vid stays: the library may still ask for the device's end.
        if (VhostPort* p = port(vid)) p->destroy_connection(vid);
    }
    static int new_device(int vid) {
        VhostPort* p = port(vid);
        return p == nullptr ? -1 : p->new_device(vid);
    }
    static void destroy_device(int vid) {
        if (VhostPort* p = port(vid)) p->destroy_device(vid);
    }
    static int vring_state_changed(int vid, uint16_t vring, int enable) {
        if (VhostPort* p = port(vid)) p->vring_state_changed(vid, vring, enable != 0);
        return 0;
    }
    static rte_vhost_msg_result message(int vid, void* data) {
        VhostPort* p = port(vid);
        VhostMessage message(data);
        const bool fine = p == nullptr || p->message(vid, message);
        return fine ? RTE_VHOST_MSG_RESULT_NOT_HANDLED : RTE_VHOST_MSG_RESULT_ERR;
    }
    static rte_vhost_msg_result message_handled(int vid, void*) {
        if (VhostPort* p = port(vid)) p->message_handled(vid);
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    }
};

std::atomic<VhostDriver*> VhostCallbacks::driver{nullptr};
std::array<std::atomic<VhostPort*>, RTE_MAX_VHOST_DEVICE> VhostCallbacks::by_vid{};

namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kFirstDelay = 20 * kMs;
constexpr uint64_t kLongestDelay = 1000 * kMs;
// A frontend that closed its connection often listens on.
constexpr uint64_t kAfterClose = 2 * kMs;
constexpr uint64_t kMissingDirectory = 100 * kMs;

const rte_vhost_device_ops kOps = [] {
    rte_vhost_device_ops ops{};
    ops.new_device = VhostCallbacks::new_device;
    ops.destroy_device = VhostCallbacks::destroy_device;
    ops.vring_state_changed = VhostCallbacks::vring_state_changed;
    ops.new_connection = VhostCallbacks::new_connection;
    ops.destroy_connection = VhostCallbacks::destroy_connection;
    return ops;
}();

uint64_t now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

std::string error_text(int error) {
    char buffer[128];
    return strerror_r(error, buffer, sizeof buffer);
}

// What a stat of a client's path says against connecting; empty: nothing. `identity` gets what
// tells the file from one that is made anew.
std::string obstacle(const std::string& path, std::string* identity = nullptr) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0)
        return errno == ENOENT ? "no such socket yet" : error_text(errno);
    if (identity != nullptr) {
        // Filesystems use inode numbers again.
        *identity = fmt::format("{}.{}.{}.{}", status.st_dev, status.st_ino, status.st_ctim.tv_sec,
                                status.st_ctim.tv_nsec);
    }
    return S_ISSOCK(status.st_mode) ? "" : "the file is not a socket";
}

// Removes a socket that nobody listens on any more. The reason why the path cannot be had, or
// nothing. This may connect: whoever listens there is not our frontend.
std::string clear_stale_socket(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) return errno == ENOENT ? "" : error_text(errno);
    if (!S_ISSOCK(status.st_mode)) return "the path exists and is not a socket";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return error_text(errno);
    const int connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    const int error = errno;
    close(fd);
    if (connected == 0 || error == EAGAIN) return "another process listens on the socket";
    if (error != ECONNREFUSED) return error_text(error);
    return unlink(path.c_str()) == 0 || errno == ENOENT ? "" : error_text(errno);
}

}  // namespace

Result<std::unique_ptr<VhostDriver>> VhostDriver::create(Options options) {
    std::unique_ptr<VhostDriver> driver(new VhostDriver(std::move(options)));
    if (driver->epoll_fd_ < 0 || driver->wake_fd_ < 0 || driver->fault_fd_ < 0 ||
        driver->watcher_.fd() < 0) {
        return slash32::fail(ErrorCode::kUnavailable, "",
                             "vhost-user: no descriptors left: " + error_text(errno));
    }
    for (const int fd : {driver->wake_fd_, driver->fault_fd_, driver->watcher_.fd()}) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
        epoll_ctl(driver->epoll_fd_, EPOLL_CTL_ADD, fd, &event);
    }
    VhostDriver* expected = nullptr;
    S32_ASSERT(VhostCallbacks::driver.compare_exchange_strong(expected, driver.get()));
    driver->thread_ = std::thread([d = driver.get()] { d->run(); });
    pthread_setname_np(driver->thread_.native_handle(), "s32-device");
    return driver;
}

VhostDriver::VhostDriver(Options options) : options_(std::move(options)) {
    epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fault_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    context_.pool = options_.pool;
    context_.fault_fd = fault_fd_;
    context_.synchronize = options_.synchronize;
    context_.notify = [this](VhostNotice notice) { post(std::move(notice)); };
}

VhostDriver::~VhostDriver() {
    if (thread_.joinable()) {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        eventfd_write(wake_fd_, 1);
        thread_.join();
        VhostCallbacks::driver.store(nullptr, std::memory_order_release);
    }
    for (const int fd : {epoll_fd_, wake_fd_, fault_fd_}) {
        if (fd >= 0) close(fd);
    }
}

Result<void> VhostDriver::check(const VhostPortSpec& s) const {
    if (s.path.empty() || s.path[0] != '/')
        return slash32::fail(ErrorCode::kInvalid, "socket", "must be an absolute path");
    if (s.path.size() >= sizeof(sockaddr_un::sun_path)) {
        return slash32::fail(ErrorCode::kInvalid, "socket",
                             fmt::format("is longer than {} bytes, the limit of a Unix socket",
                                         sizeof(sockaddr_un::sun_path) - 1));
    }
    if (s.queue_pairs == 0 || s.queue_pairs > kMaxQueuePairs) {
        return slash32::fail(ErrorCode::kInvalid, "queues",
                             fmt::format("must be 1 to {}", kMaxQueuePairs));
    }
    return {};
}

Result<PortHandles> VhostDriver::add(const VhostPortSpec& spec) {
    if (auto ok = check(spec); !ok) return tl::unexpected(ok.error());
    auto port = std::make_unique<VhostPort>(spec, context_);
    if (!port->ok()) {
        return slash32::fail(ErrorCode::kUnavailable, "",
                             "no file descriptors left: " + error_text(errno));
    }
    PortHandles handles = port->handles();
    {
        const std::lock_guard lock(mutex_);
        if (ports_.size() >= kMaxVhostPorts) {
            return slash32::fail(
                ErrorCode::kLimit, "",
                fmt::format("there are {} vhost-user ports already", ports_.size()));
        }
        if (ports_.contains(spec.id.value()))
            return slash32::fail(ErrorCode::kConflict, "", "the port exists already");
        if (by_path_.contains(spec.path))
            return slash32::fail(ErrorCode::kConflict, "socket", "another port has this socket");
        by_path_[spec.path] = port.get();
        ports_[spec.id.value()] = std::move(port);
    }
    post(Add{spec.id});
    return handles;
}

void VhostDriver::remove(PortId id, std::function<void()> done) {
    post(Remove{id, std::move(done)});
}

void VhostDriver::fail(PortId id, std::string reason) {
    post(Fail{id, std::move(reason)});
}

void VhostDriver::retry(PortId id) {
    post(Retry{id});
}

void VhostDriver::post(Request request) {
    {
        const std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
    }
    eventfd_write(wake_fd_, 1);
}

void VhostDriver::run() {
    for (;;) {
        epoll_event events[4];
        const int n = epoll_wait(epoll_fd_, events, 4, timeout_ms(now()));
        for (int i = 0; i < n; ++i) {
            eventfd_t drained = 0;
            if (events[i].data.fd == watcher_.fd()) {
                watcher_.read([this](const std::string& path) { on_path(path); },
                              [this] {
                                  for (auto& [id, entry] : entries_)
                                      on_path(entry.port->spec().path);
                              });
            } else {
                eventfd_read(events[i].data.fd, &drained);
                if (events[i].data.fd == fault_fd_) check_faults();
            }
        }
        std::deque<Request> requests;
        bool stopping = false;
        {
            const std::lock_guard lock(mutex_);
            requests.swap(requests_);
            stopping = stopping_;
        }
        for (Request& request : requests)
            std::visit([this](auto& r) { handle(r); }, request);
        if (stopping) break;
        run_due(now());
    }
    for (auto& [id, entry] : entries_) {
        unregister(entry);
        VhostCallbacks::forget(entry.port);
    }
}

int VhostDriver::timeout_ms(uint64_t now_ns) const {
    uint64_t next = due_.empty() ? UINT64_MAX : due_.begin()->first;
    if (watcher_.any_missing()) next = std::min(next, retry_missing_ns_);
    if (next == UINT64_MAX) return -1;
    return next <= now_ns ? 0 : static_cast<int>((next - now_ns + kMs - 1) / kMs);
}

void VhostDriver::run_due(uint64_t now_ns) {
    if (watcher_.any_missing() && now_ns >= retry_missing_ns_) {
        retry_missing_ns_ = now_ns + kMissingDirectory;
        watcher_.retry_missing([this](const std::string& directory) {
            for (auto& [id, entry] : entries_) {
                if (entry.port->spec().path.starts_with(directory))
                    on_path(entry.port->spec().path);
            }
        });
    }
    // Those that are due now; what they plan comes later, even if without delay.
    std::vector<uint16_t> ids;
    for (const auto& [due, id] : due_) {
        if (due > now_ns) break;
        ids.push_back(id);
    }
    for (const uint16_t id : ids) {
        Entry& entry = entries_.at(id);
        unplan(entry);
        attempt(entry);
    }
}

void VhostDriver::plan(Entry& entry, uint64_t delay_ns) {
    unplan(entry);
    entry.due_ns = now() + delay_ns;
    due_.emplace(entry.due_ns, entry.port->spec().id.value());
}

void VhostDriver::unplan(Entry& entry) {
    if (entry.due_ns != 0) due_.erase({entry.due_ns, entry.port->spec().id.value()});
    entry.due_ns = 0;
}

VhostDriver::Entry* VhostDriver::find(PortId id) {
    const auto it = entries_.find(id.value());
    return it == entries_.end() ? nullptr : &it->second;
}

void VhostDriver::handle(Add& request) {
    Entry& entry = entries_[request.id.value()];
    {
        const std::lock_guard lock(mutex_);
        entry.port = ports_.at(request.id.value()).get();
    }
    if (!entry.port->spec().server) watcher_.add(entry.port->spec().path);
    entry.delay_ns = kFirstDelay;
    attempt(entry);
}

void VhostDriver::handle(Remove& request) {
    if (Entry* entry = find(request.id)) {
        unregister(*entry);
        unplan(*entry);
        const VhostPortSpec& spec = entry->port->spec();
        if (!spec.server) watcher_.remove(spec.path);
        VhostCallbacks::forget(entry->port);
        entries_.erase(request.id.value());
        std::unique_ptr<VhostPort> port;
        {
            const std::lock_guard lock(mutex_);
            port = std::move(ports_.at(request.id.value()));
            by_path_.erase(port->spec().path);
            ports_.erase(request.id.value());
        }
    }
    if (request.done) request.done();
}

void VhostDriver::handle(Fail& request) {
    if (Entry* entry = find(request.id)) take_down(*entry, request.reason);
}

void VhostDriver::handle(Retry& request) {
    Entry* entry = find(request.id);
    if (entry == nullptr || entry->state != State::kFailed) return;
    entry->state = State::kWaiting;
    entry->delay_ns = kFirstDelay;
    attempt(*entry);
}

void VhostDriver::handle(VhostNotice& notice) {
    Entry* entry = find(notice.port);
    // What was said of an earlier connection, or of one that was taken down, is over.
    if (entry == nullptr || !entry->registered) return;
    const VhostPort::View view = entry->port->view();
    if (notice.generation != view.generation) return;
    switch (notice.type) {
        case VhostNotice::Type::kConnected:
            if (entry->state != State::kWaiting && entry->state != State::kFailed) return;
            entry->state = State::kConnected;
            entry->told.clear();
            entry->told_rings = 0;
            entry->port->clear_faults();
            emit(DriverEventType::kConnected, *entry);
            return;
        case VhostNotice::Type::kRingsChanged:
            report_rings(*entry);
            return;
        case VhostNotice::Type::kRefused:
            take_down(*entry, notice.reason);
            return;
        case VhostNotice::Type::kClosed:
            if (entry->state == State::kRunning) emit(DriverEventType::kRingsOff, *entry);
            if (entry->state != State::kFailed) {
                entry->state = State::kWaiting;
                emit(DriverEventType::kDisconnected, *entry);
            }
            entry->delay_ns = kFirstDelay;
            if (entry->port->spec().server) {
                waiting(*entry, "the frontend has closed the connection");
            } else {
                unregister(*entry);
                plan(*entry, kAfterClose);
            }
            return;
    }
}

void VhostDriver::report_rings(Entry& entry) {
    const VhostPort::View view = entry.port->view();
    if (entry.state != State::kConnected && entry.state != State::kRunning) return;
    if (!view.live) {
        if (entry.state == State::kConnected) return;
        entry.state = State::kConnected;
        entry.told_rings = 0;
        emit(DriverEventType::kRingsOff, entry);
        return;
    }
    // The bits above 47 are unused by virtio-net devices of this kind.
    const uint64_t rings =
        view.features ^ uint64_t { view.mtu } << 44 ^ uint64_t { view.queue_pairs } << 60;
    if (entry.state == State::kRunning && rings == entry.told_rings) return;
    entry.state = State::kRunning;
    entry.told_rings = rings;
    emit(DriverEventType::kRingsReady, entry);
}

// A worker, or the transmit side, has recognised a ring as corrupt.
void VhostDriver::check_faults() {
    for (auto& [id, entry] : entries_) {
        if (!entry.registered || entry.state == State::kFailed) continue;
        if (entry.port->fault() != QueueFault::kNone)
            take_down(entry, "the guest's ring is corrupt");
    }
}

void VhostDriver::on_path(const std::string& path) {
    VhostPort* port = nullptr;
    {
        const std::lock_guard lock(mutex_);
        const auto it = by_path_.find(path);
        if (it != by_path_.end()) port = it->second;
    }
    Entry* entry = port == nullptr ? nullptr : find(port->spec().id);
    if (entry == nullptr || entry->registered || port->spec().server) return;
    if (entry->state == State::kFailed) entry->state = State::kWaiting;
    entry->delay_ns = kFirstDelay;
    plan(*entry, 0);
}

void VhostDriver::attempt(Entry& entry) {
    if (entry.registered) return;
    const bool server = entry.port->spec().server;
    const std::string error = server ? start_server(entry) : start_client(entry);
    if (error.empty()) {
        entry.delay_ns = kFirstDelay;
        if (server && entry.state == State::kWaiting) waiting(entry, "");
        return;
    }
    waiting(entry, error);
    // The watcher tells when a client's socket appears.
    if (!server && !obstacle(entry.port->spec().path).empty()) return;
    plan(entry, entry.delay_ns);
    entry.delay_ns = std::min(entry.delay_ns * 2, kLongestDelay);
}

std::string VhostDriver::start_client(Entry& entry) {
    const std::string& path = entry.port->spec().path;
    if (std::string what = obstacle(path, &entry.connected_to); !what.empty()) return what;
    if (std::string what = enrol(entry); !what.empty()) return what;
    const uint32_t generation = entry.port->view().generation;
    errno = 0;
    const int started = rte_vhost_driver_start(path.c_str());
    const int error = errno;
    // A connection that is over already has left its notices, as a longer one does.
    if (started == 0 && entry.port->view().generation != generation) return {};
    unregister(entry);
    if (started == 0) return "the limit of vhost-user devices is reached";
    return error == 0 ? "cannot connect" : error_text(error);
}

std::string VhostDriver::start_server(Entry& entry) {
    const VhostPortSpec& spec = entry.port->spec();
    if (std::string what = clear_stale_socket(spec.path); !what.empty()) return what;
    if (std::string what = enrol(entry); !what.empty()) return what;
    errno = 0;
    if (rte_vhost_driver_start(spec.path.c_str()) != 0) {
        const int error = errno;
        unregister(entry);
        return error == 0 ? "cannot listen" : error_text(error);
    }
    if ((spec.group && chown(spec.path.c_str(), static_cast<uid_t>(-1), *spec.group) != 0) ||
        chmod(spec.path.c_str(), spec.mode) != 0) {
        const int error = errno;
        unregister(entry);
        return "cannot set the socket's group and mode: " + error_text(error);
    }
    return {};
}

// Makes the socket known to the library, with what it may offer.
std::string VhostDriver::enrol(Entry& entry) {
    const VhostPortSpec& spec = entry.port->spec();
    const char* path = spec.path.c_str();
    uint64_t flags = RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS;
    if (!spec.server) flags |= RTE_VHOST_USER_CLIENT | RTE_VHOST_USER_NO_RECONNECT;
    entry.port->restart();
    next_socket_ = next_descriptor();
    if (rte_vhost_driver_register(path, flags) != 0) return "the limit of sockets is reached";
    entry.registered = true;
    uint64_t features = 0;
    rte_vhost_driver_get_features(path, &features);
    rte_vhost_driver_disable_features(path, features & ~entry.port->offered(features));
    rte_vhost_driver_callback_register(path, &kOps);
    return {};
}

void VhostDriver::unregister(Entry& entry) {
    if (!entry.registered) return;
    entry.port->quiesce();
    rte_vhost_driver_unregister(entry.port->spec().path.c_str());
    entry.registered = false;
}

void VhostDriver::take_down(Entry& entry, const std::string& reason) {
    if (entry.state == State::kFailed) return;
    const State before = std::exchange(entry.state, State::kFailed);
    unregister(entry);
    unplan(entry);
    if (before == State::kRunning) emit(DriverEventType::kRingsOff, entry);
    if (before != State::kWaiting) emit(DriverEventType::kDisconnected, entry);
    emit(DriverEventType::kFailed, entry, reason);
    if (entry.port->spec().server) {
        plan(entry, kLongestDelay);
        return;
    }
    // The watcher told of a new socket while the old one's connection was still there.
    std::string identity;
    if (obstacle(entry.port->spec().path, &identity).empty() && identity != entry.connected_to) {
        entry.state = State::kWaiting;
        entry.delay_ns = kFirstDelay;
        plan(entry, 0);
    }
}

// Told once for each thing that is waited for.
void VhostDriver::waiting(Entry& entry, const std::string& error) {
    if (entry.state == State::kFailed || entry.told == error + '.') return;
    entry.told = error + '.';
    emit(DriverEventType::kWaiting, entry, error);
}

void VhostDriver::emit(DriverEventType type, const Entry& entry, std::string reason) {
    if (!options_.event) return;
    DriverEvent event{.type = type,
                      .port = entry.port->spec().id,
                      .path = entry.port->spec().path,
                      .reason = std::move(reason)};
    if (type == DriverEventType::kRingsReady) {
        const VhostPort::View view = entry.port->view();
        event.features = view.features;
        event.mtu = view.mtu;
        event.queue_pairs = view.queue_pairs;
    }
    options_.event(event);
}

}  // namespace slash32
