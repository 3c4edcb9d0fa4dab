// SPDX-License-Identifier: Apache-2.0
// The plane's devices over the drivers: vhost-user, TAP and ethdev ports by one set of calls, and
// the drivers' events brought to the control thread.
//
// Thread safety: the control thread, but for the hooks given to drivers, which only post.
#pragma once

#include "ctrl/daemon/config.h"
#include "ctrl/holder/client.h"
#include "ctrl/plane/devices.h"
#include "drivers/driver_event.h"
#include "drivers/ethdev/uplink.h"
#include "drivers/tap/driver.h"
#include "drivers/vhost/driver.h"

#include <asio/io_context.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>

struct rte_mempool;

namespace slash32 {

class NetworkNamespace;

class DeviceAdapter final : public Devices {
  public:
    struct Options {
        rte_mempool* pool = nullptr;
        std::function<void()> synchronize;  // waits for the workers' grace period
        size_t workers = 1;
        HolderClient* holder = nullptr;  // of the host's interfaces; nullptr: they go with us
        // Where uplinks and VMs' interfaces are, if not where the control thread is.
        const NetworkNamespace* home = nullptr;
    };

    DeviceAdapter(asio::io_context& io, const Config& config) : io_(io), config_(config) {}
    // Takes every device down. REQUIRES: workers have stopped.
    ~DeviceAdapter() override;

    Result<void> start(const Options& options);

    Result<DeviceHandles> open(PortId, const PortIntent&) override;
    Result<DeviceHandles> open_uplink(PortId, const UplinkSpec&, Mac& mac) override;
    DeviceHandles open_vlan(PortId, PortId uplink, const UplinkSpec&, Mac& mac) override;
    Result<DeviceHandles> open_host_view(PortId, const UplinkSpec&, const Mac& mac) override;
    void set_carrier(PortId host_view, bool up) override { tap_->set_carrier(host_view, up); }
    DeviceCounters counters(PortId uplink) override;
    std::vector<DeviceOffload> offloads(PortId uplink) override;
    void close(PortId, std::function<void()> done) override;
    void on_event(std::function<void(const DeviceEvent&)>) override;

  private:
    Result<DeviceHandles> open_vhost(PortId, const PortIntent&);
    Result<DeviceHandles> open_tap(PortId, const PortIntent&);
    Result<DeviceHandles> add_held(TapPortSpec spec);
    void handle(const DriverEvent& event);

    asio::io_context& io_;
    const Config& config_;
    uint16_t workers_ = 1;
    const NetworkNamespace* home_ = nullptr;
    std::optional<gid_t> vhost_group_;
    std::unique_ptr<VhostDriver> vhost_;
    std::unique_ptr<TapDriver> tap_;
    std::unique_ptr<UplinkDriver> uplink_;
    HolderClient* holder_ = nullptr;
    std::map<PortId, std::string> held_;  // interfaces
    std::map<PortId, PortKind> kinds_;
    std::function<void(const DeviceEvent&)> listener_;
};

}  // namespace slash32
