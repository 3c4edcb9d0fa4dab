// SPDX-License-Identifier: Apache-2.0
// Sends frames out of interfaces of the kernel (packet(7)); receives none.
//
// Thread safety: one thread at a time.
#pragma once

#include "dp/base/result.h"

#include <cstdint>
#include <span>

namespace slash32 {

class PacketSocket {
  public:
    // In the network namespace of this thread. Without the right to such sockets nothing is sent.
    PacketSocket();
    ~PacketSocket();
    PacketSocket(const PacketSocket&) = delete;
    PacketSocket& operator=(const PacketSocket&) = delete;

    // Whether frames can be sent at all. Errors: kUnavailable.
    Result<void> usable() const;
    // A whole Ethernet frame. False where the interface is down, has no room, or is not there.
    bool send(uint32_t interface, std::span<const uint8_t> frame) const;

  private:
    int fd_;
    int error_;  // why there is none
};

}  // namespace slash32
