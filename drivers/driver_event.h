// SPDX-License-Identifier: Apache-2.0
// What drivers tell about a port, and what can be asked of them at any time.
//
// Events of one port come in order, from one thread of the driver's; the hook must not block and
// must not call back into the driver's destructor.
#pragma once

#include "dp/abi/device.h"
#include "dp/base/ids.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace slash32 {

enum class DriverEventType : uint8_t {
    kWaiting,     // nobody there: `path` says for whom, `reason` what the last try met
    kConnected,   // the frontend has connected; features and rings are not settled yet
    kRingsReady,  // packets can pass: `features`, `mtu`, `queue_pairs` hold; again when they change
    kRingsOff,    // the frontend stopped its rings, or has gone
    kDisconnected,  // the frontend has gone
    kFailed,        // taken down, `reason` says why
    kLinkUp,        // uplinks and TAP ports: the carrier
    kLinkDown,
};

// Of an uplink's link.
struct LinkInfo {
    uint32_t speed_mbps = 0;  // 0: not known
    uint32_t losses = 0;      // times it was lost since the start
};

struct DriverEvent {
    DriverEventType type;
    PortId port;
    std::string path;
    std::string reason;
    uint64_t features = 0;         // virtio feature bits, as negotiated
    uint16_t mtu = 0;              // bytes, as the frontend said; 0: it said nothing
    uint16_t queue_pairs = 0;      // enabled now
    std::optional<LinkInfo> link;  // kLinkUp, kLinkDown of an uplink
};

using DriverEventHook = std::function<void(const DriverEvent&)>;

// What workers get of a port. Both last until the driver's remove() has called back; a queue that
// has no peer gives no packets and costs nothing once it is armed.
struct PortHandles {
    TxPort* tx = nullptr;
    std::vector<RxQueue*> rx;
};

// "VIRTIO_NET_F_MRG_RXBUF", ... (virtio 1.2) for the bits of a virtio-net feature word.
std::vector<std::string> virtio_feature_names(uint64_t features);

}  // namespace slash32
