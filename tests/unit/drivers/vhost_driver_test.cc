// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/driver.h"
#include "tests/unit/drivers/vhost_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace slash32::testing {
namespace {

TEST_F(VhostDriverTest, RefusesBadSpecs) {
    VhostPortSpec s = spec(1);
    s.path = "relative";
    EXPECT_EQ(driver_->add(s).error().path, "socket");
    s.path = "/" + std::string(107, 'x');
    EXPECT_EQ(driver_->add(s).error().path, "socket");
    s = spec(1, 9);
    EXPECT_EQ(driver_->add(s).error().path, "queues");
    ASSERT_TRUE(driver_->add(spec(1)));
    s = spec(2);
    s.path = path("p1");
    EXPECT_EQ(driver_->add(s).error().code, ErrorCode::kConflict);
    EXPECT_EQ(driver_->add(spec(1)).error().code, ErrorCode::kConflict);
}

TEST_F(VhostDriverTest, PassesPacketsBetweenTwoFrontends) {
    const PortHandles a = add(spec(1));
    const PortHandles b = add(spec(2));
    worker_.connect(a, b.tx);
    worker_.connect(b, a.tx);
    DriverEvent waiting;
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kWaiting, 1000, &waiting));
    EXPECT_EQ(waiting.path, path("p1"));
    EXPECT_EQ(waiting.reason, "no such socket yet");

    Frontend fa(options(1));
    Frontend fb(options(2));
    ASSERT_NO_FATAL_FAILURE(run_both(fa, a, fb, b));
    DriverEvent ready;
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kConnected, 1000));
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kRingsReady, 1000, &ready));
    EXPECT_EQ(ready.queue_pairs, 1);
    EXPECT_TRUE(passes(fa, fb));
    EXPECT_TRUE(passes(fb, fa));
    EXPECT_EQ(a.tx->offloads.load(), kTxChecksum | kTxTso4 | kTxTso6 | kTxMultiSegment);
    // UDP fragmentation and ECN segmentation are not offered, packed rings only on demand.
    EXPECT_EQ(fa.offered_features() &
                  ((1ull << 9) | (1ull << 10) | (1ull << 13) | (1ull << 14) | (1ull << 34)),
              0u);
}

TEST_F(VhostDriverTest, WakesAWorkerThatSleeps) {
    const PortHandles a = add(spec(1));
    const PortHandles b = add(spec(2));
    worker_.connect(a, b.tx);
    worker_.connect(b, a.tx);
    Frontend fa(options(1));
    Frontend fb(options(2));
    ASSERT_NO_FATAL_FAILURE(run_both(fa, a, fb, b));
    ASSERT_TRUE(passes(fa, fb));
    for (int round = 0; round < 20; ++round) {
        const auto asleep = [&] {
            const uint64_t before = worker_.loops();
            usleep(20'000);
            return worker_.loops() == before;
        };
        bool slept = false;
        for (int i = 0; i < 50 && !slept; ++i)
            slept = asleep();
        ASSERT_TRUE(slept);
        ASSERT_TRUE(passes(fa, fb)) << "round " << round;
    }
}

TEST_F(VhostDriverTest, ServesAFrontendThatComesBackWithin200Ms) {
    const PortHandles a = add(spec(1));
    worker_.connect(a, a.tx);  // back to where it came from
    Frontend f(options(1));
    for (int round = 0; round < 10; ++round) {
        usleep(round * 37'000);
        const auto start = std::chrono::steady_clock::now();
        ASSERT_TRUE(f.open());
        ASSERT_TRUE(f.wait_running(2000)) << f.error();
        ASSERT_TRUE(passes(f, f));
        const auto took = std::chrono::steady_clock::now() - start;
        EXPECT_LT(took, std::chrono::milliseconds(200)) << "round " << round;
        f.close();
        ASSERT_TRUE(log_.wait(PortId{1}, Type::kDisconnected, 1000));
    }
    // The frontend's listening socket stays, only the connection ends.
    ASSERT_TRUE(f.open());
    ASSERT_TRUE(f.wait_running(2000));
    for (int round = 0; round < 10; ++round) {
        const auto start = std::chrono::steady_clock::now();
        f.disconnect();
        ASSERT_TRUE(f.wait_running(2000)) << f.error();
        ASSERT_TRUE(passes(f, f));
        const auto took = std::chrono::steady_clock::now() - start;
        EXPECT_LT(took, std::chrono::milliseconds(200)) << "round " << round;
    }
}

TEST_F(VhostDriverTest, SurvivesRingsThatStopAndStart) {
    const PortHandles a = add(spec(1));
    worker_.connect(a, a.tx);
    Frontend f(options(1));
    ASSERT_TRUE(f.open());
    ASSERT_TRUE(f.wait_running(2000));
    for (int round = 0; round < 20; ++round) {
        ASSERT_TRUE(passes(f, f)) << "round " << round;
        // Or the driver may be told of the start and the stop at once, and has nothing to tell.
        ASSERT_TRUE(log_.wait(PortId{1}, Type::kRingsReady, 5000));
        ASSERT_TRUE(f.stop());
        ASSERT_TRUE(log_.wait(PortId{1}, Type::kRingsOff, 5000));
        EXPECT_FALSE(a.tx->ready.load());
        ASSERT_TRUE(f.start());
        ASSERT_TRUE(f.wait_running(2000)) << f.error();
    }
}

TEST_F(VhostDriverTest, KeepsALargeSegmentInOnePacket) {
    const PortHandles a = add(spec(1));
    const PortHandles b = add(spec(2));
    uint64_t flags = 0;
    uint16_t segment = 0;
    worker_.inspect = [&](rte_mbuf* m) {
        flags = m->ol_flags;
        segment = m->tso_segsz;
        m->l2_len = 14;
        m->l3_len = 20;
        m->l4_len = 20;
        m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
    };
    worker_.connect(a, b.tx);
    Frontend fa(options(1));
    Frontend fb(options(2));
    ASSERT_NO_FATAL_FAILURE(run_both(fa, a, fb, b));

    // Ethernet, IPv4 with protocol TCP, a TCP header of 20 bytes.
    std::vector<uint8_t> f = frame(14 + 65535, 0x11);
    f[14] = 0x45;
    f[16] = 0xff;
    f[17] = 0xff;
    f[20] = f[21] = 0;
    f[23] = 6;
    f[46] = 0x50;
    const frontend::NetHeader header{.flags = 1,
                                     .gso_type = 1,
                                     .header_bytes = 54,
                                     .gso_bytes = 1448,
                                     .csum_start = 34,
                                     .csum_offset = 16,
                                     .num_buffers = 0};
    ASSERT_TRUE(fa.send(f, header));
    size_t got = 0;
    frontend::NetHeader out{};
    for (int i = 0; i < 1000 && got == 0; ++i) {
        fb.loop().run_once(1);
        fb.receive([&](const frontend::RxFrame& r) {
            got = r.data.size();
            out = r.header;
        });
    }
    EXPECT_EQ(got, f.size());
    EXPECT_EQ(out.gso_type, 1);
    EXPECT_EQ(out.gso_bytes, 1448);
    EXPECT_EQ(out.flags, 1);
    EXPECT_NE(flags & RTE_MBUF_F_RX_LRO, 0u);
    EXPECT_EQ(segment, 1448);
    worker_.disconnect(a);
}

// A capture holds what has been sent, too.
TEST_F(VhostDriverTest, LeavesABufferToItsOtherOwner) {
    const PortHandles a = add(spec(1));
    const PortHandles b = add(spec(2));
    rte_mbuf* held = nullptr;
    worker_.inspect = [&](rte_mbuf* m) {
        rte_mbuf_refcnt_update(m, 1);
        held = m;
    };
    worker_.connect(a, b.tx);
    Frontend fa(options(1));
    Frontend fb(options(2));
    ASSERT_NO_FATAL_FAILURE(run_both(fa, a, fb, b));
    const unsigned before = rte_mempool_avail_count(packet_pool());
    ASSERT_TRUE(fa.send(frame(60, 0x11)));
    bool got = false;
    for (int i = 0; i < 1000 && !got; ++i) {
        fb.loop().run_once(1);
        fb.receive([&](const frontend::RxFrame&) { got = true; });
    }
    ASSERT_TRUE(got);
    worker_.disconnect(a);
    ASSERT_NE(held, nullptr);
    EXPECT_EQ(rte_mbuf_refcnt_read(held), 1);
    EXPECT_EQ(rte_mempool_avail_count(packet_pool()), before - 1);
    rte_pktmbuf_free(held);
    EXPECT_EQ(rte_mempool_avail_count(packet_pool()), before);
}

TEST_F(VhostDriverTest, ServesSeveralQueuePairs) {
    const PortHandles a = add(spec(1, 4));
    ASSERT_EQ(a.rx.size(), 4u);
    worker_.connect(a, a.tx);
    Frontend f(options(1, 4));
    ASSERT_TRUE(f.open());
    ASSERT_TRUE(f.wait_running(2000)) << f.error();
    const auto data = frame(100, 1);
    for (uint16_t pair = 0; pair < 4; ++pair) {
        const uint64_t before = worker_.received();
        ASSERT_TRUE(f.send(data, {}, pair));
        for (int i = 0; i < 1000 && worker_.received() == before; ++i)
            f.loop().run_once(1);
        EXPECT_GT(worker_.received(), before) << "pair " << pair;
    }
    DriverEvent ready;
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kRingsReady, 1000, &ready));
    while (ready.queue_pairs < 4 && log_.wait(PortId{1}, Type::kRingsReady, 1000, &ready)) {
    }
    EXPECT_EQ(ready.queue_pairs, 4);
}

TEST_F(VhostDriverTest, FailsAPortWhoseFrontendWantsMoreQueues) {
    const PortHandles a = add(spec(1, 2));
    worker_.connect(a, a.tx);
    FrontendOptions greedy = options(1, 4);
    greedy.force_queue_pairs = true;
    Frontend f(greedy);
    ASSERT_TRUE(f.open());
    DriverEvent failed;
    for (int i = 0; i < 100 && log_.count(PortId{1}, Type::kFailed) == 0; ++i)
        f.loop().run_once(10);
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kFailed, 1000, &failed));
    EXPECT_EQ(failed.reason, "the frontend asks for 3 queue pairs or more, the port has 2");
    f.close();
    // A VM with the right number on the same socket is served.
    Frontend g(options(1, 2));
    ASSERT_TRUE(g.open());
    EXPECT_TRUE(g.wait_running(2000)) << g.error();
    EXPECT_TRUE(passes(g, g));
}

TEST_F(VhostDriverTest, FailsAPortWhoseRingIsCorrupt) {
    const PortHandles a = add(spec(1));
    const PortHandles b = add(spec(2));
    worker_.connect(a, a.tx);
    worker_.connect(b, b.tx);
    Frontend bad(options(1));
    Frontend good(options(2));
    ASSERT_TRUE(bad.open());
    ASSERT_TRUE(good.open());
    ASSERT_TRUE(bad.wait_running(2000));
    ASSERT_TRUE(good.wait_running(2000));
    ASSERT_TRUE(passes(bad, bad));
    // A head that is outside the descriptor table.
    bad.tx().ring().stage_unchecked(60000);
    bad.tx().ring().publish();
    bad.kick(1);
    DriverEvent failed;
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kFailed, 3000, &failed));
    EXPECT_EQ(failed.reason, "the guest's ring is corrupt");
    EXPECT_TRUE(passes(good, good));
}

TEST_F(VhostDriverTest, ListensAsServerAndServesOneFrontendAfterAnother) {
    VhostPortSpec s = spec(1);
    s.server = true;
    s.mode = 0600;
    // A socket that a killed daemon left behind is in nobody's way.
    {
        Frontend stale(options(1));
        ASSERT_TRUE(stale.open());
        std::filesystem::rename(s.path, s.path + ".kept");
        stale.close();
        std::filesystem::rename(s.path + ".kept", s.path);
    }
    const PortHandles a = add(s);
    worker_.connect(a, a.tx);
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kWaiting, 1000));
    EXPECT_EQ(std::filesystem::status(s.path).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    for (int round = 0; round < 3; ++round) {
        FrontendOptions client = options(1);
        client.server = false;
        Frontend f(client);
        ASSERT_TRUE(f.open());
        ASSERT_TRUE(f.wait_running(2000)) << f.error();
        EXPECT_TRUE(passes(f, f));
    }
    remove(PortId{1}, a);
    EXPECT_FALSE(std::filesystem::exists(s.path));
}

TEST_F(VhostDriverTest, DoesNotTakeASocketThatSomebodyListensOn) {
    VhostPortSpec s = spec(1);
    s.server = true;
    Frontend other(options(1));
    ASSERT_TRUE(other.open());
    add(s);
    DriverEvent waiting;
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kWaiting, 1000, &waiting));
    EXPECT_EQ(waiting.reason, "another process listens on the socket");
}

TEST_F(VhostDriverTest, FindsASocketInADirectoryMadeLater) {
    VhostPortSpec s = spec(1);
    s.path = path("later/p1");
    const PortHandles a = add(s);
    worker_.connect(a, a.tx);
    ASSERT_TRUE(log_.wait(PortId{1}, Type::kWaiting, 1000));
    std::filesystem::create_directory(path("later"));
    FrontendOptions late = options(1);
    late.path = s.path;
    Frontend f(late);
    ASSERT_TRUE(f.open());
    EXPECT_TRUE(f.wait_running(1000));
    EXPECT_TRUE(passes(f, f));
}

TEST_F(VhostDriverTest, IsAddedAndRemovedWhileOthersPassPackets) {
    const PortHandles a = add(spec(1));
    worker_.connect(a, a.tx);
    Frontend f(options(1));
    ASSERT_TRUE(f.open());
    ASSERT_TRUE(f.wait_running(2000));
    for (int round = 0; round < 30; ++round) {
        const PortHandles b = add(spec(2));
        worker_.connect(b, b.tx);
        Frontend g(options(2));
        ASSERT_TRUE(g.open());
        ASSERT_TRUE(g.wait_running(2000));
        ASSERT_TRUE(passes(g, g));
        ASSERT_TRUE(passes(f, f));
        remove(PortId{2}, b);
        ASSERT_TRUE(passes(f, f));
    }
    EXPECT_EQ(log_.count(PortId{1}, Type::kDisconnected), 0u);
}

// DPDK's own frontend, in a process of its own, that sends as fast as it can.
class VirtioUser {
  public:
    VirtioUser(const std::string& path, const std::string& extra) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return;
        input_ = ends[1];
        const std::string device = "virtio_user0,server=1,queue_size=256,path=" + path + extra;
        pid_ = fork();
        if (pid_ != 0) {
            close(ends[0]);
            return;
        }
        dup2(ends[0], STDIN_FILENO);
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execl("/usr/bin/dpdk-testpmd", "dpdk-testpmd", "--lcores", "0@0,1@1", "--no-huge", "-m",
              "256", "--no-pci", "--file-prefix", ("vu" + std::to_string(getpid())).c_str(),
              "--vdev", device.c_str(), "--single-file-segments", "--iova-mode=va",
              "--no-telemetry", "--", "--forward-mode=flowgen", "--total-num-mbufs=4096",
              static_cast<char*>(nullptr));
        _exit(127);
    }
    ~VirtioUser() {
        if (pid_ <= 0) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
        close(input_);
        std::filesystem::remove_all("/var/run/dpdk/vu" + std::to_string(pid_));
    }
    VirtioUser(const VirtioUser&) = delete;
    VirtioUser& operator=(const VirtioUser&) = delete;

  private:
    pid_t pid_ = -1;
    int input_ = -1;
};

TEST_F(VhostDriverTest, PassesTheTrafficOfAVirtioUserDeviceThatIsKilled) {
    if (access("/usr/bin/dpdk-testpmd", X_OK) != 0) GTEST_SKIP() << "needs dpdk-testpmd";
    for (const bool packed : {false, true}) {
        VhostPortSpec s = spec(packed ? 2 : 1);
        s.packed = packed;
        const PortHandles a = add(s);
        worker_.connect(a, a.tx);
        const unsigned before = rte_mempool_avail_count(packet_pool());
        for (int round = 0; round < 2; ++round) {
            const uint64_t sent = worker_.sent();
            {
                const VirtioUser vm(s.path, packed ? ",packed_vq=1" : "");
                DriverEvent ready;
                ASSERT_TRUE(log_.wait(s.id, Type::kRingsReady, 20'000, &ready));
                EXPECT_EQ((ready.features >> 34 & 1) != 0, packed);
                for (int i = 0; i < 20'000 && worker_.sent() < sent + 20'000; ++i)
                    usleep(1000);
                EXPECT_GE(worker_.sent(), sent + 20'000)
                    << "packed " << packed << ", round " << round;
            }
            ASSERT_TRUE(log_.wait(s.id, Type::kDisconnected, 2000));
            std::filesystem::remove(s.path);
        }
        EXPECT_EQ(log_.count(s.id, Type::kFailed), 0u);
        remove(s.id, a);
        EXPECT_EQ(rte_mempool_avail_count(packet_pool()), before);
    }
}

TEST_F(VhostDriverTest, Serves1000PortsInOneProcess) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    // About 10 of the router's and 7 of the frontend's a port.
    if (files.rlim_cur < 19'000) GTEST_SKIP() << "needs 19,000 file descriptors";
    constexpr uint16_t kPorts = 1000;
#ifdef S32_SANITIZED
    constexpr bool kMeasured = false;  // code checked like this says nothing of the time it takes
#else
    constexpr bool kMeasured = true;
#endif
    using Clock = std::chrono::steady_clock;
    const auto cpu_ms = [] {
        rusage used{};
        getrusage(RUSAGE_SELF, &used);
        return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
               (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
    };

    for (uint16_t id = 1; id <= kPorts; ++id) {
        const PortHandles handles = add(spec(id));
        worker_.connect(handles, handles.tx);
    }
    for (uint16_t id = 1; id <= kPorts; ++id)
        ASSERT_TRUE(log_.wait(PortId{id}, Type::kWaiting, 5000));
    usleep(200'000);
    const auto before = cpu_ms();
    usleep(1'000'000);
    if (kMeasured) {
        EXPECT_LT(cpu_ms() - before, 30) << "ms in a second for 1,000 ports that wait";
    }

    frontend::EventLoop loop;
    std::vector<std::unique_ptr<Frontend>> vms;
    const auto start = Clock::now();
    for (uint16_t id = 1; id <= kPorts; ++id) {
        vms.push_back(std::make_unique<Frontend>(
            FrontendOptions::small(path("p" + std::to_string(id))), &loop));
        ASSERT_TRUE(vms.back()->open()) << id;
        loop.run_once(0);
    }
    const auto running = [&] {
        return static_cast<size_t>(
            std::count_if(vms.begin(), vms.end(), [](const auto& vm) { return vm->running(); }));
    };
    loop.run_until(20'000, [&] { return running() == kPorts; });
    ASSERT_EQ(running(), kPorts);
    printf("1,000 ports connected after %d ms\n",
           static_cast<int>((Clock::now() - start) / std::chrono::milliseconds(1)));

    const auto f = frame(100, 9);
    std::vector<bool> answered(kPorts);
    for (auto& vm : vms)
        ASSERT_TRUE(vm->send(f));
    const auto all = [&] {
        for (size_t i = 0; i < vms.size(); ++i) {
            vms[i]->receive([&](const frontend::RxFrame&) { answered[i] = true; });
        }
        return std::count(answered.begin(), answered.end(), true) == kPorts;
    };
    EXPECT_TRUE(loop.run_until(20'000, all));

    const auto open_files = std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                          std::filesystem::directory_iterator());
    printf("%zd file descriptors\n", static_cast<ssize_t>(open_files));

    // Nobody sends: all sleep.
    usleep(200'000);
    const auto idle = cpu_ms();
    usleep(1'000'000);
    if (kMeasured) {
        EXPECT_LT(cpu_ms() - idle, 30) << "ms in a second for 1,000 idle ports";
    }
}

}  // namespace
}  // namespace slash32::testing
