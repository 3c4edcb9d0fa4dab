// SPDX-License-Identifier: Apache-2.0
// The rules that a device has taken over, and those it has not: the software does the same.
//
// Thread safety: one thread at a time.
#pragma once

#include "drivers/flow_offload/rules.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct rte_flow;

namespace slash32 {

struct OffloadRule {
    std::string name;
    bool hardware = false;
    std::string reason;  // why it is not
};

class FlowOffload {
  public:
    // Why the device steers nothing; empty: it does. Tried with a rule for the first queue, which
    // is taken back. REQUIRES: the device has been started.
    static std::string refusal_to_steer(uint16_t device);

    // Asks the device for every rule, each of which it may refuse. `control_queue`: where control
    // traffic goes; without any, `no_queue` says why. REQUIRES: the device has been started, and is
    // not stopped while this lives.
    FlowOffload(uint16_t device, std::optional<uint16_t> control_queue,
                const std::string& no_queue);
    ~FlowOffload();
    FlowOffload(const FlowOffload&) = delete;
    FlowOffload& operator=(const FlowOffload&) = delete;

    const std::vector<OffloadRule>& rules() const { return rules_; }
    // What rules() are of a device that is asked for none.
    static std::vector<OffloadRule> none(const std::string& reason);

  private:
    uint16_t device_;
    std::vector<OffloadRule> rules_;
    std::vector<rte_flow*> flows_;
};

}  // namespace slash32
