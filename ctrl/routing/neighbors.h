// SPDX-License-Identifier: Apache-2.0
// Neighbours on uplinks, as the kernel finds them: for the routes that want them, and for packets
// to whoever is on the link.
//
// The kernel asks and answers, by ARP and ND on the host's view of the uplink; it is told here
// which neighbours are in use, so that it looks for them, and looks again before it forgets them.
// Packets that come before the answer are held, a few a neighbour.
//
// Thread safety: the control thread.
#pragma once

#include "ctrl/netlink/messages.h"
#include "ctrl/netlink/packet_socket.h"
#include "ctrl/netlink/socket.h"
#include "ctrl/plane/forwarding_plane.h"
#include "ctrl/routing/hop_sets.h"
#include "ctrl/routing/kernel_routes.h"
#include "dp/base/result.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace slash32 {

struct NeighborStats {
    size_t known = 0;       // whose MAC address we have
    size_t failed = 0;      // that do not answer
    size_t held = 0;        // packets that wait
    uint64_t released = 0;  // that have been sent on
    uint64_t lost = 0;      // that have not: no answer, or no room to hold them
};

class Neighbors {
  public:
    // In the network namespace of this thread. Errors: kUnavailable.
    static Result<std::unique_ptr<Neighbors>> open(asio::io_context& io, ForwardingPlane& plane,
                                                   HopSets& sets, KernelRoutes& routes);
    Neighbors(const Neighbors&) = delete;
    Neighbors& operator=(const Neighbors&) = delete;

    void take(const NeighborMessage& message, bool gone);
    // Between them everything is told again; what is not is gone.
    void begin_dump() { ++epoch_; }
    void end_dump();
    // A route has come to want the neighbour, or none does any more.
    void want(PortId port, const IpAddress& address, bool wanted);
    // A frame that is complete but for the MAC address of its next hop.
    void hold(std::span<const uint8_t> frame);

    NeighborStats stats() const;

  private:
    using Key = std::pair<PortId, IpAddress>;
    using Clock = asio::steady_timer::clock_type;
    struct Neighbor {
        uint16_t state = 0;  // NUD_*
        std::optional<Mac> mac;
        uint32_t epoch = 0;
        bool wanted = false;
        bool found = false;          // by packets to it: it has a route of its own
        Clock::time_point failed{};  // when it was last seen not to answer, unless it has since
        std::vector<std::vector<uint8_t>> held;
        bool has_failed() const { return failed != Clock::time_point{}; }
    };

    Neighbors(asio::io_context& io, ForwardingPlane& plane, HopSets& sets, KernelRoutes& routes);
    void learn(const Key& key, Neighbor& neighbor);
    void forget(const Key& key, Neighbor& neighbor);
    void solicit(const Key& key);
    std::optional<NeighborMessage> look_up(uint32_t interface, const IpAddress& address);
    void release(const Key& key, Neighbor& neighbor);
    void lose(Neighbor& neighbor);
    void drop_route(const Key& key, Neighbor& neighbor);
    VrfId vrf_of(PortId port) const;
    bool in_use(const Neighbor& neighbor) const { return neighbor.wanted || neighbor.found; }
    void look_after_all();
    void wait();

    ForwardingPlane& plane_;
    HopSets& sets_;
    KernelRoutes& routes_;
    NetlinkSocket socket_;
    PacketSocket packets_;
    asio::steady_timer timer_;
    std::map<Key, Neighbor> neighbors_;
    uint32_t epoch_ = 1;
    uint32_t ticks_ = 0;
    size_t found_ = 0;
    size_t held_ = 0;
    uint64_t released_ = 0;
    uint64_t lost_ = 0;
};

}  // namespace slash32
