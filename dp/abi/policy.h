// SPDX-License-Identifier: Apache-2.0
// A compiled policy: the union of the rules of a port's security groups, as workers classify the
// first packet of a flow by it. Built by control (ctrl/policy), published whole in a PortConfig,
// immutable, freed after every worker has let go. Lookup: dp/table/policy.h.
//
// Rules only allow: a packet that none matches is denied. Where several match, a stateful one
// decides, since what it lets through needs its answers let through too.
#pragma once

#include "dp/base/ids.h"

#include <array>
#include <cstdint>

namespace slash32 {

// From the VM's point of view, as Neutron's: egress is what it sends.
enum class PolicyDirection : uint8_t { kEgress, kIngress };

// Destination ports low to high (of ICMP: type << 8 | code), and the rule that decides them.
struct PolicyRange {
    uint16_t low;
    uint16_t high;
    RuleId rule;
    bool stateful;
};

// The ranges of one protocol, in order and apart from each other.
struct PolicyProtocol {
    uint16_t protocol;  // kAnyProtocol: whatever it is
    uint32_t first;     // of PolicyTable::ranges
    uint32_t count;
};
inline constexpr uint16_t kAnyProtocol = 256;

// What the rules of one remote allow.
struct PolicyClass {
    uint32_t first = 0;  // of PolicyTable::protocols
    uint32_t count = 0;
};

// A remote prefix in the hash table of its length; `used` tells a free slot.
struct PolicyPrefix {
    std::array<uint64_t, 2> address;  // as in a FlowKey, host bits zero
    PolicyClass allows;
    uint32_t used;
};

// All remote prefixes of one length, by open addressing; at most half of the slots are used.
struct PolicyLength {
    std::array<uint64_t, 2> mask;
    const PolicyPrefix* slots;
    uint64_t slot_mask;  // number of slots - 1
};

struct PolicySet {
    SetId set;
    PolicyClass allows;
};

// Of one direction and address family. All that it points to is part of its allocation.
struct PolicyTable {
    PolicyClass any;  // rules without a remote
    uint32_t length_count;
    uint32_t set_count;
    const PolicyLength* lengths;
    const PolicySet* sets;
    const PolicyProtocol* protocols;
    const PolicyRange* ranges;
    std::array<uint64_t, 2> seed;  // of the hash, random: tenants choose the prefixes
};

struct Policy {
    uint32_t generation = 0;  // no two policies of a daemon's life have the same; never 0
    // By PolicyDirection, then IPv4 and IPv6; nullptr: nothing is allowed.
    const PolicyTable* tables[2][2] = {};

    const PolicyTable* table(PolicyDirection direction, bool ipv6) const {
        return tables[static_cast<unsigned>(direction)][ipv6 ? 1 : 0];
    }
};

}  // namespace slash32
