// SPDX-License-Identifier: Apache-2.0
// Starts that cannot succeed, each in a process of its own: a process starts DPDK once.
#include "drivers/eal.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

namespace slash32::testing {
namespace {

#ifdef S32_SANITIZED
constexpr std::chrono::seconds kStartLimit{10};
#else
constexpr std::chrono::seconds kStartLimit{2};
#endif
constexpr std::chrono::seconds kPoolLimit{20};

std::string prefix() {
    return "s32eal-" + std::to_string(getpid());
}

// What `test` wrote, in a child, within the time that a failing start may take.
std::string in_child(const std::function<std::string()>& test,
                     std::chrono::seconds limit = kStartLimit) {
    int ends[2];
    if (pipe(ends) != 0) return "no pipe";
    const auto start = std::chrono::steady_clock::now();
    const pid_t child = fork();
    if (child == 0) {
        const std::string text = test();
        [[maybe_unused]] const ssize_t n = write(ends[1], text.data(), text.size());
        _exit(0);
    }
    close(ends[1]);
    std::string text(4096, '\0');
    const ssize_t n = read(ends[0], text.data(), text.size());
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    close(ends[0]);
    waitpid(child, nullptr, 0);
    std::filesystem::remove_all("/var/run/dpdk/" + prefix());
    EXPECT_LT(std::chrono::steady_clock::now() - start, limit);
    return text;
}

EalOptions options() {
    EalOptions o;
    o.worker_cores = {0};
    o.memory_mb = 64;
    o.hugepages = HugepageMode::kNever;
    o.file_prefix = prefix();
    return o;
}

std::string outcome(const EalOptions& o) {
    const auto started = start_eal(o);
    return started ? "started" : started.error().path + ": " + started.error().message;
}

TEST(Eal, NamesTheCoreThatDoesNotExist) {
    EalOptions o = options();
    o.worker_cores = {100};
    EXPECT_EQ(in_child([&] { return outcome(o); }), "workers.cores: core 100 does not exist");
    o.worker_cores = {};
    EXPECT_EQ(in_child([&] { return outcome(o); }),
              "workers.cores: at least one worker core is needed");
    o = options();
    o.control_core = 5000;
    EXPECT_EQ(in_child([&] { return outcome(o); }),
              "workers.control_core: core 5000 is out of range");
}

TEST(Eal, SaysThatHugepagesAreMissing) {
    EalOptions o = options();
    o.hugepages = HugepageMode::kRequire;
    o.memory_mb = 400'000;
    EXPECT_NE(in_child([&] { return outcome(o); }).find("hugepages are required"),
              std::string::npos);
    o.memory_mb = 1;
    EXPECT_EQ(in_child([&] { return outcome(o); }),
              "memory.size_mb: 1 MB is out of range: 64 to 524288");
}

TEST(Eal, RefusesASecondInstance) {
    const EalOptions o = options();
    const std::string text = in_child([&] {
        const std::string first = outcome(o);
        int pair[2];
        if (pipe(pair) != 0) return std::string("no pipe");
        // As a process that finds the first one running.
        const std::string second = [&] {
            const pid_t child = fork();
            if (child == 0) {
                const std::string told = outcome(o);
                [[maybe_unused]] const ssize_t n = write(pair[1], told.data(), told.size());
                _exit(0);
            }
            char buffer[512];
            const ssize_t n = read(pair[0], buffer, sizeof buffer);
            waitpid(child, nullptr, 0);
            return std::string(buffer, n > 0 ? static_cast<size_t>(n) : 0);
        }();
        return first + "\n" + second;
    });
    EXPECT_EQ(text, "started\nmemory.prefix: another instance is running with the file prefix '" +
                        o.file_prefix + "'");
}

TEST(Eal, TellsWhyDpdkDoesNotStart) {
    EalOptions o = options();
    o.vdevs = {"net_nothing0"};
    const std::string text = in_child([&] { return outcome(o); });
    EXPECT_TRUE(text.starts_with(": DPDK does not start: ")) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

TEST(Eal, KeepsTheAddressRangeOutOfResidentMemory) {
    EalOptions o = options();
    o.memory_mb = 1024;
    const std::string text = in_child(
        [&]() -> std::string {
            if (!start_eal(o)) return "not started";
            const auto pool = create_packet_pool({.name = "p"});
            if (!pool) return "no pool: " + pool.error().message;
            const auto second = create_packet_pool({.name = "big", .mbufs = 2'000'000});
            if (second) return "a pool that does not fit";
            if (rte_pktmbuf_data_room_size(*pool) != 2176) return "wrong data room";
            if (rte_pktmbuf_priv_size(*pool) != 64) return "wrong private area";
            std::ifstream status("/proc/self/status");
            for (std::string line; std::getline(status, line);) {
                if (line.starts_with("VmRSS:")) return line.substr(6);
            }
            return "no figure";
        },
        kPoolLimit);
    EXPECT_GT(std::stol(text), 80'000) << text;
#ifndef S32_SANITIZED
    EXPECT_LT(std::stol(text), 150'000) << text;
#endif
}

}  // namespace
}  // namespace slash32::testing
