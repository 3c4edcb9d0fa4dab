// SPDX-License-Identifier: Apache-2.0
// The loop that sends and receives, on one core, and what it counted.
//
// Thread safety: one thread. The clock is read twice a turn; a turn in which no packet moved is
// idle. From that follows the generator's own ceiling, and whether a result was bounded by it.
#pragma once

#include "dp/base/result.h"
#include "perf/pktgen/device.h"
#include "perf/pktgen/options.h"
#include "perf/pktgen/traffic.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

struct rte_mbuf;

namespace slash32::pktgen {

// Of one device, over the measurement.
struct DeviceResult {
    uint64_t sent = 0;
    uint64_t sent_bytes = 0;
    uint64_t received = 0;  // of what the peer sent
    uint64_t received_bytes = 0;
    uint64_t lost = 0;  // of what the peer sent, by sequence number
    uint64_t cut = 0;
    uint64_t reordered = 0;
    uint64_t duplicated = 0;
    uint64_t other = 0;
};

struct Measurement {
    double seconds = 0;
    std::vector<DeviceResult> devices;
    double busy_percent = 0;
    // Of a busy turn, for each packet sent or received.
    double cycles_per_packet = 0;
    // Packets a second, sent and received again, that this core could do at that cost.
    double ceiling_pps = 0;
    // Turns of sending that a full ring cut short: 0 when the router kept up with all that came.
    double refused_percent = 0;
    // The generator was busy all the time and the router took all of it: the figure is a lower
    // bound of what the router can do.
    bool bounded_by_generator = false;
    // Everything that was sent in this run and everything that came back, warm-up included, after
    // the rings had been drained.
    uint64_t total_sent = 0;
    uint64_t total_received = 0;
};

class Engine {
  public:
    Engine(const Options& options, const Devices& devices);

    // Asks each device's gateway for its MAC. Errors: kUnavailable.
    Result<void> resolve_gateways();
    // Warms up, calls `measuring`, measures, drains. Errors: kUnavailable when nothing arrives,
    // naming the device.
    Result<Measurement> run(const std::atomic<bool>& stop, const std::function<void()>& measuring);

  private:
    struct Port {
        Device device;
        FrameMaker maker;
        FrameCounter counter;  // of the peer's
        bool sends = true;
        rte_mbuf* pending[32] = {};
        uint16_t pending_first = 0;
        uint16_t pending_end = 0;
        uint64_t next_sequence = 0;
        size_t peer = 0;            // receives what this one sends
        uint64_t arrived = 0;       // sequence numbers below are not under way
        uint64_t progress_tsc = 0;  // when that last grew
        uint64_t sent = 0;
        uint64_t turns = 0;    // with something to send
        uint64_t refused = 0;  // of them
    };
    struct Snapshot {
        uint64_t tsc = 0;
        uint64_t busy = 0;
        std::vector<uint64_t> sent;
        std::vector<FrameCounter::Counts> received;
        uint64_t turns = 0;
        uint64_t refused = 0;
    };

    void run_until(uint64_t tsc, const std::atomic<bool>& stop);
    uint16_t receive(Port& port);
    uint16_t send(Port& port, uint64_t now);
    uint16_t due(Port& port, uint64_t now);
    uint64_t window_left(Port& port, uint64_t now);
    bool fill_pending(Port& port, uint16_t n);
    bool fill_segment(Port& port);
    void drop_pending(Port& port);
    void drain();
    Snapshot snapshot() const;
    Measurement difference(const Snapshot& from, const Snapshot& to) const;
    uint64_t total_received() const;

    const Options& options_;
    const uint64_t hz_;
    std::vector<Port> ports_;
    uint64_t started_tsc_ = 0;
    uint64_t busy_ = 0;
};

}  // namespace slash32::pktgen
