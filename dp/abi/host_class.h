// SPDX-License-Identifier: Apache-2.0
// What an uplink receives for the host, by classes that are limited each for itself, so that a
// flood of one starves no other.
#pragma once

#include "dp/abi/drop_reason.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace slash32 {

enum class HostClass : uint8_t { kNeighbour, kRouting, kIcmp, kLink, kGroup, kOther };

struct HostClassText {
    std::string_view name;        // in the configuration
    DropReason limited;           // of what exceeds the limit
    uint32_t packets_per_second;  // by default, of one worker
};

// By HostClass. Routing is bulk TCP when a full table is learnt; what is neither of the others is
// the host's own traffic, which may be bulk as well.
inline constexpr std::array<HostClassText, 6> kHostClasses = {{
    {"neighbour", DropReason::kHostLimitNeighbour, 2'000},
    {"routing", DropReason::kHostLimitRouting, 50'000},
    {"icmp", DropReason::kHostLimitIcmp, 1'000},
    {"link", DropReason::kHostLimitLink, 200},
    {"group", DropReason::kHostLimitGroup, 1'000},
    {"other", DropReason::kHostLimitOther, 200'000},
}};

// Packets a second of each class.
using HostLimits = std::array<uint32_t, kHostClasses.size()>;

inline constexpr HostLimits kDefaultHostLimits = [] {
    HostLimits limits{};
    for (size_t i = 0; i < limits.size(); ++i)
        limits[i] = kHostClasses[i].packets_per_second;
    return limits;
}();

}  // namespace slash32
