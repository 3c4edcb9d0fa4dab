// SPDX-License-Identifier: Apache-2.0
// Two bonds of DPDK, each the other's partner, over devices that are crossed rings: what one
// member of the one sends, the member of the other receives, and either's link can be taken down.
#include "drivers/ethdev/uplink.h"
#include "tests/unit/drivers/test_worker.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rte_dev.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_udp.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>

namespace slash32::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kMembers = 2;
constexpr unsigned kRingEntries = 1024;

class UplinkBondTest : public ::testing::Test {
  protected:
    void SetUp() override {
        packet_pool();
        driver_ = std::make_unique<UplinkDriver>(
            UplinkDriver::Options{.pool = packet_pool(), .event = log_.hook()});
        for (unsigned i = 0; i < kMembers; ++i) {
            for (unsigned side = 0; side < 2; ++side) {
                rings_[i][side] =
                    rte_ring_create(fmt::format("bond{}{}", i, side).c_str(), kRingEntries,
                                    SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
            }
            for (unsigned side = 0; side < 2; ++side) {
                const int device =
                    rte_eth_from_rings(fmt::format("bond{}{}", i, side).c_str(),
                                       &rings_[i][1 - side], 1, &rings_[i][side], 1, 0);
                ASSERT_GE(device, 0);
                devices_[i][side] = static_cast<uint16_t>(device);
                // LACP tells systems by their addresses, and such a device has none.
                rte_ether_addr address{
                    {2, 0, 0, 0, static_cast<uint8_t>(side), static_cast<uint8_t>(i)}};
                ASSERT_EQ(rte_eth_dev_mac_addr_add(devices_[i][side], &address, 0), 0);
            }
        }
        for (unsigned side = 0; side < 2; ++side) {
            UplinkPortSpec spec;
            spec.id = id(side);
            spec.bond = UplinkBond::kLacp;
            spec.damping = false;
            for (unsigned i = 0; i < kMembers; ++i)
                spec.members.push_back(fmt::format("net_ring_bond{}{}", i, side));
            const auto added = driver_->add(spec);
            ASSERT_TRUE(added) << added.error().path << ": " << added.error().message;
            bonds_[side] = *added;
        }
    }

    void TearDown() override {
        driver_.reset();
        for (unsigned i = 0; i < kMembers; ++i) {
            for (unsigned side = 0; side < 2; ++side) {
                rte_eth_dev_info info{};
                rte_eth_dev_info_get(devices_[i][side], &info);
                rte_eth_dev_close(devices_[i][side]);
                rte_dev_remove(info.device);
                rte_ring_free(rings_[i][side]);
            }
        }
    }

    static PortId id(unsigned side) { return PortId{static_cast<uint16_t>(side + 1)}; }

    // What a worker does, of both sides. Returns how many of the test's packets came to `side`.
    unsigned poll(unsigned side) {
        unsigned ours = 0;
        for (unsigned at = 0; at < 2; ++at) {
            for (RxQueue* queue : bonds_[at].port.rx) {
                std::array<rte_mbuf*, 32> packets;
                const uint16_t n = queue->receive(*queue, packets.data(), packets.size());
                for (uint16_t i = 0; i < n; ++i) {
                    const auto* frame = rte_pktmbuf_mtod(packets[i], const rte_ether_hdr*);
                    ours +=
                        at == side && frame->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
                    rte_pktmbuf_free(packets[i]);
                }
            }
        }
        return ours;
    }

    rte_mbuf* datagram(unsigned from, uint16_t source_port) {
        constexpr uint16_t kPayload = 22;
        constexpr size_t kIp = sizeof(rte_ether_hdr);
        constexpr size_t kUdp = kIp + sizeof(rte_ipv4_hdr);
        constexpr size_t kSize = kUdp + sizeof(rte_udp_hdr) + kPayload;
        rte_mbuf* packet = rte_pktmbuf_alloc(packet_pool());
        std::memset(rte_pktmbuf_append(packet, kSize), 0, kSize);
        auto* ethernet = rte_pktmbuf_mtod(packet, rte_ether_hdr*);
        std::memcpy(&ethernet->dst_addr, bonds_[1 - from].mac.bytes.data(), sizeof(Mac));
        std::memcpy(&ethernet->src_addr, bonds_[from].mac.bytes.data(), sizeof(Mac));
        ethernet->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
        auto* ip = rte_pktmbuf_mtod_offset(packet, rte_ipv4_hdr*, kIp);
        ip->version_ihl = 0x45;
        ip->next_proto_id = IPPROTO_UDP;
        auto* udp = rte_pktmbuf_mtod_offset(packet, rte_udp_hdr*, kUdp);
        udp->src_port = rte_cpu_to_be_16(source_port);
        return packet;
    }

    // Sends datagrams of as many connections from one side, and counts those that arrive.
    unsigned pass(unsigned from, unsigned count) {
        TxPort& tx = *bonds_[from].port.tx;
        unsigned arrived = 0;
        for (unsigned i = 0; i < count; ++i) {
            rte_mbuf* packet = datagram(from, static_cast<uint16_t>(i));
            if (tx.transmit(tx, WorkerId{0}, &packet, 1) == 0) rte_pktmbuf_free(packet);
            arrived += poll(1 - from);
        }
        for (int i = 0; i < 10; ++i)
            arrived += poll(1 - from);
        return arrived;
    }

    // Until all of them arrive, with the partners polled all the time.
    bool passes(unsigned from, std::chrono::seconds limit) {
        for (const auto begin = Clock::now(); Clock::now() - begin < limit;) {
            if (pass(from, 64) == 64) return true;
        }
        return false;
    }

    uint64_t sent_by(unsigned member, unsigned side) const {
        rte_eth_stats stats{};
        rte_eth_stats_get(devices_[member][side], &stats);
        return stats.opackets;
    }

    void set_link(unsigned member, bool up) {
        for (const uint16_t device : devices_[member])
            up ? rte_eth_dev_set_link_up(device) : rte_eth_dev_set_link_down(device);
    }

    EventLog log_;
    std::unique_ptr<UplinkDriver> driver_;
    rte_ring* rings_[kMembers][2] = {};
    uint16_t devices_[kMembers][2] = {};
    UplinkHandles bonds_[2];
};

TEST_F(UplinkBondTest, GoesOnWithoutAMemberAndTakesItBack) {
    for (unsigned side = 0; side < 2; ++side)
        ASSERT_TRUE(passes(side, std::chrono::seconds(20))) << side;
    // LACP takes a while for the second.
    for (const auto begin = Clock::now(); Clock::now() - begin < std::chrono::seconds(5);)
        pass(0, 64);
    const uint64_t before[] = {sent_by(0, 0), sent_by(1, 0)};
    EXPECT_EQ(pass(0, 64), 64u);
    EXPECT_GT(sent_by(0, 0), before[0] + 16);
    EXPECT_GT(sent_by(1, 0), before[1] + 16);

    for (unsigned member = 0; member < kMembers; ++member) {
        set_link(member, false);
        for (unsigned side = 0; side < 2; ++side)
            EXPECT_TRUE(passes(side, std::chrono::seconds(1))) << member;
        // A ring passes packets whatever its link. Once the bond has seen it, at most 5 ms later,
        // none goes there but LACP's own.
        for (const auto begin = Clock::now();
             Clock::now() - begin < std::chrono::milliseconds(100);)
            pass(0, 64);
        const uint64_t cut = sent_by(member, 0);
        EXPECT_EQ(pass(0, 64), 64u);
        EXPECT_LE(sent_by(member, 0), cut + 2) << member;
        set_link(member, true);
        for (unsigned side = 0; side < 2; ++side)
            EXPECT_TRUE(passes(side, std::chrono::seconds(20))) << member;
        for (const auto begin = Clock::now(); Clock::now() - begin < std::chrono::seconds(5);)
            pass(0, 64);
    }
}

TEST_F(UplinkBondTest, IsDownWithoutAnyMember) {
    ASSERT_TRUE(log_.wait(id(0), DriverEventType::kLinkUp, 5000));
    for (unsigned member = 0; member < kMembers; ++member)
        set_link(member, false);
    EXPECT_TRUE(log_.wait(id(0), DriverEventType::kLinkDown, 2000));
    EXPECT_FALSE(bonds_[0].port.tx->ready.load());
}

TEST_F(UplinkBondTest, MemberIsNobodyElses) {
    UplinkPortSpec spec;
    spec.id = PortId{9};
    spec.devargs = "net_ring_bond00";
    EXPECT_EQ(driver_->add(spec).error().code, ErrorCode::kConflict);
    spec.devargs.clear();
    spec.bond = UplinkBond::kBalance;
    spec.members = {"net_ring_bond10"};
    EXPECT_EQ(driver_->add(spec).error().code, ErrorCode::kConflict);
    spec.members.clear();
    EXPECT_EQ(driver_->add(spec).error().path, "members");
}

}  // namespace
}  // namespace slash32::testing
