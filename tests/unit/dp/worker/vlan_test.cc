// SPDX-License-Identifier: Apache-2.0
#include "dp/worker/vlan.h"

#include "dp/abi/vlan.h"
#include "dp/base/limits.h"
#include "tests/support/lab.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <array>
#include <map>
#include <vector>

namespace slash32::test {
namespace {

constexpr PortId kSeven{70};
constexpr PortId kEight{80};

class VlanSplitTest : public ::testing::Test {
  protected:
    VlanSplitTest() {
        vlans_.ports[0] = kUplink;
        vlans_.ports[7] = kSeven;
        vlans_.ports[8] = kEight;
        uplink_.id = kUplink;
        uplink_.vlans = &vlans_;
    }
    ~VlanSplitTest() override { rte_pktmbuf_free_bulk(packets_.data(), count_); }

    // A frame of `size` bytes whose last one is `mark`. `tag`: -1 none, else of the type.
    rte_mbuf* add(uint8_t mark, int tag, uint16_t type = 0x8100, uint16_t size = 60) {
        rte_mbuf* packet = rte_pktmbuf_alloc(lab_.context().pool);
        auto* bytes = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(packet, size));
        for (uint16_t i = 0; i < size; ++i)
            bytes[i] = static_cast<uint8_t>(i);
        if (tag >= 0) {
            bytes[12] = static_cast<uint8_t>(type >> 8);
            bytes[13] = static_cast<uint8_t>(type);
            bytes[14] = static_cast<uint8_t>(tag >> 8);
            bytes[15] = static_cast<uint8_t>(tag);
        }
        bytes[size - 1] = mark;
        packets_[count_++] = packet;
        return packet;
    }

    // The marks by port, in the order in which they come out.
    std::map<PortId, std::vector<uint8_t>> split() {
        std::map<PortId, std::vector<uint8_t>> marks;
        VlanSplit split(uplink_, packets_.data(), count_);
        while (!split.empty()) {
            PortId port;
            std::array<rte_mbuf*, kBurstSize> packets;
            const uint16_t n = split.take(port, packets.data());
            EXPECT_GT(n, 0);
            EXPECT_FALSE(marks.contains(port));
            for (uint16_t i = 0; i < n; ++i)
                marks[port].push_back(
                    *rte_pktmbuf_mtod_offset(packets[i], const uint8_t*, packets[i]->data_len - 1));
        }
        return marks;
    }

    Lab lab_;
    VlanPorts vlans_;
    PortConfig uplink_;
    std::array<rte_mbuf*, kBurstSize> packets_{};
    uint16_t count_ = 0;
};

TEST_F(VlanSplitTest, EachPortHasItsPacketsInTheirOrder) {
    add(1, 8);
    add(2, -1);
    add(3, 7);
    add(4, 0xe007);  // priority 7
    add(5, 8);
    add(6, 0x2000);  // a priority, no VLAN
    add(7, 9);       // of no port
    const std::map<PortId, std::vector<uint8_t>> wanted = {
        {kUplink, {2, 6, 7}}, {kSeven, {3, 4}}, {kEight, {1, 5}}};
    EXPECT_EQ(split(), wanted);
}

TEST_F(VlanSplitTest, TagIsTakenOffWhereThePortIsKnown) {
    const rte_mbuf* ours = add(1, 7);
    const rte_mbuf* strange = add(2, 9);
    const rte_mbuf* outer = add(3, 7, 0x88a8);
    split();
    ASSERT_EQ(ours->pkt_len, 56u);
    const auto* bytes = rte_pktmbuf_mtod(ours, const uint8_t*);
    for (uint8_t i = 0; i < 12; ++i)
        EXPECT_EQ(bytes[i], i);
    EXPECT_EQ(bytes[12], 16);
    EXPECT_EQ(strange->pkt_len, 60u);
    EXPECT_EQ(outer->pkt_len, 60u);
}

TEST_F(VlanSplitTest, DeviceMayHaveTakenItOffBefore) {
    rte_mbuf* packet = add(1, -1);
    packet->vlan_tci = 0x6008;
    packet->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    const std::map<PortId, std::vector<uint8_t>> wanted = {{kEight, {1}}};
    EXPECT_EQ(split(), wanted);
    EXPECT_EQ(packet->pkt_len, 60u);
    EXPECT_EQ(packet->ol_flags & (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED), 0u);
}

TEST_F(VlanSplitTest, FrameTooShortForATagHasNone) {
    for (const uint8_t size : std::to_array<uint8_t>({1, 12, 14, 17}))
        add(size, size > 15 ? 7 : -1, 0x8100, size);
    const std::map<PortId, std::vector<uint8_t>> wanted = {{kUplink, {1, 12, 14, 17}}};
    EXPECT_EQ(split(), wanted);
}

TEST_F(VlanSplitTest, WholeBurstOfOnePort) {
    std::vector<uint8_t> marks;
    for (uint8_t i = 0; i < kBurstSize; ++i) {
        add(i, 7);
        marks.push_back(i);
    }
    const std::map<PortId, std::vector<uint8_t>> wanted = {{kSeven, marks}};
    EXPECT_EQ(split(), wanted);
}

}  // namespace
}  // namespace slash32::test
