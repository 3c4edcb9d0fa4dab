// SPDX-License-Identifier: Apache-2.0
// A port as workers see it: an immutable snapshot, built by control, replaced whole by a command,
// and freed after every worker has acknowledged its replacement.
#pragma once

#include "dp/abi/device.h"
#include "dp/base/limits.h"
#include "dp/base/net.h"

#include <array>
#include <cstdint>

namespace slash32 {

// kHost: the host's view of an uplink, a TAP interface of its kernel.
enum class PortKind : uint8_t { kVhost, kTap, kUplink, kHost };

enum PortFlag : uint16_t {
    kPortSecurity = 1u << 0,   // sources are checked against `sources`
    kFilterOpen = 1u << 1,     // the group `any`, or no port security: nothing is filtered
    kSendRa = 1u << 2,         // has an IPv6 gateway: router solicitations are answered
    kRaManaged = 1u << 3,      // RFC 4861 section 4.2, M flag
    kHostLink = 1u << 5,       // between the host and its VMs
    kAnswersForVms = 1u << 6,  // an uplink in L2 mode: ARP and ND for the VMs' addresses
    kLogDenied = 1u << 4,      // control is told of packets that the filter refuses, within a rate
};

// One (MAC, prefix) that the port may send from.
struct SourcePair {
    IpPrefix prefix;
    Mac mac;
    bool fixed = false;  // the VM's own address, as against an allowed pair
};

// An on-link prefix for router advertisements.
struct RaPrefix {
    Ip6 prefix;
    uint8_t length = 64;
    bool autonomous = false;  // the VM's address is its EUI-64 one in this prefix (SLAAC)
};

struct Policy;     // dp/abi/policy.h
struct VlanPorts;  // dp/abi/vlan.h

// One published at which the capture of a port's packets starts; see dp/abi/capture.h.
struct Capture;

// Takes packets to next hops whose MAC address is not known yet, and hands them to control.
inline constexpr PortId kResolverPort{kMaxPorts - 1};

struct PortConfig {
    PortId id;
    PortKind kind = PortKind::kVhost;
    uint16_t flags = 0;
    VrfId vrf;
    uint16_t mtu = kDefaultMtu;  // of the IP packet, bytes
    Mac mac;                     // the VM's
    Mac router_mac;              // ours on this port: the gateway MAC, or an uplink's own
    TxPort* tx = nullptr;
    PortId twin;  // of an uplink the host's view of it, of that the uplink; kNoPort: none
    const VlanPorts* vlans = nullptr;  // of an uplink that has some
    const Policy* policy =
        nullptr;  // of the port's groups; nullptr: by kFilterOpen, all or nothing

    Ip4 gateway4;  // source of ICMP errors and answers; always set
    Ip6 gateway6;  // the same, a link-local or global one; always set
    uint8_t gateway_count = 0;
    uint8_t source_count = 0;
    uint8_t ra_prefix_count = 0;
    std::array<IpAddress, kMaxGatewaysPerPort> gateways;   // answered as our own
    std::array<SourcePair, kMaxAddressesPerPort> sources;  // fixed addresses first
    std::array<RaPrefix, kMaxGatewaysPerPort> ra_prefixes;

    bool has(PortFlag flag) const { return (flags & flag) != 0; }
};

}  // namespace slash32
