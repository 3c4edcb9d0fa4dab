// SPDX-License-Identifier: Apache-2.0
// Uplinks in L2 mode: tells the link that a VM is here now, so that switches and neighbours turn to
// this host at once. Said thrice, as a frame may be lost.
//
// Thread safety: the control thread.
#pragma once

#include "ctrl/netlink/packet_socket.h"
#include "ctrl/plane/forwarding_plane.h"
#include "dp/base/net.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace slash32 {

class LinkAnnouncer {
  public:
    struct Link {
        std::string interface;  // the host's view of the uplink
        Mac mac;
    };

    // In the network namespace of this thread. Without the right to packet sockets nothing is said.
    LinkAnnouncer(asio::io_context& io, std::vector<Link> links);
    LinkAnnouncer(const LinkAnnouncer&) = delete;
    LinkAnnouncer& operator=(const LinkAnnouncer&) = delete;

    // By which addresses the port's VM is reached; those that are new are announced.
    void set_port(PortId port, const Reachable& reachable);

  private:
    void say(const IpAddress& address) const;
    void say_again();

    const std::vector<Link> links_;
    PacketSocket packets_;
    asio::steady_timer timer_;
    std::map<PortId, std::set<IpAddress>> present_;
    std::map<IpAddress, unsigned> to_say_;  // how often still
};

}  // namespace slash32
