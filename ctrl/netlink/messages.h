// SPDX-License-Identifier: Apache-2.0
// What rtnetlink(7) messages say, as plain values. Pure functions: a message that is cut short, or
// whose attributes have other lengths than theirs, gives nothing.
#pragma once

#include "dp/base/net.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct nlmsghdr;

namespace slash32 {

struct LinkMessage {
    uint32_t index = 0;
    std::string name;
    bool up = false;  // by its administrator
};

struct AddressMessage {
    uint32_t interface = 0;
    IpAddress address;
    bool global = false;  // of scope
    auto operator<=>(const AddressMessage&) const = default;
};

struct NeighborMessage {
    uint32_t interface = 0;
    IpAddress address;
    uint16_t state = 0;      // NUD_* (linux/neighbour.h)
    std::optional<Mac> mac;  // where there is an Ethernet one
};

// A segment of the kernel's (ip-route(8), seg6local), by its own numbers (linux/seg6_local.h).
struct SegmentMessage {
    uint32_t action = 0;
    uint32_t flavors = 0;  // bits 1 << SEG6_LOCAL_FLV_OP_*
    uint8_t block_bits = 32;
    uint8_t node_bits = 16;
    uint32_t table = 0;  // 0: none
    std::optional<IpAddress> via;
    auto operator<=>(const SegmentMessage&) const = default;
};

// One way of a route.
struct HopMessage {
    uint32_t interface = 0;
    std::optional<IpAddress> via;  // absent: on the link; of either family (RFC 5549)
    uint16_t weight = 1;
    bool usable = true;         // not dead, and without an encapsulation that we do not know
    std::vector<Ip6> segments;  // it leads into a tunnel by these, wherever its interface does
    bool reduced = false;       // the tunnel's header leaves the first one out
    std::optional<SegmentMessage> segment;
    auto operator<=>(const HopMessage&) const = default;
};

enum class RouteType : uint8_t { kUnicast, kLocal, kBlackhole, kUnreachable, kOther };

struct RouteMessage {
    IpPrefix prefix;
    uint32_t table = 0;
    uint32_t metric = 0;
    uint8_t protocol = 0;
    RouteType type = RouteType::kOther;
    uint32_t next_hop_object = 0;  // 0: none, and `hops` say it all
    std::vector<HopMessage> hops;  // sorted
};

// A next-hop object of the kernel: one hop, a blackhole, or a group of other objects.
struct NextHopMessage {
    uint32_t id = 0;
    bool blackhole = false;
    HopMessage hop;
    struct Member {
        uint32_t id;
        uint16_t weight;
    };
    std::vector<Member> group;
};

// REQUIRES of all: the message is whole (mnl_nlmsg_ok()), and of the type in the name, new or
// deleted.
std::optional<LinkMessage> read_link(const nlmsghdr* message);
std::optional<AddressMessage> read_address(const nlmsghdr* message);
std::optional<NeighborMessage> read_neighbor(const nlmsghdr* message);
std::optional<RouteMessage> read_route(const nlmsghdr* message);
std::optional<NextHopMessage> read_next_hop(const nlmsghdr* message);

}  // namespace slash32
