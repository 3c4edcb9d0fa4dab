// SPDX-License-Identifier: Apache-2.0
// By which of the underlay's routes the tunnels leave: that of their first segment, followed as
// routes come and go, so that workers need no second lookup.
//
// Thread safety: the control thread alone.
#pragma once

#include "ctrl/fib/fib.h"
#include "ctrl/plane/next_hop_groups.h"
#include "ctrl/plane/next_hops.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

namespace slash32 {

// The VRF that outer packets are routed in.
inline constexpr VrfId kUnderlayVrf{0};

// How well a tunnel's first segment is reached.
enum class Reach : uint8_t {
    kNone,
    kDefault,  // by a default route alone, which says nothing of that node
    kRoute,
};

class Tunnels {
  public:
    Tunnels(NextHops& hops, const Fib& fib, const NextHopGroups& groups)
        : hops_(hops), fib_(fib), groups_(groups) {}
    Tunnels(const Tunnels&) = delete;
    Tunnels& operator=(const Tunnels&) = delete;

    // Told of tunnels whose reach has changed.
    void on_reach(std::function<void(NextHopId tunnel)> hook) { hook_ = std::move(hook); }

    // A next hop of kind kTunnel.
    void add(NextHopId tunnel, const SegmentPath& path);
    void remove(NextHopId tunnel, const SegmentPath& path);
    // Those that end at a segment.
    const std::set<NextHopId>& ending_at(const Ip6& segment) const;

    // The fabric has said that packets to the segment, the last of their tunnels, may have `mtu`
    // bytes with all headers. It holds until `until`, and for what shares the first segment too.
    using Clock = std::chrono::steady_clock;
    void learn_mtu(const Ip6& last, uint16_t mtu, Clock::time_point until);
    // To be called every second or so.
    void forget_mtus(Clock::time_point now);

    // REQUIRES: a tunnel has this first segment; else kNone.
    Reach reach(const Ip6& segment) const;
    // Of any segment.
    Reach look(const Ip6& segment) const;

    // A route has changed.
    void route_changed(VrfId vrf, const IpPrefix& prefix);
    // The members of a group have.
    void group_changed(NextHopId group);

  private:
    // All tunnels with one first segment.
    struct Segment {
        std::set<NextHopId> tunnels;
        NextHopId underlay;
        uint16_t mtu = 0;      // of the link below, or what has been learnt if that is less
        uint16_t learned = 0;  // 0: nothing
        Clock::time_point learned_until;
        Reach reach = Reach::kNone;
    };

    void resolve(const Ip6& address, Segment& segment) const;
    uint16_t mtu_of(NextHopId hop) const;
    void refresh(const Ip6& address, Segment& segment);

    NextHops& hops_;
    const Fib& fib_;
    const NextHopGroups& groups_;
    std::function<void(NextHopId)> hook_ = [](NextHopId) {};
    std::map<Ip6, Segment> segments_;               // by the first
    std::map<Ip6, std::set<NextHopId>> ending_at_;  // by the last
    size_t learned_ = 0;                            // segments with an MTU that was learnt
};

}  // namespace slash32
