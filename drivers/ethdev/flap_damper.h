// SPDX-License-Identifier: Apache-2.0
// Keeps a link that goes up and down again and again out of use until it has been quiet.
//
// Each loss of the link adds to a penalty that halves in kHalfLife. Above kSuppress the link counts
// as down, whatever the device says, until the penalty is below kReuse: the scheme of RFC 2439
// section 4.2, with the figures that routers have for interfaces. A single loss costs nothing.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>

namespace slash32 {

class FlapDamper {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds kHalfLife{5};
    static constexpr double kPerLoss = 1000;
    static constexpr double kSuppress = 2000;
    static constexpr double kReuse = 1000;
    static constexpr double kMost = 16000;  // four half-lives above kReuse: held for 20 s at most

    // The link was up and has gone down.
    void lost(Clock::time_point now) {
        penalty_ = std::fmin(penalty(now) + kPerLoss, kMost);
        as_of_ = now;
        suppressed_ = suppressed_ || penalty_ > kSuppress;
    }

    // Whether it is held down.
    bool suppressed(Clock::time_point now) {
        suppressed_ = suppressed_ && penalty(now) >= kReuse;
        return suppressed_;
    }

    // Until it is used again, if nothing more happens. REQUIRES: suppressed(now).
    std::chrono::milliseconds remaining(Clock::time_point now) const {
        const double half_lives = std::log2(penalty(now) / kReuse);
        return std::chrono::round<std::chrono::milliseconds>(
            half_lives * std::chrono::duration<double>(kHalfLife));
    }

  private:
    double penalty(Clock::time_point now) const {
        const std::chrono::duration<double> age = now - as_of_;
        return penalty_ * std::exp2(-age / kHalfLife);
    }

    double penalty_ = 0;
    Clock::time_point as_of_;
    bool suppressed_ = false;
};

}  // namespace slash32
