// SPDX-License-Identifier: Apache-2.0
// A rate limit without a clock read: the caller brings the burst's time stamp.
#pragma once

#include <algorithm>
#include <cstdint>

namespace slash32 {

class TokenBucket {
  public:
    TokenBucket() = default;
    // `rate` tokens a second, at most `burst` saved up. REQUIRES: rate > 0, tsc_hz > 0.
    TokenBucket(uint32_t rate, uint32_t burst, uint64_t tsc_hz)
        : cycles_per_token_(std::max<uint64_t>(1, tsc_hz / rate)),
          capacity_cycles_(cycles_per_token_ * burst),
          saved_cycles_(capacity_cycles_) {}

    // Takes one token; false when there is none. `now` in TSC cycles; a step back adds nothing.
    bool take(uint64_t now) {
        if (now > last_) {
            saved_cycles_ = std::min(capacity_cycles_, saved_cycles_ + (now - last_));
            last_ = now;
        }
        if (saved_cycles_ < cycles_per_token_ || cycles_per_token_ == 0) return false;
        saved_cycles_ -= cycles_per_token_;
        return true;
    }

  private:
    uint64_t cycles_per_token_ = 0;  // 0: never gives any
    uint64_t capacity_cycles_ = 0;
    uint64_t saved_cycles_ = 0;
    uint64_t last_ = 0;
};

}  // namespace slash32
