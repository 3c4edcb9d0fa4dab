// SPDX-License-Identifier: Apache-2.0
// Next hops that routes share, by index; each knows the plane's id once it has one.
//
// Belongs to the control thread. An entry lives while routes or pins hold it: a pin is held by a
// change that is being planned or carried out, a route by the RIB and, until its replacement has
// been programmed, by the change that took it out. Limits: kMaxNextHops entries.
#pragma once

#include "ctrl/intent/model.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

namespace slash32 {

// As NextHopSpec, with the port by its index in the port table: a port that is not yet made has no
// PortId.
struct HopSpec {
    NextHopSpec::Kind kind = NextHopSpec::Kind::kBlackhole;
    uint16_t port = UINT16_MAX;
    std::optional<IpAddress> via;
    std::optional<Mac> mac;
    SegmentHop segment_routing{};
    VrfId vrf{};
    static constexpr uint16_t kNoPortIndex = UINT16_MAX;
    bool has_port() const { return port != kNoPortIndex; }
    // The VRF that a route or a segment leads into.
    std::optional<VrfId> leads_into() const {
        if (kind == NextHopSpec::Kind::kVrf) return vrf;
        return segment_routing.sid ? std::optional(segment_routing.sid->vrf) : std::nullopt;
    }
    bool leads_over(uint16_t index) const { return has_port() && port == index; }
    auto operator<=>(const HopSpec&) const = default;
};

class NextHopTable {
  public:
    // `release` gives back a plane's id when the entry goes.
    explicit NextHopTable(std::function<void(NextHopId)> release) : release_(std::move(release)) {}

    // The entry for `spec`, made if there is none, with a pin more. Errors: kLimit.
    Result<uint32_t> pin(const HopSpec& spec);
    void unpin(uint32_t index);
    void add_route(uint32_t index) { ++entries_[index].routes; }
    void drop_route(uint32_t index);

    const HopSpec& spec(uint32_t index) const { return entries_[index].spec; }
    // kNoNextHop until set_id.
    NextHopId id(uint32_t index) const { return entries_[index].id; }
    void set_id(uint32_t index, NextHopId id) { entries_[index].id = id; }
    // Gives the plane's ids of every next hop over `port` back; routes must be programmed anew.
    void forget_port(uint16_t port);
    size_t size() const { return by_spec_.size(); }
    // Those of routes that age.
    const std::set<uint32_t>& aging() const { return aging_; }

  private:
    struct Entry {
        HopSpec spec;
        uint32_t routes = 0;
        uint32_t pins = 0;
        NextHopId id;
    };
    void free_if_unused(uint32_t index);

    std::function<void(NextHopId)> release_;
    std::vector<Entry> entries_;
    std::vector<uint32_t> free_;
    std::map<HopSpec, uint32_t> by_spec_;
    std::set<uint32_t> aging_;
};

}  // namespace slash32
