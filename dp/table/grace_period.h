// SPDX-License-Identifier: Apache-2.0
// The end of a grace period, for several that wait for one at the same time.
#pragma once

#include <rte_rcu_qsbr.h>

#include <cstdint>

namespace slash32 {

// Whether every reader has passed a quiescent state since rte_rcu_qsbr_start() returned `token`:
// what they read before happens before what the caller does next. Never waits. Any thread.
//
// Not rte_rcu_qsbr_check(), whose cache of the last token acknowledged is written and read without
// ordering: who finds a token there that another thread has checked is not ordered after the
// readers.
inline bool is_grace_over(const rte_rcu_qsbr& readers, uint64_t token) {
    for (uint32_t reader = 0; reader < readers.max_threads; ++reader) {
        const uint64_t passed = __atomic_load_n(&readers.qsbr_cnt[reader].cnt, __ATOMIC_ACQUIRE);
        if (passed != __RTE_QSBR_CNT_THR_OFFLINE && passed < token) return false;
    }
    return true;
}

}  // namespace slash32
