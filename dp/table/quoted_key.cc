// SPDX-License-Identifier: Apache-2.0
#include "dp/table/quoted_key.h"

#include "dp/packet/icmp.h"
#include "dp/packet/ipv6_extensions.h"
#include "dp/packet/view.h"
#include "dp/table/flow_key.h"

namespace slash32 {
namespace {

// RFC 792: at least the first 8 bytes of the quoted packet's payload.
constexpr uint32_t kQuotedTransport = 8;

// Fills addresses and protocol; returns the offset of the transport header, 0 when there is none.
uint32_t read_ipv4(const HeaderView& view, uint32_t at, FlowKey& key, uint8_t& protocol) {
    const auto* ip = view.at<Ipv4Header>(at);
    if (ip == nullptr || ip->version_ihl >> 4 != 4 || ip->length() < sizeof(Ipv4Header)) return 0;
    if ((ip->fragment.host() & kIpv4OffsetMask) != 0) return 0;
    key.source = flow_address(ip->source.get());
    key.destination = flow_address(ip->destination.get());
    protocol = ip->protocol;
    return at + ip->length();
}

uint32_t read_ipv6(const HeaderView& view, uint32_t at, FlowKey& key, uint8_t& protocol) {
    const auto* ip = view.at<Ipv6Header>(at);
    if (ip == nullptr || ip->version_class_flow.host() >> 28 != 6) return 0;
    Ipv6Chain chain;
    if (walk_ipv6_extensions(view, at, view.total() - at, chain)) return 0;
    if ((chain.flags & kLaterFragment) != 0) return 0;
    key.source = flow_address(ip->source);
    key.destination = flow_address(ip->destination);
    protocol = chain.protocol;
    return at + chain.length;
}

// An error about an error is none (RFC 1122 section 3.2.2), and no flow has such packets.
bool is_tracked(uint8_t protocol, uint8_t first_byte) {
    if (protocol != kProtoIcmp && protocol != kProtoIcmp6) return true;
    return icmp_counterpart(protocol, first_byte) != first_byte;
}

}  // namespace

std::optional<FlowKey> quoted_flow_key(rte_mbuf* packet, const PacketMeta& meta,
                                       const PortConfig& in, VrfId vrf) {
    const HeaderView view(packet);
    const auto at = static_cast<uint32_t>(meta.l3 - view.at<uint8_t>(0)) + meta.l3_length +
                    static_cast<uint32_t>(sizeof(IcmpHeader));
    const bool ipv4 = meta.kind == PacketKind::kIpv4;
    FlowKey quoted;
    uint8_t protocol = 0;
    const uint32_t transport =
        ipv4 ? read_ipv4(view, at, quoted, protocol) : read_ipv6(view, at, quoted, protocol);
    if (transport == 0 || !view.holds(transport, kQuotedTransport)) return {};
    const auto* l4 = view.at<uint8_t>(transport);
    if (!is_tracked(protocol, *l4)) return {};
    const FlowAddress addressee =
        ipv4 ? flow_address(reinterpret_cast<const Ipv4Header*>(meta.l3)->destination.get())
             : flow_address(ipv6_of(meta).destination);
    if (addressee != quoted.source) return {};
    const FlowPorts ports = flow_ports(protocol, l4);
    quoted.source_port = ports.source;
    quoted.destination_port = ports.destination;
    quoted.where = FlowKey::pack(kNoPort, vrf, protocol);
    return reverse_key(quoted, ingress_class(in));
}

}  // namespace slash32
