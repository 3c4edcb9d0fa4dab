// SPDX-License-Identifier: Apache-2.0
// Random sequences: mostly connections as two ends would have them, with segments that are
// repeated, late, or beside the window, and with flags and numbers that nobody would send.
#pragma once

#include "tests/oracle/sequence.h"

#include <cstdint>
#include <random>

namespace slash32::test {

class Random {
  public:
    explicit Random(uint32_t seed) : engine_(seed) {}
    uint32_t operator()() { return static_cast<uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

Sequence generate(Random& random);

}  // namespace slash32::test
