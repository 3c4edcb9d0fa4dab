// SPDX-License-Identifier: Apache-2.0
// The loop that sends and receives, on one core, and what it counted.
//
// Thread safety: one thread. The clock is read twice a turn; a turn in which no packet moved is
// idle. From that follows the generator's own ceiling, and whether a result was bounded by it.
#pragma once

#include "dp/base/result.h"
#include "perf/pktgen/device.h"
#include "perf/pktgen/options.h"
#include "perf/pktgen/search.h"
#include "perf/pktgen/tcp.h"
#include "perf/pktgen/traffic.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

struct rte_mbuf;

namespace slash32::pktgen {

// Of one device, over the measurement.
struct DeviceResult {
    uint64_t sent = 0;
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
    Histogram latency;  // of all devices, cycles of the TSC; empty without --latency
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
    // With --tcp: in the measurement, and in the run after the rings had been drained.
    Connections connections;
    Connections total_connections;
};

// How far the engine is, for people.
struct Progress {
    double seconds = 0;  // since it began
    double received_pps = 0;
};

class Engine {
  public:
    Engine(const Options& options, const Devices& devices);

    // Told about once a second.
    void on_progress(std::function<void(const Progress&)> hook) { progress_ = std::move(hook); }

    // Asks each device's gateway for its MAC. Errors: kUnavailable.
    Result<void> resolve_gateways();
    // Warms up, calls `measuring`, measures, drains. Errors: kUnavailable when nothing arrives,
    // naming the device.
    Result<Measurement> run(const std::atomic<bool>& stop, const std::function<void()>& measuring);
    // Searches by options.goal, all sending devices at one rate; `done` is told of each trial,
    // whose rates are those of a device. Errors: as run().
    Result<RateSearch> search(const std::atomic<bool>& stop,
                              const std::function<void(const Trial&)>& done);
    size_t senders() const;

  private:
    static constexpr uint16_t kBurst = 32;
    // A burst, and the answers to one.
    static constexpr uint16_t kPending = kBurst * (1 + TcpEnd::kMaxAnswers);

    struct Port {
        Device device;
        size_t index = 0;
        FrameMaker maker;
        FrameCounter counter;       // of the peer's
        std::optional<TcpEnd> tcp;  // with --tcp, in place of both
        bool sends = true;          // of its own accord
        rte_mbuf* pending[kPending] = {};
        uint16_t pending_first = 0;
        uint16_t pending_end = 0;
        uint64_t next_sequence = 0;
        uint64_t first_sequence = 0;  // since the rate was set
        size_t peer = 0;              // receives what this one sends
        uint64_t arrived = 0;         // sequence numbers below are not under way
        uint64_t given_up = 0;        // connections that will not be closed any more
        uint64_t progress_tsc = 0;    // when arrived, or the closed ones, last grew
        uint64_t sent = 0;
        uint64_t turns = 0;    // with something to send
        uint64_t refused = 0;  // of them

        const FrameCounter::Counts& counts() const {
            return tcp ? tcp->counts() : counter.counts();
        }
        Histogram& latency() { return tcp ? tcp->latency() : counter.latency(); }
        const Histogram& latency() const { return tcp ? tcp->latency() : counter.latency(); }
    };
    struct Snapshot {
        uint64_t tsc = 0;
        uint64_t busy = 0;
        std::vector<uint64_t> sent;
        std::vector<FrameCounter::Counts> received;
        Connections connections;
        uint64_t turns = 0;
        uint64_t refused = 0;
    };

    void run_until(uint64_t tsc, const std::atomic<bool>& stop);
    void tell_progress(uint64_t now);
    void set_rate(double rate);
    Trial try_rate(double rate, const std::atomic<bool>& stop);
    Result<void> check_arrivals() const;
    uint64_t total_sent() const;
    uint16_t receive(Port& port);
    void answer(Port& port, rte_mbuf* packet, uint64_t now);
    void answer_arp(Port& port, const rte_mbuf* request);
    bool has_address(const Port& port, Ip4 address) const;
    uint16_t send(Port& port, uint64_t now);
    uint16_t due(Port& port, uint64_t now);
    uint64_t window_left(Port& port, uint64_t now);
    uint64_t connections_left(Port& port, uint64_t now);
    bool fill_pending(Port& port, uint16_t n);
    bool fill_segment(Port& port);
    void drop_pending(Port& port);
    void drain();
    Snapshot snapshot() const;
    Measurement difference(const Snapshot& from, const Snapshot& to) const;
    uint64_t total_received() const;
    Connections total_connections() const;

    const Options& options_;
    const uint64_t hz_;
    std::vector<Port> ports_;
    double rate_ = 0;        // of a device; 0: as fast as they go
    uint64_t rate_tsc_ = 0;  // when it was set
    uint64_t busy_ = 0;
    std::function<void(const Progress&)> progress_;
    uint64_t begun_tsc_ = 0;
    uint64_t told_tsc_ = 0;
    uint64_t told_received_ = 0;
};

}  // namespace slash32::pktgen
