// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/deny.h"

#include "dp/stage/disposition.h"
#include "dp/stage/report.h"

namespace slash32 {

void deny(WorkerContext& context, Burst& burst, unsigned i, const PortConfig& filtering,
          DropReason reason) {
    if (filtering.has(kLogDenied) && context.denied_tokens.take(context.now)) {
        report_headers(context, burst.packets[i],
                       {.port = filtering.id,
                        .reason = PuntReason::kDenied,
                        .direction = CaptureDirection::kDropped,
                        .drop_reason = reason});
    }
    drop(context, burst, i, reason);
}

}  // namespace slash32
