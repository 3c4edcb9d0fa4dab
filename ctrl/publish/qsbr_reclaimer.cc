// SPDX-License-Identifier: Apache-2.0
#include "ctrl/publish/qsbr_reclaimer.h"

#include "dp/table/grace_period.h"

#include <rte_rcu_qsbr.h>

namespace slash32 {

void QsbrReclaimer::defer(Callback callback, void* argument) {
    deferred_.push_back(Deferred{rte_rcu_qsbr_start(quiescent_), callback, argument});
    waiting_hook_();
}

void QsbrReclaimer::drain() {
    const size_t count = deferred_.size();  // a callback may defer again
    rte_rcu_qsbr_synchronize(quiescent_, RTE_QSBR_THRID_INVALID);
    run(count);
}

void QsbrReclaimer::poll() {
    while (!deferred_.empty() && is_grace_over(*quiescent_, deferred_.front().token))
        run(1);
}

void QsbrReclaimer::run(size_t count) {
    for (; count > 0; --count) {
        const Deferred deferred = deferred_.front();
        deferred_.pop_front();
        deferred.callback(deferred.argument);
    }
}

}  // namespace slash32
