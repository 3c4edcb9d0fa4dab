// SPDX-License-Identifier: Apache-2.0
#include "dp/worker/pipeline.h"

#include "dp/base/assert.h"
#include "dp/stage/disposition.h"

#include <cstddef>
#include <iterator>
#include <utility>

namespace slash32 {
namespace {

// Direct calls, so that the table costs nothing.
template <size_t kFirst, size_t... I>
inline void decide(WorkerContext& context, Burst& burst, std::index_sequence<I...>) {
    (kDecisionStages[kFirst + I].run(context, burst), ...);
}

// The stages from `kFirst` on, and what follows them.
template <size_t kFirst>
inline void run_from(WorkerContext& context, Burst& burst) {
    constexpr size_t kCount = std::size(kDecisionStages) - kFirst;
    decide<kFirst>(context, burst, std::make_index_sequence<kCount>());
    S32_ASSERT(burst.live == 0);
    resolve_offloads(context, burst);
    transmit(context, burst);
}

void drop_refused(WorkerContext& context) {
    PortId port;
    DropReason why{};
    while (rte_mbuf* packet = context.fragments.take_refused(port, why))
        drop_received(context, port, packet, why);
}

}  // namespace

void run_pipeline(WorkerContext& context, Burst& burst) {
    capture_received(context, burst);
    run_from<0>(context, burst);
    if (!context.fragments.settled()) [[unlikely]]
        settle_fragments(context);
}

void settle_fragments(WorkerContext& context) {
    drop_refused(context);
    for (;;) {
        Burst burst;
        const PortId port = context.fragments.take_released(burst);
        if (port == kNoPort) return;
        burst.in = context.ports[port.value()];
        run_from<kFirstForwardingStage>(context, burst);
        drop_refused(context);
    }
}

}  // namespace slash32
