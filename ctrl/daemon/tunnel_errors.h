// SPDX-License-Identifier: Apache-2.0
// Passes on what the fabric says of tunnelled packets: their senders hear of it as if the tunnel
// were a link (RFC 2473 section 8). They are VMs of this node or, at a gateway, anywhere.
//
// Belongs to the control thread.
#pragma once

#include "ctrl/plane/forwarding_plane.h"
#include "ctrl/publish/publisher.h"

#include <cstdint>
#include <span>

struct rte_mempool;

namespace slash32 {

class TunnelErrors {
  public:
    // Everything given outlives it.
    TunnelErrors(ForwardingPlane& plane, Publisher& publisher, rte_mempool* pool)
        : plane_(plane), publisher_(publisher), pool_(pool) {}

    // An ICMPv6 error about a packet of this node's tunnels, from the Ethernet header on. A smaller
    // MTU is learnt for a while; the sender gets an ICMP error by the way that answers to it take.
    void take(std::span<const uint8_t> frame);
    // To be called every second or so.
    void age();

  private:
    ForwardingPlane& plane_;
    Publisher& publisher_;
    rte_mempool* pool_;
};

}  // namespace slash32
