// SPDX-License-Identifier: Apache-2.0
// A socket of rtnetlink(7), by libmnl.
#pragma once

#include "dp/base/result.h"

#include <cstdint>
#include <memory>

struct mnl_socket;

namespace slash32 {

struct CloseNetlink {
    void operator()(mnl_socket* socket) const;
};
using NetlinkSocket = std::unique_ptr<mnl_socket, CloseNetlink>;

// In the network namespace of this thread. `flags` as of socket(2); `groups` as of RTMGRP_*.
// Errors in more words and dumps by filter, where the kernel knows them. Errors: kUnavailable.
Result<NetlinkSocket> open_netlink(int flags, uint32_t groups);

}  // namespace slash32
