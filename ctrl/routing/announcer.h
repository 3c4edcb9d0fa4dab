// SPDX-License-Identifier: Apache-2.0
// Routes out: the host routes of VMs that are really there stand in a table of the kernel, from
// where the operator's routing daemon announces them (`redistribute kernel`, a kernel protocol that
// learns). They lead to the interface by which the host reaches its VMs.
//
// What stands there from before a restart is left alone for a while, so that a VM that comes back
// is not withdrawn and announced again.
//
// Thread safety: the control thread.
#pragma once

#include "ctrl/api/services.h"
#include "ctrl/netlink/route_monitor.h"
#include "ctrl/netlink/route_socket.h"
#include "ctrl/plane/forwarding_plane.h"
#include "dp/base/ids.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace slash32 {

class Announcer final : public AnnounceService {
  public:
    struct Options {
        std::string interface;
        uint32_t table = 254;  // of ports that name none
        uint32_t metric = 1;   // not 0, which the kernel would turn into another
        uint8_t protocol = 0;
        std::chrono::seconds hold{0};     // how long what stands from before is left alone
        std::optional<IpPrefix> locator;  // of the node's segments: announced as long as we run
    };

    // In the network namespace of this thread; the interface may come later. Errors: kUnavailable.
    static Result<std::unique_ptr<Announcer>> start(asio::io_context& io, Options options);

    // What is to be announced for the port, in place of what was before. A route of two ports (in a
    // move) stands until neither has it.
    void set_port(PortId port, const Reachable& reachable);

    // All ports' routes go, or become worse than any other router's (kDrainedMetric more), or are
    // as they were.
    void set_drain(Drain drain);

    std::vector<IpAddress> announced(PortId port) const override;
    // Routes that stand in the kernel, those held from before included.
    size_t count() const { return standing_.size(); }
    // What is wanted and could not be had, in the last attempt's words; empty: nothing.
    const std::string& problem() const { return problem_; }

  private:
    using Clock = asio::steady_timer::clock_type;
    using Routes = std::set<KernelRoute>;  // their interface is 0: there is but one
    // Still wanted for a while, of a port (kNoPort: one that was removed).
    struct Lingering {
        PortId port;
        Routes routes;
        Clock::time_point end;
    };

    Announcer(asio::io_context& io, Options options, std::unique_ptr<RouteSocket> routes);
    Routes routes_of(const Reachable& reachable) const;
    void claim(const Routes& routes);
    void disclaim(const Routes& routes);
    void announce(const KernelRoute& route);
    void withdraw(const KernelRoute& route);
    void end_lingering(PortId port);
    void expire_lingering();
    void wait_for_lingering();
    void reconcile();
    void reconcile_soon(std::chrono::milliseconds delay);
    void report(std::string problem);

    const Options options_;
    std::unique_ptr<RouteSocket> socket_;
    std::unique_ptr<RouteMonitor> monitor_;
    struct Port {
        Reachable reachable;
        Routes routes;
    };
    std::map<PortId, Port> ports_;
    Drain drain_ = Drain::kNone;
    std::vector<Lingering> lingering_;
    std::map<KernelRoute, unsigned> wanted_;  // by how many
    Routes standing_;                         // in the kernel, as far as we know
    uint32_t interface_ = 0;                  // 0: it is not there
    std::string problem_;
    bool holding_ = true;
    asio::steady_timer hold_timer_;
    asio::steady_timer linger_timer_;
    asio::steady_timer reconcile_timer_;
    bool reconcile_scheduled_ = false;
};

}  // namespace slash32
