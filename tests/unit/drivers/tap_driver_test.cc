// SPDX-License-Identifier: Apache-2.0
// TAP ports against the kernel of a network namespace of the test's own.
#include "drivers/tap/driver.h"
#include "drivers/tap/offload.h"
#include "tests/unit/drivers/test_worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace slash32::testing {
namespace {

constexpr size_t kSegmentBytes = 1448;

// A packet that holds Ethernet, IPv4 and TCP headers and `payload` bytes.
std::vector<uint8_t> tcp_frame(size_t payload) {
    std::vector<uint8_t> f(54 + payload, 0x33);
    f[12] = 0x08;
    f[13] = 0x00;
    auto* ip = reinterpret_cast<rte_ipv4_hdr*>(&f[14]);
    *ip = rte_ipv4_hdr{};
    ip->version_ihl = 0x45;
    ip->total_length = htons(static_cast<uint16_t>(40 + payload));
    ip->time_to_live = 64;
    ip->next_proto_id = IPPROTO_TCP;
    ip->src_addr = htonl(0x0a000001);
    ip->dst_addr = htonl(0x0a000002);
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    auto* tcp = reinterpret_cast<rte_tcp_hdr*>(&f[34]);
    *tcp = rte_tcp_hdr{};
    tcp->data_off = 0x50;
    tcp->cksum = rte_ipv4_phdr_cksum(ip, 0);
    return f;
}

rte_mbuf* packet_of(const std::vector<uint8_t>& bytes) {
    rte_mbuf* head = nullptr;
    rte_mbuf* last = nullptr;
    for (size_t at = 0; at < bytes.size();) {
        rte_mbuf* m = rte_pktmbuf_alloc(packet_pool());
        const size_t n = std::min<size_t>(rte_pktmbuf_tailroom(m), bytes.size() - at);
        std::memcpy(rte_pktmbuf_mtod(m, void*), &bytes[at], n);
        m->data_len = static_cast<uint16_t>(n);
        at += n;
        if (head == nullptr) {
            head = m;
            head->pkt_len = 0;
        } else {
            last->next = m;
            ++head->nb_segs;
        }
        head->pkt_len += static_cast<uint32_t>(n);
        last = m;
    }
    return head;
}

class TapDriverTest : public ::testing::Test {
  protected:
    void SetUp() override {
        packet_pool();  // DPDK's own threads stay in the namespace of the machine
        if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs the right to make a namespace";
        driver_ = std::make_unique<TapDriver>(
            TapDriver::Options{.pool = packet_pool(), .event = log_.hook()});
    }

    static TapPortSpec spec(uint16_t id, uint16_t pairs = 1) {
        TapPortSpec s;
        s.id = PortId{id};
        s.interface = "s32tap" + std::to_string(id);
        s.queue_pairs = pairs;
        s.mac = Mac{{0x52, 0x54, 0, 0, 0, static_cast<uint8_t>(id)}};
        return s;
    }

    void remove(uint16_t id) {
        std::atomic<bool> done{false};
        driver_->remove(PortId{id}, [&done] { done = true; });
        for (int i = 0; i < 3000 && !done; ++i)
            usleep(1000);
        EXPECT_TRUE(done);
    }

    // A socket on the kernel's side, with virtio-net headers.
    static int raw_socket(const std::string& interface) {
        const int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
        const int on = 1;
        setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on);
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        const timeval wait{.tv_sec = 1, .tv_usec = 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        const int size = 1 << 20;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        return fd;
    }

    EventLog log_;
    std::unique_ptr<TapDriver> driver_;
};

TEST_F(TapDriverTest, RefusesBadSpecsAndTakenNames) {
    TapPortSpec s = spec(1);
    s.interface = "a-name-that-is-too-long";
    EXPECT_EQ(driver_->add(s).error().path, "interface");
    s.interface = "a/b";
    EXPECT_EQ(driver_->add(s).error().path, "interface");
    s = spec(1);
    s.mtu = 20;
    EXPECT_EQ(driver_->add(s).error().path, "mtu");
    s = spec(1, 9);
    EXPECT_EQ(driver_->add(s).error().path, "queues");
    ASSERT_TRUE(driver_->add(spec(1)));
    s = spec(2);
    s.interface = "s32tap1";
    EXPECT_EQ(driver_->add(s).error().code, ErrorCode::kConflict);
}

TEST_F(TapDriverTest, SetsTheInterfaceUpAndRemovesIt) {
    TapPortSpec s = spec(1);
    s.mtu = 1400;
    const auto handles = driver_->add(s);
    ASSERT_TRUE(handles) << handles.error().message;
    EXPECT_TRUE(log_.wait(PortId{1}, DriverEventType::kRingsReady, 1000));
    EXPECT_NE(if_nametoindex("s32tap1"), 0u);
    remove(1);
    EXPECT_EQ(if_nametoindex("s32tap1"), 0u);
}

TEST_F(TapDriverTest, KeepsALargeSegmentInOnePacketBothWays) {
    const auto handles = driver_->add(spec(1));
    ASSERT_TRUE(handles);
    const int fd = raw_socket("s32tap1");
    const std::vector<uint8_t> f = tcp_frame(60'000);

    // From the router to the kernel.
    rte_mbuf* out = packet_of(f);
    out->l2_len = 14;
    out->l3_len = 20;
    out->l4_len = 20;
    out->tso_segsz = kSegmentBytes;
    out->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
    ASSERT_EQ(handles->tx->transmit(*handles->tx, WorkerId{0}, &out, 1), 1);
    std::vector<uint8_t> got(70'000);
    VirtioNetHeader header{};
    size_t n = 0;
    for (int i = 0; i < 20 && n != f.size(); ++i) {
        const ssize_t bytes = recv(fd, got.data(), got.size(), 0);
        ASSERT_GT(bytes, static_cast<ssize_t>(sizeof header));
        std::memcpy(&header, got.data(), sizeof header);
        n = static_cast<size_t>(bytes) - sizeof header;
    }
    ASSERT_EQ(n, f.size());
    EXPECT_EQ(header.gso_type, kVirtioGsoTcp4);
    EXPECT_EQ(header.gso_size, kSegmentBytes);
    EXPECT_EQ(std::memcmp(got.data() + sizeof header, f.data(), f.size()), 0);

    // And back.
    const VirtioNetHeader send_header{.flags = kVirtioNeedsCsum,
                                      .gso_type = kVirtioGsoTcp4,
                                      .hdr_len = 54,
                                      .gso_size = kSegmentBytes,
                                      .csum_start = 34,
                                      .csum_offset = 16};
    std::vector<uint8_t> sent(sizeof send_header + f.size());
    std::memcpy(sent.data(), &send_header, sizeof send_header);
    std::memcpy(sent.data() + sizeof send_header, f.data(), f.size());
    ASSERT_EQ(send(fd, sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
    rte_mbuf* in = nullptr;
    RxQueue& rx = *handles->rx[0];
    for (int i = 0; i < 1000 && in == nullptr; ++i) {
        if (rx.receive(rx, &in, 1) == 0) {
            usleep(1000);
        } else if (in->pkt_len != f.size()) {
            rte_pktmbuf_free(in);  // the kernel's own router solicitations
            in = nullptr;
        }
    }
    ASSERT_NE(in, nullptr);
    EXPECT_EQ(in->tso_segsz, kSegmentBytes);
    EXPECT_EQ(in->ol_flags, RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE);
    EXPECT_EQ(rte_mbuf_check(in, 1, nullptr), 0);
    std::vector<uint8_t> read(in->pkt_len);
    const void* at = rte_pktmbuf_read(in, 0, in->pkt_len, read.data());
    EXPECT_EQ(std::memcmp(at, f.data(), f.size()), 0);
    rte_pktmbuf_free(in);
    close(fd);
    remove(1);
}

TEST_F(TapDriverTest, GivesBuffersBack) {
    const unsigned before = rte_mempool_avail_count(packet_pool());
    for (int round = 0; round < 3; ++round) {
        const auto handles = driver_->add(spec(1));
        ASSERT_TRUE(handles);
        const int fd = raw_socket("s32tap1");
        std::vector<uint8_t> sent(sizeof(VirtioNetHeader) + 300, 0);
        for (int i = 0; i < 50; ++i)
            ASSERT_GT(send(fd, sent.data(), sent.size(), 0), 0);
        rte_mbuf* packets[32];
        RxQueue& rx = *handles->rx[0];
        for (uint16_t n; (n = rx.receive(rx, packets, 32)) > 0;)
            rte_pktmbuf_free_bulk(packets, n);
        close(fd);
        remove(1);
    }
    EXPECT_EQ(rte_mempool_avail_count(packet_pool()), before);
}

TEST_F(TapDriverTest, StopsAtAnInterfaceThatIsDown) {
    TapPortSpec s = spec(1);
    s.up = false;
    const auto handles = driver_->add(s);
    ASSERT_TRUE(handles);
    rte_mbuf* m = packet_of(tcp_frame(100));
    EXPECT_EQ(handles->tx->transmit(*handles->tx, WorkerId{0}, &m, 1), 0);
    rte_pktmbuf_free(m);
    rte_mbuf* in = nullptr;
    EXPECT_EQ(handles->rx[0]->receive(*handles->rx[0], &in, 1), 0);
    EXPECT_EQ(handles->rx[0]->fault.load(), QueueFault::kNone);
}

TEST_F(TapDriverTest, FailsAPortWhoseInterfaceWasDeleted) {
    TestWorker worker;
    const auto handles = driver_->add(spec(1));
    ASSERT_TRUE(handles);
    worker.connect(*handles, nullptr);
    ASSERT_EQ(system("ip link del s32tap1"), 0);
    DriverEvent failed;
    ASSERT_TRUE(log_.wait(PortId{1}, DriverEventType::kFailed, 2000, &failed));
    EXPECT_EQ(failed.reason, "the interface s32tap1 was deleted");
    usleep(100'000);
    const uint64_t loops = worker.loops();
    usleep(200'000);
    EXPECT_EQ(worker.loops(), loops) << "the worker sleeps";
    worker.disconnect(*handles);
    remove(1);
    EXPECT_TRUE(driver_->add(spec(1)));
}

TEST_F(TapDriverTest, WakesAWorkerThatSleeps) {
    TestWorker worker;
    const auto handles = driver_->add(spec(1));
    ASSERT_TRUE(handles);
    worker.connect(*handles, nullptr);
    const int fd = raw_socket("s32tap1");
    const std::vector<uint8_t> sent(sizeof(VirtioNetHeader) + 300, 0);
    for (int round = 0; round < 10; ++round) {
        usleep(30'000);
        const uint64_t before = worker.received();
        ASSERT_GT(send(fd, sent.data(), sent.size(), 0), 0);
        for (int i = 0; i < 1000 && worker.received() == before; ++i)
            usleep(1000);
        EXPECT_GT(worker.received(), before) << "round " << round;
    }
    close(fd);
    worker.disconnect(*handles);
}

TEST_F(TapDriverTest, OpensSeveralQueues) {
    const auto handles = driver_->add(spec(1, 4));
    ASSERT_TRUE(handles) << handles.error().message;
    EXPECT_EQ(handles->rx.size(), 4u);
    for (unsigned worker = 0; worker < 6; ++worker) {
        rte_mbuf* m = packet_of(tcp_frame(100));
        EXPECT_EQ(
            handles->tx->transmit(*handles->tx, WorkerId{static_cast<uint8_t>(worker)}, &m, 1), 1);
    }
}

TEST_F(TapDriverTest, TakesOverAnInterfaceThatWasKeptOpen) {
    TapPortSpec s = spec(1);
    ASSERT_TRUE(driver_->add(s));
    s.adopted = dup(driver_->descriptor(PortId{1}));
    driver_.reset();
    const unsigned index = if_nametoindex("s32tap1");
    EXPECT_NE(index, 0u);
    driver_ = std::make_unique<TapDriver>(TapDriver::Options{.pool = packet_pool(), .event = {}});
    const auto again = driver_->add(s);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(if_nametoindex("s32tap1"), index);
    remove(1);
    EXPECT_EQ(if_nametoindex("s32tap1"), 0u);
}

TEST_F(TapDriverTest, MakesItsOwnWhereWhatWasKeptIsAnother) {
    ASSERT_TRUE(driver_->add(spec(1)));
    TapPortSpec s = spec(2);
    s.adopted = dup(driver_->descriptor(PortId{1}));
    ASSERT_TRUE(driver_->add(s));
    EXPECT_NE(if_nametoindex("s32tap2"), 0u);
    remove(1);
    EXPECT_EQ(if_nametoindex("s32tap1"), 0u);  // it has not been kept
}

TEST_F(TapDriverTest, MakesItsOwnWhereWhatWasKeptIsInAnotherNamespace) {
    int kept = -1;
    std::thread elsewhere([&kept] {
        if (unshare(CLONE_NEWNET) != 0) return;
        kept = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
        ifreq request{};
        std::strcpy(request.ifr_name, "s32tap1");
        request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        ASSERT_EQ(ioctl(kept, TUNSETIFF, &request), 0);
    });
    elsewhere.join();
    ASSERT_GE(kept, 0);
    TapPortSpec s = spec(1);
    s.adopted = kept;
    const auto added = driver_->add(s);
    ASSERT_TRUE(added) << added.error().message;
    EXPECT_NE(if_nametoindex("s32tap1"), 0u);
}

TEST_F(TapDriverTest, CarrierIsAsItIsSaid) {
    TapPortSpec s = spec(1);
    s.carrier = false;
    ASSERT_TRUE(driver_->add(s));
    const auto has_carrier = [] {
        ifreq request{};
        std::strcpy(request.ifr_name, "s32tap1");
        const int fd = socket(AF_INET, SOCK_DGRAM, 0);
        ioctl(fd, SIOCGIFFLAGS, &request);
        close(fd);
        return (request.ifr_flags & IFF_RUNNING) != 0;
    };
    const auto becomes = [&](bool expected) {
        for (int i = 0; i < 500 && has_carrier() != expected; ++i)
            usleep(10'000);
        return has_carrier() == expected;
    };
    EXPECT_TRUE(becomes(false));
    driver_->set_carrier(PortId{1}, true);
    EXPECT_TRUE(becomes(true));
}

TEST(TapOffload, FillsAChecksumThatIsNotTcpOrUdpItself) {
    std::vector<uint8_t> f = tcp_frame(100);
    f[14 + 9] = 132;  // SCTP
    rte_mbuf* m = packet_of(f);
    flags_from_header(*m, {.flags = kVirtioNeedsCsum,
                           .gso_type = 0,
                           .hdr_len = 0,
                           .gso_size = 0,
                           .csum_start = 34,
                           .csum_offset = 8});
    EXPECT_EQ(m->ol_flags, 0u);
    uint16_t sum = 0;
    rte_raw_cksum_mbuf(m, 34, m->pkt_len - 34, &sum);
    EXPECT_NE(std::memcmp(rte_pktmbuf_mtod_offset(m, uint8_t*, 42), &f[42], 2), 0);
    rte_pktmbuf_free(m);
}

TEST(TapOffload, IgnoresHeadersThatMakeNoSense) {
    for (uint16_t start :
         {uint16_t{0}, uint16_t{35}, uint16_t{153}, uint16_t{154}, uint16_t{65535}}) {
        for (uint16_t offset : {uint16_t{0}, uint16_t{16}, uint16_t{65535}}) {
            rte_mbuf* m = packet_of(tcp_frame(100));
            flags_from_header(*m, {.flags = 255,
                                   .gso_type = 255,
                                   .hdr_len = 65535,
                                   .gso_size = 0,
                                   .csum_start = start,
                                   .csum_offset = offset});
            EXPECT_EQ(m->ol_flags & RTE_MBUF_F_RX_LRO, 0u);
            rte_pktmbuf_free(m);
        }
    }
}

}  // namespace
}  // namespace slash32::testing
