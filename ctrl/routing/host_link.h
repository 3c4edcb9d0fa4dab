// SPDX-License-Identifier: Apache-2.0
// The host's link: a TAP port by which the host and its VMs reach each other.
#pragma once

#include "ctrl/intent/requests.h"
#include "dp/base/net.h"

#include <string>
#include <vector>

namespace slash32 {

struct HostLink {
    std::string interface;
    Mac mac;
    std::vector<IpAddress> addresses;  // of the host, that VMs may reach
};

// The port as an owner would ask for it. Unfiltered: what comes to a VM is judged by the VM's own
// policy, what comes to the host by the host's firewall. Its addresses are not announced: the host
// sees to its own.
PortApply host_port(const HostLink& link);

// The kernel's side takes no router advertisements: its routes are the operator's. Without IPv6
// there is nothing to do.
void refuse_router_advertisements(const std::string& interface);

}  // namespace slash32
