// SPDX-License-Identifier: Apache-2.0
// A rule of a security group as the policy compiler takes it: names resolved, values in range.
#pragma once

#include "dp/abi/policy.h"
#include "dp/base/ids.h"
#include "dp/base/net.h"

#include <cstdint>
#include <optional>

namespace slash32 {

// One allow rule. A packet matches when everything that the rule names agrees. The remote end is
// the destination of what a VM sends, and the source of what it receives.
struct PolicyRule {
    PolicyDirection direction = PolicyDirection::kIngress;
    Family family = Family::kIpv4;
    std::optional<uint8_t> protocol;  // absent: any
    // Destination ports of TCP, UDP and SCTP; of ICMP and ICMPv6, type << 8 | code. A rule that
    // names no ports has the full range. REQUIRES: low <= high; the full range unless `protocol`
    // is one of these.
    uint16_t low = 0;
    uint16_t high = UINT16_MAX;
    // At most one of the two; neither: any address.
    std::optional<IpPrefix> prefix;  // of the rule's family
    SetId set;
    bool stateful = true;
    RuleId id;  // for its hit counter

    bool operator==(const PolicyRule&) const = default;
};

}  // namespace slash32
