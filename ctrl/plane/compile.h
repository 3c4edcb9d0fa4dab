// SPDX-License-Identifier: Apache-2.0
// From what an owner wants of a port to what workers read. Pure functions.
#pragma once

#include "ctrl/intent/model.h"
#include "ctrl/plane/plane.h"
#include "dp/abi/port.h"

#include <memory>

namespace slash32 {

// The router's own identity, the same on every port and every hypervisor.
struct RouterIdentity {
    Mac mac;
    Ip4 gateway4;  // source of ICMP errors where a port names no gateway of its own
    Ip6 gateway6;
};

// The address whose interface identifier is the modified EUI-64 of `mac` (RFC 4291 appendix A) in
// the /64 of `prefix`.
Ip6 eui64_address(const Ip6& prefix, const Mac& mac);

// `policy` is that of the port's groups, nullptr where they are open or none.
// REQUIRES: the intent has been validated; its counts are within dp/base/limits.h.
std::unique_ptr<PortConfig> compile_port(PortId id, const PortIntent& intent,
                                         const RouterIdentity& router, TxPort* tx,
                                         const Policy* policy);

// What an uplink has become.
struct UplinkLink {
    Mac mac;
    TxPort* tx = nullptr;
    PortId host_view;  // kNoPort: none
    const VlanPorts* vlans = nullptr;
    std::vector<IpAddress> addresses;  // of the host on it: sources of ICMP errors
};
std::unique_ptr<PortConfig> compile_uplink(PortId id, const UplinkSpec& spec,
                                           const RouterIdentity& router, const UplinkLink& link);

// The host's view of an uplink.
std::unique_ptr<PortConfig> compile_host_view(PortId id, PortId uplink, const Mac& mac, TxPort* tx);

// Of kResolverPort: to policies and flows it is an uplink.
std::unique_ptr<PortConfig> compile_resolver(TxPort* tx);

}  // namespace slash32
