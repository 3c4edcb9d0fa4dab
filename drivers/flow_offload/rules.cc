// SPDX-License-Identifier: Apache-2.0
#include "drivers/flow_offload/rules.h"

#include "dp/packet/headers.h"

#include <fmt/format.h>
#include <rte_byteorder.h>
#include <rte_ether.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

namespace slash32 {
namespace {

constexpr uint16_t kEtherTypeLldp = 0x88cc;  // IEEE 802.1AB

// RFC 1812 section 5.3.7, RFC 4291 sections 2.5.3, 2.5.5.2 and 2.7. Not 0.0.0.0/8 and ::, by which
// nodes without an address ask for one.
constexpr std::string_view kNeverSources[] = {"127.0.0.0/8", "224.0.0.0/3", "::1/128",
                                              "::ffff:0:0/96", "ff00::/8"};

void add_control(std::vector<OffloadTask>& tasks, const std::string& name,
                 const OffloadMatch& match) {
    tasks.push_back({"steer " + name, OffloadPurpose::kControl, match});
}

// The bits of a prefix that count, as on the wire.
std::array<uint8_t, 16> mask_of(const IpPrefix& prefix) {
    std::array<uint8_t, 16> ones{};
    for (unsigned bit = 0; bit < prefix.length; ++bit)
        ones[bit / 8] = static_cast<uint8_t>(ones[bit / 8] | 0x80 >> bit % 8);
    return ones;
}

uint32_t first_word(const std::array<uint8_t, 16>& bytes) {
    uint32_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    return word;
}

// TCP and UDP call their ports the same.
template <typename Header>
void set_ports(const OffloadMatch& match, Header& spec, Header& mask) {
    spec.src_port = match.source_port.raw();
    spec.dst_port = match.destination_port.raw();
    mask.src_port = match.source_port != Be16() ? UINT16_MAX : 0;
    mask.dst_port = match.destination_port != Be16() ? UINT16_MAX : 0;
}

}  // namespace

std::vector<OffloadTask> offload_tasks() {
    std::vector<OffloadTask> tasks;
    for (const std::string_view text : kNeverSources) {
        const IpPrefix prefix = *parse_prefix(text);
        const uint16_t type = prefix.address.is_ipv4() ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;
        tasks.push_back({fmt::format("drop sources in {}", text),
                         OffloadPurpose::kDropSource,
                         {.ether_type = type, .source = prefix}});
    }
    add_control(tasks, "ARP", {.ether_type = RTE_ETHER_TYPE_ARP});
    add_control(tasks, "LLDP", {.ether_type = kEtherTypeLldp});
    for (const auto& [version, type] : {std::pair<int, uint16_t>{4, RTE_ETHER_TYPE_IPV4},
                                        std::pair<int, uint16_t>{6, RTE_ETHER_TYPE_IPV6}}) {
        add_control(tasks, fmt::format("IPv{} BGP to port 179", version),
                    {.ether_type = type, .protocol = kProtoTcp, .destination_port = kPortBgp});
        add_control(tasks, fmt::format("IPv{} BGP from port 179", version),
                    {.ether_type = type, .protocol = kProtoTcp, .source_port = kPortBgp});
        add_control(
            tasks, fmt::format("IPv{} BFD", version),
            {.ether_type = type, .protocol = kProtoUdp, .destination_port = kPortBfdControl});
        add_control(
            tasks, fmt::format("IPv{} BFD, multihop", version),
            {.ether_type = type, .protocol = kProtoUdp, .destination_port = kPortBfdMultihop});
        add_control(tasks, fmt::format("IPv{} OSPF", version),
                    {.ether_type = type, .protocol = kProtoOspf});
    }
    // RFC 4861 section 4.
    for (const auto& [name, type] :
         {std::pair<std::string_view, uint8_t>{"solicitations", kIcmp6NeighbourSolicitation},
          std::pair<std::string_view, uint8_t>{"advertisements", kIcmp6NeighbourAdvertisement}}) {
        add_control(
            tasks, fmt::format("ND {}", name),
            {.ether_type = RTE_ETHER_TYPE_IPV6, .protocol = kProtoIcmp6, .icmp6_type = type});
    }
    return tasks;
}

FlowPattern::FlowPattern(const OffloadMatch& match) {
    const bool ipv4 = match.ether_type == RTE_ETHER_TYPE_IPV4;
    const bool ipv6 = match.ether_type == RTE_ETHER_TYPE_IPV6;
    // Some devices know an EtherType by the item that follows alone.
    if (!ipv4 && !ipv6) {
        eth_.spec.type = rte_cpu_to_be_16(match.ether_type);
        eth_.mask.type = UINT16_MAX;
    }
    add(RTE_FLOW_ITEM_TYPE_ETH, eth_);
    if (ipv4) add_ipv4(match);
    if (ipv6) add_ipv6(match);
    add_transport(match);
    items_[count_].type = RTE_FLOW_ITEM_TYPE_END;
}

template <typename Item>
void FlowPattern::add(rte_flow_item_type type, const Pair<Item>& pair) {
    items_[count_++] = {.type = type, .spec = &pair.spec, .last = nullptr, .mask = &pair.mask};
}

void FlowPattern::add_ipv4(const OffloadMatch& match) {
    if (match.source) {
        ipv4_.spec.hdr.src_addr = first_word(match.source->address.bytes);
        ipv4_.mask.hdr.src_addr = first_word(mask_of(*match.source));
    }
    ipv4_.spec.hdr.next_proto_id = match.protocol;
    ipv4_.mask.hdr.next_proto_id = match.protocol != 0 ? UINT8_MAX : 0;
    add(RTE_FLOW_ITEM_TYPE_IPV4, ipv4_);
}

void FlowPattern::add_ipv6(const OffloadMatch& match) {
    if (match.source) {
        std::ranges::copy(match.source->address.bytes, ipv6_.spec.hdr.src_addr);
        std::ranges::copy(mask_of(*match.source), ipv6_.mask.hdr.src_addr);
    }
    ipv6_.spec.hdr.proto = match.protocol;
    ipv6_.mask.hdr.proto = match.protocol != 0 ? UINT8_MAX : 0;
    add(RTE_FLOW_ITEM_TYPE_IPV6, ipv6_);
}

void FlowPattern::add_transport(const OffloadMatch& match) {
    if (match.protocol == kProtoTcp) {
        set_ports(match, tcp_.spec.hdr, tcp_.mask.hdr);
        add(RTE_FLOW_ITEM_TYPE_TCP, tcp_);
    } else if (match.protocol == kProtoUdp) {
        set_ports(match, udp_.spec.hdr, udp_.mask.hdr);
        add(RTE_FLOW_ITEM_TYPE_UDP, udp_);
    } else if (match.protocol == kProtoIcmp6) {
        icmp6_.spec.type = match.icmp6_type;
        icmp6_.mask.type = UINT8_MAX;
        add(RTE_FLOW_ITEM_TYPE_ICMP6, icmp6_);
    }
}

}  // namespace slash32
