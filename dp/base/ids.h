// SPDX-License-Identifier: Apache-2.0
// Strong ids: an index of one table is never passed where another's is wanted.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace slash32 {

template <typename Tag, typename Int>
class StrongId {
  public:
    using Value = Int;
    constexpr StrongId() = default;
    explicit constexpr StrongId(Int value) : value_(value) {}
    constexpr Int value() const { return value_; }
    constexpr auto operator<=>(const StrongId&) const = default;

  private:
    Int value_ = 0;
};

// A port of any kind (vhost-user, TAP, uplink); 0 is never assigned.
using PortId = StrongId<struct PortIdTag, uint16_t>;
// VRF 0 is the flat network.
using VrfId = StrongId<struct VrfIdTag, uint16_t>;
using WorkerId = StrongId<struct WorkerIdTag, uint8_t>;
// What a route leads to: an adjacency, or a group of them; 0 means "no route".
using NextHopId = StrongId<struct NextHopIdTag, uint32_t>;

// A set of addresses that rules refer to; 0 means "no set".
using SetId = StrongId<struct SetIdTag, uint16_t>;
// A rule of a security group, for its hit counter; 0 means "no rule".
using RuleId = StrongId<struct RuleIdTag, uint16_t>;

inline constexpr PortId kNoPort{0};
inline constexpr SetId kNoSet{0};
inline constexpr RuleId kNoRule{0};
inline constexpr NextHopId kNoNextHop{0};

}  // namespace slash32

template <typename Tag, typename Int>
struct std::hash<slash32::StrongId<Tag, Int>> {
    size_t operator()(slash32::StrongId<Tag, Int> id) const noexcept {
        return std::hash<Int>{}(id.value());
    }
};
