// SPDX-License-Identifier: Apache-2.0
#include "dp/worker/pipeline.h"

#include "dp/base/assert.h"

#include <cstddef>
#include <iterator>
#include <utility>

namespace slash32 {
namespace {

// Direct calls, so that the table costs nothing.
template <size_t... I>
inline void decide(WorkerContext& context, Burst& burst, std::index_sequence<I...>) {
    (kDecisionStages[I].run(context, burst), ...);
}

}  // namespace

void run_pipeline(WorkerContext& context, Burst& burst) {
    capture_received(context, burst);
    decide(context, burst, std::make_index_sequence<std::size(kDecisionStages)>());
    S32_ASSERT(burst.live == 0);
    resolve_offloads(context, burst);
    transmit(context, burst);
}

}  // namespace slash32
