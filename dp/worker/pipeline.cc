// SPDX-License-Identifier: Apache-2.0
#include "dp/worker/pipeline.h"

#include "dp/base/assert.h"
#include "dp/stage/disposition.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <array>
#include <bit>
#include <cstddef>
#include <iterator>
#include <utility>

namespace slash32 {
namespace {

// Of a burst that is not measured: nothing is left of it in the code.
struct NoMeter {
    void done(size_t, uint32_t) {}
};

// When each stage of a burst was done, and which packets it found. Counted at the end, so that a
// stage pays for one reading of the clock and not for the counters of the stage before.
class StageMeter {
  public:
    void done(size_t stage, uint32_t found) { ends_[stage] = {rte_rdtsc(), found}; }

    // REQUIRES: every stage is done.
    void publish(WorkerContext& context, uint64_t start) const {
        for (size_t stage = 0; stage < ends_.size(); ++stage) {
            StageCounters& counters = context.counters->stages[stage];
            counters.cycles.add(ends_[stage].tsc - start);
            counters.packets.add(static_cast<uint64_t>(std::popcount(ends_[stage].found)));
            counters.bursts.add(1);
            start = ends_[stage].tsc;
        }
    }

  private:
    struct End {
        uint64_t tsc;
        uint32_t found;
    };
    std::array<End, kMeasuredStages.size()> ends_;
};

constexpr size_t kReceive = 0;  // in kMeasuredStages, as those below
constexpr size_t kFirstDecision = 1;
constexpr size_t kFirstSending = kFirstDecision + std::size(kDecisionStages);

template <size_t kStage, typename Meter>
inline void decide_one(WorkerContext& context, Burst& burst, Meter& meter) {
    const uint32_t live = burst.live;
    kDecisionStages[kStage].run(context, burst);
    meter.done(kFirstDecision + kStage, live);
}

template <size_t kStage, typename Meter>
inline void send_one(WorkerContext& context, Burst& burst, Meter& meter) {
    const uint32_t tx = burst.tx;
    kSendingStages[kStage].run(context, burst);
    meter.done(kFirstSending + kStage, tx);
}

// Direct calls, so that the tables cost nothing.
template <size_t kFirst, typename Meter, size_t... I>
inline void decide(WorkerContext& context, Burst& burst, Meter& meter, std::index_sequence<I...>) {
    (decide_one<kFirst + I>(context, burst, meter), ...);
}

template <typename Meter, size_t... I>
inline void send(WorkerContext& context, Burst& burst, Meter& meter, std::index_sequence<I...>) {
    (send_one<I>(context, burst, meter), ...);
}

// The stages from `kFirst` on, and what follows them.
template <size_t kFirst, typename Meter>
inline void run_from(WorkerContext& context, Burst& burst, Meter& meter) {
    constexpr size_t kCount = std::size(kDecisionStages) - kFirst;
    decide<kFirst>(context, burst, meter, std::make_index_sequence<kCount>());
    S32_ASSERT(burst.live == 0);
    send(context, burst, meter, std::make_index_sequence<std::size(kSendingStages)>());
}

void drop_refused(WorkerContext& context) {
    PortId port;
    DropReason why{};
    while (rte_mbuf* packet = context.fragments.take_refused(port, why))
        drop_received(context, port, packet, why);
}

}  // namespace

void run_pipeline(WorkerContext& context, Burst& burst) {
    NoMeter meter;
    capture_received(context, burst);
    run_from<0>(context, burst, meter);
    if (!context.fragments.settled()) [[unlikely]]
        settle_fragments(context);
}

void run_measured_pipeline(WorkerContext& context, Burst& burst, uint64_t start) {
    StageMeter meter;
    const uint32_t received = burst.live;
    capture_received(context, burst);
    meter.done(kReceive, received);
    run_from<0>(context, burst, meter);
    meter.publish(context, start);
    if (!context.fragments.settled()) [[unlikely]]
        settle_fragments(context);
}

void transmit_made(WorkerContext& context, rte_mbuf* packet, PortId port) {
    const PortConfig* out = context.ports[port.value()];
    if (out == nullptr) return rte_pktmbuf_free(packet);
    Burst burst;
    burst.in = out;
    burst.tx = 1;
    burst.packets[0] = packet;
    burst.meta[0].out_port = port;
    burst.tunnel = burst.offload = 0;
    context.port_counters(port).injected.add(1);
    NoMeter meter;
    send(context, burst, meter, std::make_index_sequence<std::size(kSendingStages)>());
}

void settle_fragments(WorkerContext& context) {
    drop_refused(context);
    for (;;) {
        Burst burst;
        const PortId port = context.fragments.take_released(burst);
        if (port == kNoPort) return;
        burst.in = context.ports[port.value()];
        NoMeter meter;
        run_from<kFirstForwardingStage>(context, burst, meter);
        drop_refused(context);
    }
}

}  // namespace slash32
