// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/drivers/test_worker.h"

#include "drivers/eal.h"

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace slash32::testing {

rte_mempool* packet_pool() {
    static rte_mempool* pool = [] {
        EalOptions options;
        options.worker_cores = {0};
        options.hugepages = HugepageMode::kNever;
        options.memory_mb = 192;
        options.file_prefix = "s32test-" + std::to_string(getpid());
        options.log = [](int level, std::string_view line) {
            if (level <= 4)
                fprintf(stderr, "dpdk: %.*s\n", static_cast<int>(line.size()), line.data());
        };
        const auto started = start_eal(options);
        if (!started) {
            fprintf(stderr, "%s\n", started.error().message.c_str());
            abort();
        }
        atexit([] { std::filesystem::remove_all(rte_eal_get_runtime_dir()); });
        const auto made = create_packet_pool({.name = "test", .mbufs = 16384});
        if (!made) {
            fprintf(stderr, "%s\n", made.error().message.c_str());
            abort();
        }
        return *made;
    }();
    return pool;
}

std::string scratch_directory() {
    static struct Scratch {
        std::vector<std::string> made;
        ~Scratch() {
            for (const std::string& path : made)
                std::filesystem::remove_all(path);
        }
    } scratch;
    char path[] = "/tmp/s32-drivers-XXXXXX";
    if (mkdtemp(path) == nullptr) abort();
    return scratch.made.emplace_back(path);
}

TestWorker::TestWorker()
    : qsbr_memory_(rte_rcu_qsbr_get_memsize(1) + 64),
      epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      doorbell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    const auto at = reinterpret_cast<uintptr_t>(qsbr_memory_.data());
    qsbr_ = reinterpret_cast<rte_rcu_qsbr*>((at + 63) & ~uintptr_t{63});
    rte_rcu_qsbr_init(qsbr_, 1);
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, doorbell_, &event);
    rte_rcu_qsbr_thread_register(qsbr_, 0);
    thread_ = std::thread([this] { run(); });
}

TestWorker::~TestWorker() {
    stop_ = true;
    eventfd_write(doorbell_, 1);
    thread_.join();
    close(epoll_fd_);
    close(doorbell_);
}

void TestWorker::change(std::function<void()> action) {
    uint64_t ticket;
    {
        const std::lock_guard lock(mutex_);
        actions_.push_back(std::move(action));
        ticket = ++asked_;
    }
    eventfd_write(doorbell_, 1);
    while (carried_out_ < ticket)
        usleep(100);
}

void TestWorker::connect(const PortHandles& in, TxPort* out) {
    change([this, in, out] {
        for (RxQueue* queue : in.rx) {
            paths_.push_back(Path{.queue = queue, .out = out});
            if (queue->wake_fd < 0) continue;
            epoll_event event{.events = EPOLLONESHOT, .data = {.ptr = queue}};
            epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, queue->wake_fd, &event);
        }
    });
}

void TestWorker::disconnect(const PortHandles& in) {
    change([this, in] {
        for (RxQueue* queue : in.rx) {
            std::erase_if(paths_, [queue](const Path& p) { return p.queue == queue; });
            if (queue->wake_fd >= 0) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, queue->wake_fd, nullptr);
        }
        std::erase_if(paths_, [&in](const Path& p) { return p.out == in.tx; });
    });
}

void TestWorker::disconnect_all() {
    change([this] {
        for (const Path& path : paths_)
            if (path.queue->wake_fd >= 0)
                epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, path.queue->wake_fd, nullptr);
        paths_.clear();
    });
}

void TestWorker::synchronize() {
    rte_rcu_qsbr_synchronize(qsbr_, RTE_QSBR_THRID_INVALID);
}

bool TestWorker::poll(Path& path) {
    rte_mbuf* packets[32];
    const uint16_t n = path.queue->receive(*path.queue, packets, 32);
    if (n == 0) return false;
    received_ += n;
    for (uint16_t i = 0; i < n; ++i) {
        if (inspect) inspect(packets[i]);
    }
    uint16_t sent = 0;
    if (path.out != nullptr) sent = path.out->transmit(*path.out, WorkerId{0}, packets, n);
    sent_ += sent;
    rte_pktmbuf_free_bulk(packets + sent, n - sent);
    return true;
}

void TestWorker::run() {
    rte_rcu_qsbr_thread_online(qsbr_, 0);
    while (!stop_) {
        rte_rcu_qsbr_quiescent(qsbr_, 0);
        ++loops_;
        std::vector<std::function<void()>> actions;
        {
            const std::lock_guard lock(mutex_);
            actions.swap(actions_);
        }
        for (const auto& action : actions)
            action();
        carried_out_ += actions.size();
        bool idle = true;
        for (Path& path : paths_) {
            if (path.armed) continue;
            if (poll(path)) {
                path.empty = 0;
            } else if (++path.empty > 2000 && path.queue->wake_fd >= 0) {
                path.queue->arm(*path.queue);
                if (poll(path)) {
                    path.queue->disarm(*path.queue);
                    path.empty = 0;
                } else {
                    path.armed = true;
                    epoll_event event{.events = EPOLLIN | EPOLLONESHOT,
                                      .data = {.ptr = path.queue}};
                    epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, path.queue->wake_fd, &event);
                }
            }
            idle = idle && path.armed;
        }
        if (idle) sleep();
    }
    rte_rcu_qsbr_thread_offline(qsbr_, 0);
}

void TestWorker::sleep() {
    rte_rcu_qsbr_thread_offline(qsbr_, 0);
    epoll_event events[16];
    const int n = epoll_wait(epoll_fd_, events, 16, -1);
    rte_rcu_qsbr_thread_online(qsbr_, 0);
    for (int i = 0; i < n; ++i) {
        if (events[i].data.ptr == nullptr) {
            eventfd_t drained = 0;
            eventfd_read(doorbell_, &drained);
            continue;
        }
        for (Path& path : paths_) {
            if (path.queue != events[i].data.ptr || !path.armed) continue;
            path.armed = false;
            path.empty = 0;
            if (path.queue->disarm != nullptr) path.queue->disarm(*path.queue);
        }
    }
}

DriverEventHook EventLog::hook() {
    return [this](const DriverEvent& event) {
        const std::lock_guard lock(mutex_);
        events_.push_back(event);
        taken_.push_back(false);
        changed_.notify_all();
    };
}

bool EventLog::wait(PortId port, DriverEventType type, int timeout_ms, DriverEvent* event) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
        for (size_t i = 0; i < events_.size(); ++i) {
            if (taken_[i] || events_[i].port != port || events_[i].type != type) continue;
            taken_[i] = true;
            if (event != nullptr) *event = events_[i];
            return true;
        }
        return false;
    });
}

size_t EventLog::count(PortId port, DriverEventType type) {
    const std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count_if(events_.begin(), events_.end(), [&](const auto& e) {
        return e.port == port && e.type == type;
    }));
}

}  // namespace slash32::testing
