// SPDX-License-Identifier: Apache-2.0
// The kernel's routing as the router follows it: what the operator's daemons, addresses and
// commands put into its tables is how packets leave by the uplinks.
//
// Thread safety: the control thread.
#pragma once

#include "ctrl/netlink/mirror.h"
#include "ctrl/plane/forwarding_plane.h"
#include "ctrl/routing/hop_sets.h"
#include "ctrl/routing/kernel_routes.h"
#include "ctrl/routing/neighbors.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace slash32 {

class KernelRouting final : public KernelListener {
  public:
    struct Options {
        std::map<std::string, PortId> uplinks;  // by the name of the host's view of them
        KernelRoutes::Options routes;
    };

    // In the network namespace of this thread. `plane` outlives it. Errors: kUnavailable.
    static Result<std::unique_ptr<KernelRouting>> start(asio::io_context& io,
                                                        ForwardingPlane& plane, Options options);
    ~KernelRouting() override;

    // A frame that lacks the MAC address of its next hop.
    void unresolved(std::span<const uint8_t> frame) { neighbors_->hold(frame); }

    // As after an overrun.
    void read_all_again() { mirror_->resync_soon(); }

    const KernelRoutes& routes() const { return routes_; }
    const HopSets& hop_sets() const { return sets_; }
    const MirrorStats& mirror() const { return mirror_->stats(); }
    NeighborStats neighbors() const { return neighbors_->stats(); }

  private:
    KernelRouting(asio::io_context& io, ForwardingPlane& plane, Options options);

    void link(const LinkMessage&, bool gone) override;
    void address(const AddressMessage&, bool gone) override;
    void neighbor(const NeighborMessage& m, bool gone) override { neighbors_->take(m, gone); }
    void next_hop(const NextHopMessage&, bool gone) override;
    void route(const RouteMessage&, bool gone, bool appended) override;
    void dump_begins() override;
    void dump_ends() override;
    void settled() override;
    void set_sources();
    void tell_flows();
    void refresh_tunnels_soon();

    ForwardingPlane& plane_;
    const std::map<std::string, PortId> uplinks_;
    HopSets sets_;
    KernelRoutes routes_;
    std::unique_ptr<Neighbors> neighbors_;
    std::set<uint32_t> up_;  // interfaces
    std::set<AddressMessage> addresses_;
    std::set<AddressMessage> told_;    // in the present dump
    std::set<uint32_t> objects_;       // that are there
    std::set<uint32_t> told_objects_;  // in the present dump
    bool dumping_ = false;
    bool addresses_changed_ = false;
    asio::steady_timer tunnel_timer_;
    asio::steady_timer flow_timer_;
    bool flow_timer_runs_ = false;
    std::unique_ptr<KernelMirror> mirror_;  // goes first
};

}  // namespace slash32
