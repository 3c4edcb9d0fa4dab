// SPDX-License-Identifier: Apache-2.0
// What a NIC may do of the router's work with what it receives, as rules of rte_flow.
//
// Thread safety: values.
#pragma once

#include "dp/base/net.h"

#include <rte_flow.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace slash32 {

enum class OffloadPurpose : uint8_t {
    kDropSource,  // what the router would drop as bad_source_address
    kControl,     // what the host's routing daemons live by, to a queue of its own
};

// Of untagged packets. Members that are 0 or empty are not asked for.
struct OffloadMatch {
    uint16_t ether_type = 0;
    std::optional<IpPrefix> source;
    uint8_t protocol = 0;  // with an EtherType of IP
    Be16 source_port;
    Be16 destination_port;
    uint8_t icmp6_type = 0;
};

struct OffloadTask {
    std::string name;  // "drop sources in 127.0.0.0/8"
    OffloadPurpose purpose;
    OffloadMatch match;
};

// All of them, in the order in which they are asked for.
std::vector<OffloadTask> offload_tasks();

// A match as rte_flow takes it. Points into itself: it is neither copied nor moved.
class FlowPattern {
  public:
    explicit FlowPattern(const OffloadMatch& match);
    FlowPattern(const FlowPattern&) = delete;
    FlowPattern& operator=(const FlowPattern&) = delete;

    // Ends with RTE_FLOW_ITEM_TYPE_END.
    const rte_flow_item* items() const { return items_.data(); }

  private:
    template <typename Item>
    struct Pair {
        Item spec{};
        Item mask{};
    };
    template <typename Item>
    void add(rte_flow_item_type type, const Pair<Item>& pair);
    void add_ipv4(const OffloadMatch& match);
    void add_ipv6(const OffloadMatch& match);
    void add_transport(const OffloadMatch& match);

    Pair<rte_flow_item_eth> eth_;
    Pair<rte_flow_item_ipv4> ipv4_;
    Pair<rte_flow_item_ipv6> ipv6_;
    Pair<rte_flow_item_tcp> tcp_;
    Pair<rte_flow_item_udp> udp_;
    Pair<rte_flow_item_icmp6> icmp6_;
    std::array<rte_flow_item, 4> items_{};
    size_t count_ = 0;
};

}  // namespace slash32
