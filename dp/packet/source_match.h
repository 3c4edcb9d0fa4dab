// SPDX-License-Identifier: Apache-2.0
// May a port send from (MAC, address)? A search over its pairs, fixed addresses first.
#pragma once

#include "dp/abi/port.h"
#include "dp/base/net.h"
#include "dp/base/prefix_match.h"

#include <cstdint>

namespace slash32 {

enum class SourceMatch : uint8_t {
    kNoMac,      // no pair has the MAC
    kNoAddress,  // one has the MAC, none has it with the address
    kFixed,      // the VM's own address
    kPair,       // an allowed address pair
};

inline bool prefix_covers(const IpPrefix& prefix, const Ip4& address) {
    return prefix.address.family == Family::kIpv4 && PrefixMatch<Ip4>(prefix).covers(address);
}
inline bool prefix_covers(const IpPrefix& prefix, const Ip6& address) {
    return prefix.address.family == Family::kIpv6 && PrefixMatch<Ip6>(prefix).covers(address);
}

inline bool port_has_mac(const PortConfig& port, const Mac& mac) {
    for (unsigned i = 0; i < port.source_count; ++i) {
        if (port.sources[i].mac == mac) return true;
    }
    // A port without addresses may still ask DHCP for one.
    return port.mac == mac;
}

template <typename Address>
inline SourceMatch match_source(const PortConfig& port, const Mac& mac, const Address& address) {
    for (unsigned i = 0; i < port.source_count; ++i) {
        const SourcePair& source = port.sources[i];
        if (source.mac == mac && prefix_covers(source.prefix, address)) {
            return source.fixed ? SourceMatch::kFixed : SourceMatch::kPair;
        }
    }
    return port_has_mac(port, mac) ? SourceMatch::kNoAddress : SourceMatch::kNoMac;
}

// RFC 4291 appendix A: fe80::/64 and the modified EUI-64 identifier of a MAC.
inline Ip6 eui64_link_local(const Mac& mac) {
    const auto& m = mac.bytes;
    return Ip6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(m[0] ^ 2), m[1], m[2], 0xff,
                0xfe, m[3], m[4], m[5]}};
}

// Is `address` the VM's own, with whatever MAC?
template <typename Address>
bool is_fixed_address(const PortConfig& port, const Address& address) {
    for (unsigned i = 0; i < port.source_count && port.sources[i].fixed; ++i) {
        if (prefix_covers(port.sources[i].prefix, address)) return true;
    }
    return false;
}

// The link-local address that the router advertises itself with on a port: RFC 4861 section 4.2
// asks for one, whatever gateway is configured.
inline Ip6 router_link_local(const PortConfig& port) {
    return port.gateway6.is_link_local() ? port.gateway6 : eui64_link_local(port.router_mac);
}

// Is `address` one that the router answers to on a port?
inline bool is_router_address(const PortConfig& port, const Ip4& address) {
    if (address == port.gateway4) return true;
    for (unsigned i = 0; i < port.gateway_count; ++i) {
        if (port.gateways[i].is_ipv4() && port.gateways[i].ipv4() == address) return true;
    }
    return false;
}
inline bool is_router_address(const PortConfig& port, const Ip6& address) {
    if (address == port.gateway6) return true;
    for (unsigned i = 0; i < port.gateway_count; ++i) {
        if (!port.gateways[i].is_ipv4() && port.gateways[i].ipv6() == address) return true;
    }
    return address.is_link_local() && address == router_link_local(port);
}

}  // namespace slash32
