// SPDX-License-Identifier: Apache-2.0
// Classification of first packets by compiled policies (dp/abi/policy.h).
//
// Thread safety: any worker; tables are immutable, sets are looked up while control changes them.
#pragma once

#include "dp/abi/generations.h"
#include "dp/abi/policy.h"
#include "dp/base/ids.h"
#include "dp/table/fib.h"

#include <array>
#include <cstdint>

namespace slash32 {

// What a rule looks at.
struct PolicyQuery {
    std::array<uint64_t, 2> remote;  // the other end's address as it stands in a FlowKey
    uint8_t protocol;
    // Host order: destination port of TCP, UDP and SCTP; type << 8 | code of ICMP and ICMPv6; 0
    // else.
    uint16_t port;
};

struct PolicyVerdict {
    bool allowed = false;
    bool stateful = false;
    RuleId rule;                  // that decided; kNoRule where none did
    SetId set;                    // the remote of the deciding rule, kNoSet where it is none
    uint32_t set_generation = 0;  // of `set`, loaded before its members were looked at
};

// Address sets as workers see them: host routes and prefixes by (SetId as VrfId, address).
struct AddressSetView {
    FibView members;
    const Generations* generations = nullptr;
};

// Judges the lanes of `mask`: queries[i] by tables[i] (nullptr: denied) into verdicts[i]; other
// lanes are neither read nor written. Several lookups are in flight at once.
void classify_bulk(const AddressSetView& sets, uint32_t mask, const PolicyTable* const* tables,
                   const PolicyQuery* queries, PolicyVerdict* verdicts);

}  // namespace slash32
