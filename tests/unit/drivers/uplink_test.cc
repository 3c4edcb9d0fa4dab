// SPDX-License-Identifier: Apache-2.0
// Uplinks on DPDK's virtual devices, in a network namespace of the test's own.
#include "drivers/ethdev/uplink.h"

#include "tests/unit/drivers/test_worker.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace slash32::testing {
namespace {

class UplinkTest : public ::testing::Test {
  protected:
    void SetUp() override {
        packet_pool();
        if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs the right to make a namespace";
        driver_ = std::make_unique<UplinkDriver>(
            UplinkDriver::Options{.pool = packet_pool(), .event = log_.hook()});
    }

    static UplinkPortSpec spec(std::string devargs) {
        UplinkPortSpec s;
        s.id = PortId{1};
        s.devargs = std::move(devargs);
        s.workers = 2;
        return s;
    }

    void remove(uint16_t id = 1) {
        std::atomic<bool> done{false};
        driver_->remove(PortId{id}, [&done] { done = true; });
        for (int i = 0; i < 3000 && !done; ++i)
            usleep(1000);
        EXPECT_TRUE(done);
    }

    // Sends a frame out of the uplink and gets it from the interface, and the other way round.
    static void exchange(const UplinkHandles& uplink, const std::string& interface) {
        const int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        const timeval wait{.tv_sec = 1, .tv_usec = 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);

        std::vector<uint8_t> f(400, 0x77);
        std::memset(f.data(), 0xff, 6);
        f[12] = 0x88;
        f[13] = 0xb5;
        rte_mbuf* out = rte_pktmbuf_alloc(packet_pool());
        std::memcpy(rte_pktmbuf_append(out, static_cast<uint16_t>(f.size())), f.data(), f.size());
        ASSERT_EQ(uplink.port.tx->transmit(*uplink.port.tx, WorkerId{1}, &out, 1), 1);
        std::vector<uint8_t> got(2000);
        ssize_t n = 0;
        for (int i = 0; i < 20 && n != static_cast<ssize_t>(f.size()); ++i)
            n = recv(fd, got.data(), got.size(), 0);
        EXPECT_EQ(n, static_cast<ssize_t>(f.size()));

        ASSERT_EQ(send(fd, f.data(), f.size(), 0), static_cast<ssize_t>(f.size()));
        bool arrived = false;
        for (int i = 0; i < 1000 && !arrived; ++i) {
            for (RxQueue* queue : uplink.port.rx) {
                rte_mbuf* in = nullptr;
                if (queue->receive(*queue, &in, 1) == 0) continue;
                arrived = arrived || in->pkt_len == f.size();
                rte_pktmbuf_free(in);
            }
            if (!arrived) usleep(1000);
        }
        EXPECT_TRUE(arrived);
        close(fd);
    }

    EventLog log_;
    std::unique_ptr<UplinkDriver> driver_;
};

TEST_F(UplinkTest, RefusesWhatIsNoDevice) {
    EXPECT_EQ(driver_->add(spec("")).error().path, "devargs");
    EXPECT_EQ(driver_->add(spec("net_nothing0")).error().path, "devargs");
    EXPECT_EQ(driver_->add(spec("net_af_packet7,iface=none")).error().path, "devargs");
    UplinkPortSpec s = spec("net_ring0");
    s.mtu = 100;
    EXPECT_EQ(driver_->add(s).error().path, "mtu");
}

TEST_F(UplinkTest, PassesPacketsOverAnAfPacketDevice) {
    ASSERT_EQ(system("ip link add s32a type veth peer name s32b && ip link set s32a up && "
                     "ip link set s32b up"),
              0);
    for (int round = 0; round < 2; ++round) {
        const auto uplink = driver_->add(spec("net_af_packet0,iface=s32a"));
        ASSERT_TRUE(uplink) << uplink.error().message;
        EXPECT_FALSE(uplink->mac.is_zero());
        EXPECT_LT(uplink->port.rx[0]->wake_fd, 0);
        ASSERT_TRUE(log_.wait(PortId{1}, DriverEventType::kLinkUp, 2000));
        EXPECT_TRUE(uplink->port.tx->ready.load());
        exchange(*uplink, "s32b");
        UplinkPortSpec second = spec("net_af_packet0,iface=s32a");
        second.id = PortId{2};
        EXPECT_EQ(driver_->add(second).error().code, ErrorCode::kConflict);
        remove();
    }
}

TEST_F(UplinkTest, PassesPacketsOverATapDevice) {
    UplinkPortSpec s = spec("net_tap0,iface=s32up0");
    s.mac = Mac{{0x52, 0x54, 0, 0, 0, 9}};
    s.rx_queues = 2;
    const auto uplink = driver_->add(s);
    ASSERT_TRUE(uplink) << uplink.error().message;
    EXPECT_EQ(uplink->mac, *s.mac);
    EXPECT_EQ(uplink->port.rx.size(), 2u);
    EXPECT_TRUE(log_.wait(PortId{1}, DriverEventType::kLinkUp, 2000));
    exchange(*uplink, "s32up0");
    remove();
    EXPECT_EQ(if_nametoindex("s32up0"), 0u);
}

// A net_ring device receives what it sends.
TEST_F(UplinkTest, VlanPutsItsTagOnWhatIsTaken) {
    const auto uplink = driver_->add(spec("net_ring0"));
    ASSERT_TRUE(uplink) << uplink.error().message;
    const UplinkHandles vlan =
        driver_->add_vlan({.id = PortId{2}, .uplink = PortId{1}, .vlan = 0x123});
    EXPECT_EQ(vlan.mac, uplink->mac);
    EXPECT_TRUE(vlan.port.rx.empty());
    EXPECT_TRUE(log_.wait(PortId{2}, DriverEventType::kLinkUp, 2000));
    EXPECT_TRUE(vlan.port.tx->ready.load());

    const auto frame = [] {
        rte_mbuf* m = rte_pktmbuf_alloc(packet_pool());
        auto* bytes = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(m, 64));
        for (uint8_t i = 0; i < 64; ++i)
            bytes[i] = i;
        return m;
    };
    rte_mbuf* out = frame();
    ASSERT_EQ(vlan.port.tx->transmit(*vlan.port.tx, WorkerId{0}, &out, 1), 1);
    RxQueue& queue = *uplink->port.rx[0];
    rte_mbuf* in = nullptr;
    ASSERT_EQ(queue.receive(queue, &in, 1), 1);
    ASSERT_EQ(in->pkt_len, 68u);
    const auto* bytes = rte_pktmbuf_mtod(in, const uint8_t*);
    for (uint8_t i = 0; i < 12; ++i)
        EXPECT_EQ(bytes[i], i);
    EXPECT_EQ(bytes[12] << 24 | bytes[13] << 16 | bytes[14] << 8 | bytes[15], 0x81000123);
    for (uint8_t i = 12; i < 64; ++i)
        EXPECT_EQ(bytes[i + 4], i);
    rte_pktmbuf_free(in);

    // Until the ring is full; what it does not take is as it was.
    for (int sent = 0; sent < 5000; ++sent) {
        out = frame();
        if (vlan.port.tx->transmit(*vlan.port.tx, WorkerId{0}, &out, 1) == 1) continue;
        EXPECT_EQ(out->pkt_len, 64u);
        EXPECT_EQ(rte_pktmbuf_mtod(out, const uint8_t*)[12], 12);
        rte_pktmbuf_free(out);
        out = nullptr;
        break;
    }
    EXPECT_EQ(out, nullptr);
    while (queue.receive(queue, &in, 1) == 1)
        rte_pktmbuf_free(in);
    remove(2);
    remove(1);
}

TEST_F(UplinkTest, GivesEachWorkerAQueueOrALock) {
    UplinkPortSpec s = spec("net_ring0");
    s.workers = 20;  // a net_ring device has 16 queues
    const auto uplink = driver_->add(s);
    ASSERT_TRUE(uplink) << uplink.error().message;
    for (uint8_t worker = 0; worker < 20; ++worker) {
        rte_mbuf* m = rte_pktmbuf_alloc(packet_pool());
        rte_pktmbuf_append(m, 64);
        if (uplink->port.tx->transmit(*uplink->port.tx, WorkerId{worker}, &m, 1) == 0)
            rte_pktmbuf_free(m);
    }
    remove();
}

}  // namespace
}  // namespace slash32::testing
