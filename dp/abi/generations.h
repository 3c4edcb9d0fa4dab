// SPDX-License-Identifier: Apache-2.0
// How flows learn that what they were decided by has changed, without anybody visiting them.
//
// A flow remembers the epoch at which its decisions were last found to hold. Control raises the
// epoch after every change that may take something away (a policy, a member of an address set, a
// route); the next packet of each flow then compares the finer generations, and decides anew only
// where one of its own has changed. Adding a member to a set raises nothing: no allowed flow
// depends on it, and denials are never remembered.
//
// Thread safety: control writes, workers read. Order: control changes the table (or has every
// worker's acknowledgement of a new PortConfig), then raises the finer generation (release), then
// the epoch (release). A worker loads the epoch (acquire) once a burst, before it reads any table,
// and a finer generation (acquire) before it reads what that one counts; it stores the values that
// it loaded, never newer ones. Generations never restart, also where an id is used again.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/limits.h"

#include <array>
#include <atomic>
#include <cstdint>

namespace slash32 {

struct Generations {
    alignas(kCacheLine) std::atomic<uint32_t> epoch{1};
    alignas(kCacheLine) std::array<std::atomic<uint32_t>, kMaxVrfs> routes{};  // by VrfId
    std::array<std::atomic<uint32_t>, kMaxAddressSets> sets{};  // by SetId; members removed

    // Control: what a finer generation counts has changed.
    void raise_routes(VrfId vrf) {
        routes[vrf.value()].fetch_add(1, std::memory_order_release);
        raise_epoch();
    }
    void raise_set(SetId set) {
        sets[set.value()].fetch_add(1, std::memory_order_release);
        raise_epoch();
    }
    void raise_epoch() { epoch.fetch_add(1, std::memory_order_release); }
};

}  // namespace slash32
