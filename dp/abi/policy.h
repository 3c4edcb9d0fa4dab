// SPDX-License-Identifier: Apache-2.0
// A compiled policy: the union of the rules of a port's security groups, as workers classify the
// first packet of a flow by it. Built by control (ctrl/policy), published whole in a PortConfig,
// immutable, freed after every worker has let go. Lookup: dp/table/policy.h.
//
// Rules only allow: a packet that none matches is denied. Where several match, a stateful one
// decides, since what it lets through needs its answers let through too.
#pragma once

#include "dp/base/ids.h"

#include <cstdint>

namespace slash32 {

// From the VM's point of view, as Neutron's: egress is what it sends.
enum class PolicyDirection : uint8_t { kEgress, kIngress };

// Of one direction and address family.
struct PolicyTable;

struct Policy {
    uint32_t generation = 0;  // no two policies of a daemon's life have the same; never 0
    // By PolicyDirection, then IPv4 and IPv6; nullptr: nothing is allowed.
    const PolicyTable* tables[2][2] = {};

    const PolicyTable* table(PolicyDirection direction, bool ipv6) const {
        return tables[static_cast<unsigned>(direction)][ipv6 ? 1 : 0];
    }
};

}  // namespace slash32
