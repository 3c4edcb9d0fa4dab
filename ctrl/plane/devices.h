// SPDX-License-Identifier: Apache-2.0
// What the plane asks of the drivers, and what it hears from them.
//
// Implemented over drivers/ in ctrl/daemon, and by a recording fake in tests. Everything is called
// and heard on the control thread; opening and closing go on in the background.
#pragma once

#include "ctrl/intent/model.h"
#include "ctrl/plane/plane.h"
#include "dp/abi/device.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace slash32 {

struct DeviceEvent {
    enum class Type : uint8_t {
        kWaiting,       // no frontend: `reason` says for what, `last_error` what the last try met
        kConnected,     // a frontend has connected; features and rings are not settled yet
        kRingsReady,    // packets can pass; again when `queue_pairs` changes
        kRingsOff,      // the frontend has stopped its rings
        kDisconnected,  // the frontend has gone
        kFailed,        // given up, `reason` says why; only reopening helps
    };
    Type type;
    PortId port;
    std::string reason;
    std::string last_error;
    uint16_t mtu = 0;
    uint16_t queue_pairs = 0;
    std::vector<std::string> features;
    std::optional<PortLinkInfo> link;  // of an uplink
};

// What workers use of a device. Both live until close() has called back; a queue without a peer
// gives no packets.
struct DeviceHandles {
    TxPort* tx = nullptr;
    std::vector<RxQueue*> rx;
};

class Devices {
  public:
    Devices() = default;
    Devices(const Devices&) = delete;
    Devices& operator=(const Devices&) = delete;
    virtual ~Devices() = default;

    // Starts a device for the port; its frontend may be absent for ever.
    // Errors: kLimit, kUnavailable, kInvalid.
    virtual Result<DeviceHandles> open(PortId, const PortIntent&) = 0;
    // Starts an uplink; `mac` receives its address.
    virtual Result<DeviceHandles> open_uplink(PortId, const UplinkSpec&, Mac& mac) = 0;
    // The same for a VLAN of an uplink that is open. It has no receive queue: workers find its
    // packets among the uplink's.
    virtual DeviceHandles open_vlan(PortId, PortId uplink, const UplinkSpec&, Mac& mac) = 0;
    // Makes the interface by which the host sees an uplink: of the uplink's name and address.
    // Errors: kConflict (the name is taken), kForbidden, kUnavailable.
    virtual Result<DeviceHandles> open_host_view(PortId, const UplinkSpec&, const Mac& mac) = 0;
    // Whether a host's view has a carrier, as its uplink has a link.
    virtual void set_carrier(PortId host_view, bool up) = 0;
    // Zeros for a VLAN: what its frames met is counted of the uplink.
    virtual DeviceCounters counters(PortId uplink) = 0;
    // Nothing for a VLAN.
    virtual std::vector<DeviceOffload> offloads(PortId uplink) = 0;
    // Ends it. REQUIRES: no worker refers to the port's handles any more.
    virtual void close(PortId, std::function<void()> done) = 0;

    virtual void on_event(std::function<void(const DeviceEvent&)>) = 0;
};

}  // namespace slash32
