// SPDX-License-Identifier: Apache-2.0
// The numbers of the running data plane, for the control socket.
#pragma once

#include "ctrl/api/telemetry.h"
#include "ctrl/daemon/dataplane.h"
#include "ctrl/plane/forwarding_plane.h"

#include <asio/steady_timer.hpp>

#include <functional>
#include <vector>

namespace slash32 {

class DaemonTelemetry final : public Telemetry {
  public:
    DaemonTelemetry(asio::io_context& io, DataPlane& dataplane, const ForwardingPlane& plane);

    std::vector<WorkerStats> workers() override;
    void enable_stages(bool enabled, std::function<void()> done) override;
    PortStats port(PortId) override;
    SegmentStats segment(NextHopId id) override;
    uint64_t rule(RuleId) override;
    std::vector<RingStats> rings() override;
    MemoryStats memory() override;

  private:
    struct Sample {
        uint64_t busy = 0;
        uint64_t time = 0;  // TSC
        double percent = 0;
    };
    void sample();

    DataPlane& dataplane_;
    const ForwardingPlane& plane_;
    asio::steady_timer timer_;
    std::vector<Sample> samples_;  // by worker, once a second
    bool stages_enabled_ = false;
    bool stages_known_ = false;  // they were enabled once
};

}  // namespace slash32
