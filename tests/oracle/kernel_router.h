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

    // Whether the frame leaves by the other device. The kernel forwards before write() returns, but
    // for one that is busy: with a marker set, it is waited for.
    bool passes(bool forward, const Bytes& frame);
    // A packet of a flow that is established, which follows each one that did not come at once.
    void set_marker(bool forward, const Bytes& frame) { markers_[forward ? 0 : 1] = frame; }

  private:
    void clear();
    void send(bool forward, const Bytes& frame);
    bool arrives(bool forward, const Bytes& frame);

    int taps_[2];  // the client's, the server's
    Bytes markers_[2];
};

}  // namespace slash32::test
