// SPDX-License-Identifier: Apache-2.0
// A small epoll loop that any number of frontends share, so that one thread serves 1,000 ports.
//
// Not thread-safe: everything happens on the thread that calls `run_once`. A handler may add and
// remove descriptors, its own included, while it is called.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace slash32::frontend {

// CLOCK_MONOTONIC, which other processes of the machine can compare with their own.
uint64_t now_ns();

class EventLoop {
  public:
    class Handler {
      public:
        virtual ~Handler() = default;
        // `events` are epoll's.
        virtual void on_event(int fd, uint32_t events) = 0;
        // Called about every kTickMs while registered with add_ticker.
        virtual void on_tick() {}
    };
    static constexpr int kTickMs = 10;

    EventLoop();
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    void add(int fd, uint32_t events, Handler* handler);
    // Before the descriptor is closed.
    void remove(int fd);
    void add_ticker(Handler* handler);
    void remove_ticker(Handler* handler);

    // Waits until something happens or `timeout_ms` has passed (0: only look), and dispatches it.
    void run_once(int timeout_ms);
    // Runs until `done()` or the timeout; says whether it was done.
    template <typename Done>
    bool run_until(uint64_t timeout_ms, Done&& done) {
        const uint64_t deadline = now_ns() + timeout_ms * 1'000'000;
        while (!done()) {
            const uint64_t now = now_ns();
            if (now >= deadline) return false;
            const uint64_t left_ms = (deadline - now) / 1'000'000 + 1;
            run_once(left_ms > 50 ? 50 : static_cast<int>(left_ms));
        }
        return true;
    }

  private:
    int epoll_fd_;
    uint64_t last_tick_ns_ = 0;
    std::unordered_map<int, Handler*> handlers_;
    std::vector<Handler*> tickers_;
};

}  // namespace slash32::frontend
