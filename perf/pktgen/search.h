// SPDX-License-Identifier: Apache-2.0
// Finds the highest rate at which a router loses no more than a goal: 0 is RFC 2544's throughput
// (section 26.1), more is a partial drop rate.
//
// As in MLRsearch (draft-ietf-bmwg-mlrsearch), a rate is not judged by one long trial: several
// short ones are made, and most of them decide, so that what else the machine does at one moment
// does not decide alone. The rates between the highest that holds and the lowest that does not are
// halved until they are as close as wanted.
//
// Pure: it is told of trials and says which comes next.
#pragma once

#include <cstdint>
#include <optional>

namespace slash32::pktgen {

struct SearchGoal {
    double loss = 0;      // at most this share of what was sent
    double width = 0.01;  // of the rate that holds: how far from it the one that does not may be
    unsigned trials = 5;  // at most, of one rate; odd
};

struct Trial {
    double wanted = 0;   // packets a second
    double offered = 0;  // that were really sent
    double loss = 0;     // share of what was sent
};

class RateSearch {
  public:
    // Rates are searched up to `highest`, where it begins. REQUIRES: highest > 0.
    RateSearch(const SearchGoal& goal, double highest);

    // The rate of the next trial; nothing when the search is over.
    std::optional<double> next() const;
    // REQUIRES: trial.wanted is what next() said.
    void add(const Trial& trial);

    // The highest rate that held; 0: none did. In packets that were really sent.
    double holds() const { return holds_; }
    // The lowest that did not hold; nothing: even the highest held.
    std::optional<double> fails() const { return fails_; }
    // Something else than the router was the limit: it was never offered more than it takes.
    bool bounded() const { return !fails_.has_value(); }
    unsigned trials() const { return made_; }

  private:
    // Less than this share of the wanted rate was sent: the generator could not.
    static constexpr double kOffered = 0.97;
    static constexpr double kLowest = 1;  // packets a second: below, nothing holds
    static constexpr unsigned kMaxTrials = 400;

    void decide(bool held);

    SearchGoal goal_;
    double rate_;         // under trial
    double offered_ = 0;  // the most of its trials
    unsigned good_ = 0;   // of its trials
    unsigned bad_ = 0;
    double lowest_ = 0;  // wanted rate that holds
    double holds_ = 0;
    std::optional<double> fails_;
    unsigned made_ = 0;
    bool over_ = false;
};

}  // namespace slash32::pktgen
