// SPDX-License-Identifier: Apache-2.0
// The kernel's forwarding and connection tracking between two TAP devices of this network
// namespace, "client" and "server", which must exist and be configured.
#pragma once

#include "tests/support/packet.h"

namespace slash32::test {

class KernelRouter {
  public:
    KernelRouter();  // aborts where a device cannot be taken
    ~KernelRouter();
    KernelRouter(const KernelRouter&) = delete;
    KernelRouter& operator=(const KernelRouter&) = delete;

    // Whether the frame leaves by the other device. The kernel forwards before write() returns.
    bool passes(bool forward, const Bytes& frame);

  private:
    int taps_[2];  // the client's, the server's
};

}  // namespace slash32::test
