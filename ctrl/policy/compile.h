// SPDX-License-Identifier: Apache-2.0
// From rules to what workers classify by. A pure function.
#pragma once

#include "ctrl/policy/rule.h"
#include "dp/abi/policy.h"
#include "dp/base/result.h"

#include <cstdint>
#include <memory>
#include <span>

namespace slash32 {

struct PolicyDeleter {
    void operator()(const Policy* policy) const;
};
using PolicyPtr = std::unique_ptr<const Policy, PolicyDeleter>;

// Compiles the union of the rules of a port's groups. Time and memory grow with the number of rules
// (times its logarithm), whatever they overlap. Errors: kLimit (more than kMaxRulesPerPort, or no
// memory).
Result<PolicyPtr> compile_policy(std::span<const PolicyRule> rules, uint32_t generation);

}  // namespace slash32
