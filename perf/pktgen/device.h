// SPDX-License-Identifier: Apache-2.0
// DPDK's environment and the devices of s32-pktgen.
//
// Thread safety: the main thread alone. Limits: one queue pair a device.
#pragma once

#include "dp/base/result.h"
#include "perf/pktgen/options.h"

#include <cstdint>
#include <vector>

struct rte_mempool;

namespace slash32::pktgen {

struct Device {
    uint16_t port = 0;  // of ethdev
    rte_mempool* send_pool = nullptr;
    // Segments are chains of at most this many bytes a buffer.
    uint32_t send_buffer = 0;
};

// The environment with every device started, and all of it undone at the end, sockets included.
class Devices {
  public:
    Devices() = default;
    ~Devices();
    Devices(const Devices&) = delete;
    Devices& operator=(const Devices&) = delete;

    // Errors: kUnavailable, a sentence that names the device.
    Result<void> open(const Options& options);
    // Waits until every link is up. Errors: kUnavailable, naming the one that is not.
    Result<void> wait_links(double seconds);

    const std::vector<Device>& all() const { return devices_; }

    // After a failure: leaves the devices to the end of the process, which never waits for a
    // backend that has gone, and removes the sockets only.
    void abandon();

  private:
    Result<void> open_one(const Options& options, const DeviceOptions& device, size_t index);

    std::vector<Device> devices_;
    std::vector<DeviceOptions> options_;
    bool eal_started_ = false;
};

}  // namespace slash32::pktgen
