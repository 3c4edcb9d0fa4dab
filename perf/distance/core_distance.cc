// SPDX-License-Identifier: Apache-2.0
// How far two cores are apart: the nanoseconds that a cache line takes from one to the other.
//
//   core_distance CORE CORE
//
// On a virtual machine it may change at any moment: the host moves one behind another cache, and
// what both write takes several times as long. The median of a few rounds.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

constexpr unsigned kTurns = 10'000;  // of each core in a round

alignas(64) std::atomic<unsigned> turn{0};
alignas(64) std::atomic<bool> stop{false};

bool pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (core < 0 || core >= CPU_SETSIZE) return false;
    CPU_SET(static_cast<size_t>(core), &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

// Answers each odd number with the next even one.
void answer() {
    for (unsigned next = 1; !stop.load(std::memory_order_relaxed);) {
        if (turn.load(std::memory_order_acquire) != next) continue;
        turn.store(next + 1, std::memory_order_release);
        next += 2;
    }
}

double round_ns(unsigned& now) {
    const auto start = std::chrono::steady_clock::now();
    for (unsigned n = 0; n < kTurns; ++n) {
        turn.store(now + 1, std::memory_order_release);
        now += 2;
        while (turn.load(std::memory_order_acquire) != now) {
        }
    }
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    return taken.count() / (2 * kTurns);
}

}  // namespace

int main(int argc, char** argv) {
    const int here = argc == 3 ? std::atoi(argv[1]) : -1;
    const int there = argc == 3 ? std::atoi(argv[2]) : -1;
    if (here == there) {
        std::fputs("usage: core_distance CORE CORE, two that differ\n", stderr);
        return 2;
    }
    bool pinned = false;
    std::atomic<bool> ready{false};
    std::thread other([&] {
        pinned = pin(there);
        ready.store(true, std::memory_order_release);
        if (pinned) answer();
    });
    while (!ready.load(std::memory_order_acquire))
        std::this_thread::yield();
    int status = 0;
    if (pinned && pin(here)) {
        std::array<double, 5> rounds{};
        unsigned now = 0;
        for (double& round : rounds)
            round = round_ns(now);
        std::ranges::nth_element(rounds, rounds.begin() + rounds.size() / 2);
        std::printf("%.1f\n", rounds[rounds.size() / 2]);
    } else {
        std::fputs("core_distance: not both of the cores can be used\n", stderr);
        status = 1;
    }
    stop.store(true, std::memory_order_relaxed);
    other.join();
    return status;
}
