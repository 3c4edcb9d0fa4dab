// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/event_loop.h"

#include "dp/base/assert.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace slash32::frontend {

uint64_t now_ns() {
    timespec ts{};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000ULL + static_cast<uint64_t>(ts.tv_nsec);
}

EventLoop::EventLoop() : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)) {
    S32_ASSERT(epoll_fd_ >= 0);
}

EventLoop::~EventLoop() {
    close(epoll_fd_);
}

void EventLoop::add(int fd, uint32_t events, Handler* handler) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    S32_ASSERT(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0);
    handlers_[fd] = handler;
}

void EventLoop::remove(int fd) {
    if (handlers_.erase(fd) != 0) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::add_ticker(Handler* handler) {
    if (std::find(tickers_.begin(), tickers_.end(), handler) == tickers_.end()) {
        tickers_.push_back(handler);
    }
}

void EventLoop::remove_ticker(Handler* handler) {
    std::erase(tickers_, handler);
}

void EventLoop::run_once(int timeout_ms) {
    if (!tickers_.empty()) timeout_ms = std::min(timeout_ms, kTickMs);
    std::array<epoll_event, 256> events;
    const int n = epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), timeout_ms);
    for (int i = 0; i < n; i++) {
        const epoll_event& event = events[static_cast<size_t>(i)];
        // An earlier handler of this round may have removed it.
        const auto found = handlers_.find(event.data.fd);
        if (found != handlers_.end()) found->second->on_event(event.data.fd, event.events);
    }
    if (tickers_.empty() || now_ns() - last_tick_ns_ < uint64_t{kTickMs} * 1'000'000) return;
    last_tick_ns_ = now_ns();
    const std::vector<Handler*> tickers = tickers_;  // a ticker may remove itself
    for (Handler* handler : tickers)
        handler->on_tick();
}

}  // namespace slash32::frontend
