// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/search.h"

#include <algorithm>

namespace slash32::pktgen {

RateSearch::RateSearch(const SearchGoal& goal, double highest) : goal_(goal), rate_(highest) {}

std::optional<double> RateSearch::next() const {
    if (over_) return std::nullopt;
    return rate_;
}

void RateSearch::add(const Trial& trial) {
    ++made_;
    offered_ = std::max(offered_, trial.offered);
    ++(trial.loss <= goal_.loss ? good_ : bad_);
    const unsigned most = goal_.trials / 2 + 1;
    if (good_ >= most) {
        decide(true);
    } else if (bad_ >= most) {
        decide(false);
    }
    if (made_ >= kMaxTrials) over_ = true;
}

void RateSearch::decide(bool held) {
    if (held) {
        lowest_ = rate_;
        holds_ = std::max(holds_, offered_);
        // More cannot be asked of a generator that is at its end already.
        if (!fails_ || offered_ < kOffered * rate_) over_ = true;
    } else {
        fails_ = rate_;
    }
    if (fails_) {
        if (*fails_ - lowest_ <= goal_.width * *fails_) over_ = true;
        rate_ = (lowest_ + *fails_) / 2;
        if (rate_ < kLowest) over_ = true;
    }
    good_ = bad_ = 0;
    offered_ = 0;
}

}  // namespace slash32::pktgen
