// SPDX-License-Identifier: Apache-2.0
// The key of a packet's flow, and of its answers. Pure functions over proven headers.
#pragma once

#include "dp/abi/flow.h"
#include "dp/abi/port.h"
#include "dp/base/bytes.h"
#include "dp/packet/burst.h"
#include "dp/packet/headers.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace slash32 {

using FlowAddress = std::array<uint64_t, 2>;

// RFC 4291 section 2.5.5.2: ten bytes of zeros, two of ones, the IPv4 address.
inline FlowAddress flow_address(const Ip4& address) {
    return {0, uint64_t{address.value.raw()} << 32 | 0xffff0000};
}
inline FlowAddress flow_address(const Wire<Ip4>& address) {
    return flow_address(address.get());
}
inline FlowAddress flow_address(const Ip6& address) {
    FlowAddress words;
    std::memcpy(words.data(), address.bytes.data(), sizeof words);
    return words;
}
inline bool is_mapped_ipv4(const FlowAddress& address) {
    return address[0] == 0 && (address[1] & UINT32_MAX) == 0xffff0000;
}
// REQUIRES: is_mapped_ipv4(address).
inline Ip4 ipv4_from(const FlowAddress& address) {
    return Ip4{Be32::from_raw(static_cast<uint32_t>(address[1] >> 32))};
}
inline Ip6 ipv6_from(const FlowAddress& address) {
    Ip6 out;
    std::memcpy(out.bytes.data(), address.data(), sizeof address);
    return out;
}

// The type that answers an ICMP query (RFC 792, RFC 950) or an ICMPv6 one (RFC 4443, RFC 4620), or
// the query that an answer is to; a type that is neither is its own counterpart.
inline uint8_t icmp_counterpart(uint8_t protocol, uint8_t type) {
    if (protocol == kProtoIcmp6) {
        switch (type) {
            case 128:
            case 139:
                return type + 1;
            case 129:
            case 140:
                return type - 1;
            default:
                return type;
        }
    }
    switch (type) {
        case kIcmpEcho:
            return kIcmpEchoReply;
        case kIcmpEchoReply:
            return kIcmpEcho;
        case 13:  // timestamp, information, address mask
        case 15:
        case 17:
            return type + 1;
        case 14:
        case 16:
        case 18:
            return type - 1;
        default:
            return type;
    }
}

// Both words are in network byte order.
struct FlowPorts {
    uint16_t source = 0;
    uint16_t destination = 0;
    uint32_t word() const { return uint32_t{destination} << 16 | source; }
};

// `l4` of a TCP, UDP, SCTP, ICMP or ICMPv6 header: 8 bytes, proven. Other protocols have no ports.
inline FlowPorts flow_ports(uint8_t protocol, const uint8_t* l4) {
    FlowPorts ports;
    switch (protocol) {
        case kProtoTcp:
        case kProtoUdp:
        case kProtoSctp:
            std::memcpy(&ports, l4, sizeof ports);
            break;
        case kProtoIcmp:
        case kProtoIcmp6:
            if (icmp_counterpart(protocol, l4[0]) != l4[0]) std::memcpy(&ports.source, l4 + 4, 2);
            ports.destination = Be16{l4[0]}.raw();
            break;
        default:
            break;
    }
    return ports;
}

// Of a parsed packet, as FlowPorts::word() would be.
inline uint32_t ports_of(const PacketMeta& meta) {
    if (meta.l4_length == 0) return 0;
    const uint8_t* l4 = meta.l3 + meta.l3_length;
    if (meta.protocol != kProtoUdp && meta.protocol != kProtoTcp) [[unlikely]]
        return flow_ports(meta.protocol, l4).word();
    uint32_t word;
    std::memcpy(&word, l4, sizeof word);
    return word;
}

// What FlowKey::ingress says of a port.
inline PortId ingress_class(const PortConfig& port) {
    return port.kind == PortKind::kUplink ? kNoPort : port.id;
}

// FlowKey::where of packets of a VRF from a port, but for their protocol.
inline uint32_t flow_origin(const PortConfig& in, VrfId vrf) {
    return FlowKey::pack(ingress_class(in), vrf, 0);
}

// The key of a packet from flow_origin() `where`, made in place: a copy made at once of what has
// just been written in smaller pieces stalls the core. REQUIRES: meta is of a parsed packet of the
// header's family.
template <typename Header>
inline void make_flow_key(const PacketMeta& meta, uint32_t where, FlowKey& key) {
    const auto& ip = *reinterpret_cast<const Header*>(meta.l3);
    key.source = flow_address(ip.source);
    key.destination = flow_address(ip.destination);
    key.set_ends(ports_of(meta), where | meta.protocol);
}
// The same of either family.
inline void make_flow_key(const PacketMeta& meta, uint32_t where, FlowKey& key) {
    if (meta.kind == PacketKind::kIpv4) return make_flow_key<Ipv4Header>(meta, where, key);
    make_flow_key<Ipv6Header>(meta, where, key);
}
inline FlowKey flow_key(const PacketMeta& meta, const PortConfig& in, VrfId vrf) {
    FlowKey key;
    make_flow_key(meta, flow_origin(in, vrf), key);
    return key;
}

// The key of the answers, which come from `ingress`.
inline FlowKey reverse_key(const FlowKey& key, PortId ingress) {
    FlowKey reverse{.source = key.destination,
                    .destination = key.source,
                    .source_port = key.destination_port,
                    .destination_port = key.source_port,
                    .where = FlowKey::pack(ingress, key.vrf(), key.protocol())};
    if (key.protocol() == kProtoIcmp || key.protocol() == kProtoIcmp6) {
        const auto type = static_cast<uint8_t>(Be16::from_raw(key.destination_port).to_host());
        reverse.source_port = key.source_port;
        reverse.destination_port = Be16{icmp_counterpart(key.protocol(), type)}.raw();
    }
    return reverse;
}

// As ==, in fewer instructions. Keys do not change while they can be found: these loads need not be
// atomic.
inline bool same_key(const FlowKey& a, const FlowKey& b) {
    static_assert(offsetof(FlowKey, source_port) == 32);
    return same_32_bytes(&a, &b) && a.ends() == b.ends();
}

}  // namespace slash32
