// SPDX-License-Identifier: Apache-2.0
// The section [srv6] of the configuration, as it is meant.
#pragma once

#include "ctrl/daemon/config.h"
#include "ctrl/plane/encapsulation.h"
#include "dp/abi/srv6.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <optional>

namespace slash32 {

struct SegmentRouting {
    IpPrefix locator;  // of this node
    TunnelSettings tunnels;
    SrDomain domain;
};

// Nothing where no locator is set. Errors: kInvalid, with the option as its path.
Result<std::optional<SegmentRouting>> read_segment_routing(const Config& config);

}  // namespace slash32
