// SPDX-License-Identifier: Apache-2.0
#include "ctrl/netlink/messages.h"

#include "dp/base/limits.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/lwtunnel.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <linux/seg6.h>
#include <linux/seg6_iptunnel.h>
#include <linux/seg6_local.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace slash32 {
namespace {

// Attributes by type, of a message whose fixed part is `Head`.
template <typename Head>
class Attributes {
  public:
    static std::optional<Attributes> of(const nlmsghdr* message) {
        if (mnl_nlmsg_get_payload_len(message) < sizeof(Head)) return std::nullopt;
        Attributes attributes;
        attributes.head_ = static_cast<const Head*>(mnl_nlmsg_get_payload(message));
        mnl_attr_parse(message, sizeof(Head), take, static_cast<void*>(attributes.at_.data()));
        return attributes;
    }
    // `bytes` of attributes at `first`.
    static Attributes of(const void* first, size_t bytes) {
        Attributes attributes;
        mnl_attr_parse_payload(first, bytes, take, static_cast<void*>(attributes.at_.data()));
        return attributes;
    }

    const Head& head() const { return *head_; }
    const nlattr* operator[](size_t type) const { return at_[type]; }

    uint32_t number(size_t type, uint32_t otherwise) const {
        const nlattr* at = at_[type];
        if (at == nullptr || mnl_attr_get_payload_len(at) != sizeof(uint32_t)) return otherwise;
        return mnl_attr_get_u32(at);
    }

  private:
    static int take(const nlattr* attribute, void* data) {
        const uint16_t type = mnl_attr_get_type(attribute);
        if (type < kTypes) static_cast<const nlattr**>(data)[type] = attribute;
        return MNL_CB_OK;
    }

    // More than any message has that we read.
    static constexpr size_t kTypes = 80;
    static_assert(kTypes > IFLA_MAX && kTypes > RTA_MAX && kTypes > NHA_MAX && kTypes > NDA_MAX);

    const Head* head_ = nullptr;
    std::array<const nlattr*, kTypes> at_{};
};

using RouteAttributes = Attributes<rtmsg>;

std::optional<Family> family_of(uint8_t number) {
    if (number == AF_INET) return Family::kIpv4;
    if (number == AF_INET6) return Family::kIpv6;
    return std::nullopt;
}

std::optional<IpAddress> address_at(const nlattr* attribute, Family family) {
    IpAddress address;
    address.family = family;
    const size_t bytes = address.bits() / 8u;
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != bytes) return std::nullopt;
    std::memcpy(address.bytes.data(), mnl_attr_get_payload(attribute), bytes);
    return address;
}

// RTA_VIA: a family, then an address of it.
std::optional<IpAddress> other_address_at(const nlattr* attribute) {
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < sizeof(rtvia))
        return std::nullopt;
    rtvia via{};
    std::memcpy(&via, mnl_attr_get_payload(attribute), sizeof via);
    const auto family = family_of(static_cast<uint8_t>(via.rtvia_family));
    if (!family) return std::nullopt;
    IpAddress address;
    address.family = *family;
    const size_t bytes = address.bits() / 8u;
    if (mnl_attr_get_payload_len(attribute) != sizeof via + bytes) return std::nullopt;
    std::memcpy(address.bytes.data(),
                static_cast<const char*>(mnl_attr_get_payload(attribute)) + sizeof via, bytes);
    return address;
}

constexpr unsigned kDead = RTNH_F_DEAD;

std::optional<IpAddress> via_of(const RouteAttributes& attributes, Family family) {
    if (auto via = address_at(attributes[RTA_GATEWAY], family)) return via;
    return other_address_at(attributes[RTA_VIA]);
}

// The segments of a seg6 encapsulation. False: it is none that leads into a tunnel of IP.
bool read_tunnel(const nlattr* encapsulation, HopMessage& hop) {
    const auto attributes = RouteAttributes::of(mnl_attr_get_payload(encapsulation),
                                                mnl_attr_get_payload_len(encapsulation));
    const nlattr* srh = attributes[SEG6_IPTUNNEL_SRH];
    if (srh == nullptr) return false;
    const size_t bytes = mnl_attr_get_payload_len(srh);
    seg6_iptunnel_encap head{};
    ipv6_sr_hdr header{};
    if (bytes < sizeof head + sizeof header) return false;
    const auto* at = static_cast<const char*>(mnl_attr_get_payload(srh));
    std::memcpy(&head, at, sizeof head);
    std::memcpy(&header, at + sizeof head, sizeof header);
    if (head.mode != SEG6_IPTUN_MODE_ENCAP && head.mode != SEG6_IPTUN_MODE_ENCAP_RED) return false;
    const size_t count = header.first_segment + size_t{1};
    if (count > kMaxSegments || bytes < sizeof head + sizeof header + count * sizeof(Ip6))
        return false;
    hop.reduced = head.mode == SEG6_IPTUN_MODE_ENCAP_RED;
    hop.segments.resize(count);
    // The last one of the path stands first.
    for (size_t i = 0; i < count; ++i)
        std::memcpy(&hop.segments[count - 1 - i],
                    at + sizeof head + sizeof header + i * sizeof(Ip6), sizeof(Ip6));
    return true;
}

uint8_t byte_at(const nlattr* attribute, uint8_t otherwise) {
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != 1) return otherwise;
    return mnl_attr_get_u8(attribute);
}

bool read_segment(const nlattr* encapsulation, HopMessage& hop) {
    const auto attributes = RouteAttributes::of(mnl_attr_get_payload(encapsulation),
                                                mnl_attr_get_payload_len(encapsulation));
    SegmentMessage segment;
    segment.action = attributes.number(SEG6_LOCAL_ACTION, 0);
    if (segment.action == 0) return false;
    segment.table = attributes.number(SEG6_LOCAL_VRFTABLE, attributes.number(SEG6_LOCAL_TABLE, 0));
    segment.via = address_at(attributes[SEG6_LOCAL_NH6], Family::kIpv6);
    if (!segment.via) segment.via = address_at(attributes[SEG6_LOCAL_NH4], Family::kIpv4);
    if (const nlattr* flavors = attributes[SEG6_LOCAL_FLAVORS]; flavors != nullptr) {
        const auto of_flavors =
            RouteAttributes::of(mnl_attr_get_payload(flavors), mnl_attr_get_payload_len(flavors));
        segment.flavors = of_flavors.number(SEG6_LOCAL_FLV_OPERATION, 0);
        segment.block_bits = byte_at(of_flavors[SEG6_LOCAL_FLV_LCBLOCK_BITS], segment.block_bits);
        segment.node_bits = byte_at(of_flavors[SEG6_LOCAL_FLV_LCNODE_FN_BITS], segment.node_bits);
    }
    hop.segment = segment;
    return true;
}

// What a way's encapsulation makes of it; it is not usable by one that we do not know.
void read_encapsulation(const nlattr* type, const nlattr* encapsulation, HopMessage& hop) {
    if (type == nullptr) return;
    bool known = false;
    if (encapsulation != nullptr && mnl_attr_get_payload_len(type) == sizeof(uint16_t)) {
        const uint16_t kind = mnl_attr_get_u16(type);
        if (kind == LWTUNNEL_ENCAP_SEG6) known = read_tunnel(encapsulation, hop);
        if (kind == LWTUNNEL_ENCAP_SEG6_LOCAL) known = read_segment(encapsulation, hop);
    }
    hop.usable = hop.usable && known;
}

std::vector<HopMessage> multipath(const nlattr* attribute, Family family) {
    std::vector<HopMessage> hops;
    const auto* at = static_cast<const char*>(mnl_attr_get_payload(attribute));
    size_t left = mnl_attr_get_payload_len(attribute);
    while (left >= sizeof(rtnexthop)) {
        rtnexthop head{};
        std::memcpy(&head, at, sizeof head);
        if (head.rtnh_len < sizeof head || head.rtnh_len > left) break;
        const auto attributes = RouteAttributes::of(at + sizeof head, head.rtnh_len - sizeof head);
        hops.push_back(HopMessage{.interface = static_cast<uint32_t>(head.rtnh_ifindex),
                                  .via = via_of(attributes, family),
                                  .weight = static_cast<uint16_t>(head.rtnh_hops + 1),
                                  .usable = (head.rtnh_flags & kDead) == 0});
        read_encapsulation(attributes[RTA_ENCAP_TYPE], attributes[RTA_ENCAP], hops.back());
        const size_t step = std::min<size_t>(RTNH_ALIGN(head.rtnh_len), left);
        at += step;
        left -= step;
    }
    return hops;
}

RouteType type_of(uint8_t number) {
    switch (number) {
        case RTN_UNICAST:
            return RouteType::kUnicast;
        case RTN_LOCAL:
            return RouteType::kLocal;
        case RTN_BLACKHOLE:
            return RouteType::kBlackhole;
        case RTN_UNREACHABLE:
        case RTN_PROHIBIT:
            return RouteType::kUnreachable;
        default:
            return RouteType::kOther;
    }
}

}  // namespace

std::optional<LinkMessage> read_link(const nlmsghdr* message) {
    const auto attributes = Attributes<ifinfomsg>::of(message);
    if (!attributes) return std::nullopt;
    const nlattr* name = (*attributes)[IFLA_IFNAME];
    if (name == nullptr || mnl_attr_validate(name, MNL_TYPE_NUL_STRING) != 0) return std::nullopt;
    return LinkMessage{.index = static_cast<uint32_t>(attributes->head().ifi_index),
                       .name = mnl_attr_get_str(name),
                       .up = (attributes->head().ifi_flags & IFF_UP) != 0};
}

std::optional<AddressMessage> read_address(const nlmsghdr* message) {
    const auto attributes = Attributes<ifaddrmsg>::of(message);
    if (!attributes) return std::nullopt;
    const auto family = family_of(attributes->head().ifa_family);
    if (!family) return std::nullopt;
    // Of a point-to-point link IFA_ADDRESS is the other end.
    auto address = address_at((*attributes)[IFA_LOCAL], *family);
    if (!address) address = address_at((*attributes)[IFA_ADDRESS], *family);
    if (!address) return std::nullopt;
    return AddressMessage{.interface = attributes->head().ifa_index,
                          .address = *address,
                          .global = attributes->head().ifa_scope == RT_SCOPE_UNIVERSE};
}

std::optional<NeighborMessage> read_neighbor(const nlmsghdr* message) {
    const auto attributes = Attributes<ndmsg>::of(message);
    if (!attributes) return std::nullopt;
    const auto family = family_of(attributes->head().ndm_family);
    if (!family) return std::nullopt;
    const auto address = address_at((*attributes)[NDA_DST], *family);
    if (!address) return std::nullopt;
    NeighborMessage neighbor{.interface = static_cast<uint32_t>(attributes->head().ndm_ifindex),
                             .address = *address,
                             .state = attributes->head().ndm_state,
                             .mac = {}};
    const nlattr* mac = (*attributes)[NDA_LLADDR];
    if (mac != nullptr && mnl_attr_get_payload_len(mac) == sizeof(Mac)) {
        neighbor.mac.emplace();
        std::memcpy(neighbor.mac->bytes.data(), mnl_attr_get_payload(mac), sizeof(Mac));
    }
    return neighbor;
}

std::optional<RouteMessage> read_route(const nlmsghdr* message) {
    const auto attributes = RouteAttributes::of(message);
    if (!attributes) return std::nullopt;
    const rtmsg& head = attributes->head();
    const auto family = family_of(head.rtm_family);
    if (!family) return std::nullopt;
    RouteMessage route;
    route.table = attributes->number(RTA_TABLE, head.rtm_table);
    route.metric = attributes->number(RTA_PRIORITY, 0);
    route.protocol = head.rtm_protocol;
    route.type = type_of(head.rtm_type);
    route.next_hop_object = attributes->number(RTA_NH_ID, 0);
    route.prefix.address.family = *family;
    route.prefix.length = head.rtm_dst_len;
    if (route.prefix.length > route.prefix.address.bits()) return std::nullopt;
    if ((*attributes)[RTA_DST] != nullptr) {
        const auto destination = address_at((*attributes)[RTA_DST], *family);
        if (!destination) return std::nullopt;
        route.prefix.address = *destination;
    } else if (route.prefix.length != 0) {
        return std::nullopt;
    }
    if (const nlattr* ways = (*attributes)[RTA_MULTIPATH]; ways != nullptr) {
        route.hops = multipath(ways, *family);
    } else if (const uint32_t interface = attributes->number(RTA_OIF, 0); interface != 0) {
        route.hops.push_back(HopMessage{.interface = interface,
                                        .via = via_of(*attributes, *family),
                                        .weight = 1,
                                        .usable = (head.rtm_flags & kDead) == 0});
        read_encapsulation((*attributes)[RTA_ENCAP_TYPE], (*attributes)[RTA_ENCAP],
                           route.hops.back());
    }
    std::ranges::sort(route.hops);
    return route;
}

std::optional<NextHopMessage> read_next_hop(const nlmsghdr* message) {
    const auto attributes = Attributes<nhmsg>::of(message);
    if (!attributes) return std::nullopt;
    NextHopMessage next_hop;
    next_hop.id = attributes->number(NHA_ID, 0);
    if (next_hop.id == 0) return std::nullopt;
    next_hop.blackhole = (*attributes)[NHA_BLACKHOLE] != nullptr;
    if (const nlattr* group = (*attributes)[NHA_GROUP]; group != nullptr) {
        const size_t count = mnl_attr_get_payload_len(group) / sizeof(nexthop_grp);
        for (size_t i = 0; i < count; ++i) {
            nexthop_grp member{};
            std::memcpy(&member,
                        static_cast<const char*>(mnl_attr_get_payload(group)) + i * sizeof member,
                        sizeof member);
            next_hop.group.push_back(
                {member.id, static_cast<uint16_t>(uint16_t{member.weight} + 1)});
        }
        return next_hop;
    }
    next_hop.hop.interface = attributes->number(NHA_OIF, 0);
    if (const auto family = family_of(attributes->head().nh_family))
        next_hop.hop.via = address_at((*attributes)[NHA_GATEWAY], *family);
    next_hop.hop.usable = (attributes->head().nh_flags & kDead) == 0;
    read_encapsulation((*attributes)[NHA_ENCAP_TYPE], (*attributes)[NHA_ENCAP], next_hop.hop);
    return next_hop;
}

}  // namespace slash32
