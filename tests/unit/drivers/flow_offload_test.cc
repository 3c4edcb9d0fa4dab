// SPDX-License-Identifier: Apache-2.0
#include "drivers/flow_offload/flow_offload.h"

#include "tests/unit/drivers/test_worker.h"

#include <gtest/gtest.h>
#include <rte_byteorder.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace slash32::testing {
namespace {

std::vector<rte_flow_item_type> types_of(const FlowPattern& pattern) {
    std::vector<rte_flow_item_type> types;
    for (const rte_flow_item* item = pattern.items(); item->type != RTE_FLOW_ITEM_TYPE_END; ++item)
        types.push_back(item->type);
    return types;
}

template <typename Item>
const Item& spec(const FlowPattern& pattern, size_t at) {
    return *static_cast<const Item*>(pattern.items()[at].spec);
}
template <typename Item>
const Item& mask(const FlowPattern& pattern, size_t at) {
    return *static_cast<const Item*>(pattern.items()[at].mask);
}

TEST(FlowPattern, AsksForASourceByItsPrefixAlone) {
    const FlowPattern ipv4({.ether_type = 0x0800, .source = parse_prefix("224.0.0.0/3")});
    ASSERT_EQ(types_of(ipv4), (std::vector{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV4}));
    EXPECT_EQ(spec<rte_flow_item_ipv4>(ipv4, 1).hdr.src_addr, rte_cpu_to_be_32(0xe0000000));
    EXPECT_EQ(mask<rte_flow_item_ipv4>(ipv4, 1).hdr.src_addr, rte_cpu_to_be_32(0xe0000000));
    EXPECT_EQ(mask<rte_flow_item_ipv4>(ipv4, 1).hdr.next_proto_id, 0);
    EXPECT_EQ(mask<rte_flow_item_eth>(ipv4, 0).type, 0) << "the next item says so";

    const FlowPattern ipv6({.ether_type = 0x86dd, .source = parse_prefix("::ffff:0:0/96")});
    ASSERT_EQ(types_of(ipv6), (std::vector{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6}));
    const auto& bits = mask<rte_flow_item_ipv6>(ipv6, 1).hdr.src_addr;
    EXPECT_EQ(std::ranges::count(bits, 0xff), 12);
    EXPECT_EQ(std::ranges::count(bits, 0), 4);
    EXPECT_EQ(spec<rte_flow_item_ipv6>(ipv6, 1).hdr.src_addr[11], 0xff);
}

TEST(FlowPattern, AsksForProtocolsAndPorts) {
    const FlowPattern arp({.ether_type = 0x0806});
    ASSERT_EQ(types_of(arp), (std::vector{RTE_FLOW_ITEM_TYPE_ETH}));
    EXPECT_EQ(spec<rte_flow_item_eth>(arp, 0).type, rte_cpu_to_be_16(0x0806));
    EXPECT_EQ(mask<rte_flow_item_eth>(arp, 0).type, 0xffff);

    const FlowPattern bgp({.ether_type = 0x86dd, .protocol = 6, .source_port = Be16(179)});
    ASSERT_EQ(types_of(bgp), (std::vector{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6,
                                          RTE_FLOW_ITEM_TYPE_TCP}));
    EXPECT_EQ(spec<rte_flow_item_ipv6>(bgp, 1).hdr.proto, 6);
    EXPECT_EQ(spec<rte_flow_item_tcp>(bgp, 2).hdr.src_port, rte_cpu_to_be_16(179));
    EXPECT_EQ(mask<rte_flow_item_tcp>(bgp, 2).hdr.src_port, 0xffff);
    EXPECT_EQ(mask<rte_flow_item_tcp>(bgp, 2).hdr.dst_port, 0);

    const FlowPattern nd({.ether_type = 0x86dd, .protocol = 58, .icmp6_type = 135});
    ASSERT_EQ(types_of(nd), (std::vector{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6,
                                         RTE_FLOW_ITEM_TYPE_ICMP6}));
    EXPECT_EQ(spec<rte_flow_item_icmp6>(nd, 2).type, 135);
    EXPECT_EQ(mask<rte_flow_item_icmp6>(nd, 2).type, 0xff);
    EXPECT_EQ(mask<rte_flow_item_icmp6>(nd, 2).code, 0);
}

TEST(OffloadTasks, HaveNamesOfTheirOwn) {
    std::set<std::string> names;
    for (const OffloadTask& task : offload_tasks())
        EXPECT_TRUE(names.insert(task.name).second) << task.name;
    EXPECT_GT(names.size(), 10u);
}

// Which has no rte_flow at all.
TEST(FlowOffload, LeavesEverythingToTheSoftwareOnADeviceThatTakesNoRules) {
    packet_pool();  // starts DPDK
    rte_ring* ring = rte_ring_create("flow_offload", 64, SOCKET_ID_ANY, 0);
    ASSERT_NE(ring, nullptr);
    const int device = rte_eth_from_ring(ring);
    ASSERT_GE(device, 0);
    const auto id = static_cast<uint16_t>(device);
    const std::string refusal = FlowOffload::refusal_to_steer(id);
    EXPECT_NE(refusal, "");
    {
        const FlowOffload offload(id, std::nullopt, refusal);
        ASSERT_EQ(offload.rules().size(), offload_tasks().size());
        for (const OffloadRule& rule : offload.rules()) {
            EXPECT_FALSE(rule.hardware) << rule.name;
            EXPECT_NE(rule.reason, "") << rule.name;
        }
    }
    rte_eth_dev_close(id);
    rte_ring_free(ring);
}

}  // namespace
}  // namespace slash32::testing
