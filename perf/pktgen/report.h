// SPDX-License-Identifier: Apache-2.0
// What was measured, as JSON and as CSV. Rates are of all devices together unless a name says else.
#pragma once

#include "dp/base/result.h"
#include "perf/pktgen/engine.h"
#include "perf/pktgen/options.h"
#include "perf/pktgen/search.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>

namespace slash32::pktgen {

nlohmann::json result_json(const Options& options, const Measurement& measurement);
// `senders`: devices that send; a trial's rates are of one.
nlohmann::json trial_json(const Trial& trial, double senders);
nlohmann::json search_json(const Options& options, const RateSearch& search, double senders);

// A file with a line of names and one for each result and trial. Without a path it does nothing.
class Csv {
  public:
    Csv() = default;
    ~Csv();
    Csv(const Csv&) = delete;
    Csv& operator=(const Csv&) = delete;

    // Errors: kInvalid.
    Result<void> open(const std::string& path);
    void add(const Options& options, const Measurement& measurement);
    void add(const Options& options, const Trial& trial, double senders);

  private:
    std::FILE* file_ = nullptr;
};

}  // namespace slash32::pktgen
