// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/driver.h"
#include "tests/unit/drivers/test_worker.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

namespace slash32::testing {
namespace {

// Of this process; -1 if there is none.
pid_t thread_named(const std::string& wanted) {
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string name;
        std::ifstream comm(thread.path() / "comm");
        std::getline(comm, name);
        if (name == wanted) return std::stoi(thread.path().filename());
    }
    return -1;
}

// However early it closes, it was there: the port does not wait longer and longer for the next
// time. All on one CPU, where the thread that connects yields to whoever wakes: the connection is
// over before it looks.
TEST(VhostReconnect, IsSoonWithAFrontendThatClosesAtOnce) {
    VhostPortSpec spec;
    spec.id = PortId{1};
    spec.path = scratch_directory() + "/p1";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    spec.path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener, 8), 0);
    cpu_set_t before;
    ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);

    EventLog log;
    auto driver =
        VhostDriver::create({.pool = packet_pool(), .event = log.hook(), .synchronize = [] {}});
    ASSERT_TRUE(driver) << driver.error().message;
    ASSERT_TRUE((*driver)->add(spec));
    close(accept(listener, nullptr, nullptr));  // from here on the library's thread is there
    const sched_param none{};
    ASSERT_EQ(sched_setscheduler(thread_named("s32-device"), SCHED_IDLE, &none), 0);
    const pid_t threads[] = {0, thread_named("s32-device"), thread_named("vhost-events")};
    for (const pid_t thread : threads)
        ASSERT_EQ(sched_setaffinity(thread, sizeof one, &one), 0);

    // They take about a second; with delays that double, minutes.
    constexpr int kConnections = 200;
    int connections = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (connections < kConnections && std::chrono::steady_clock::now() < end) {
        pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
        if (poll(&waiting, 1, 100) != 1) continue;
        close(accept(listener, nullptr, nullptr));
        ++connections;
    }
    for (const pid_t thread : threads)
        sched_setaffinity(thread, sizeof before, &before);
    close(listener);
    EXPECT_EQ(connections, kConnections);
}

}  // namespace
}  // namespace slash32::testing
