// SPDX-License-Identifier: Apache-2.0
// The frame that tells a link who has an address now: a gratuitous ARP request (RFC 5227 section
// 3), or an unsolicited neighbour advertisement to all nodes (RFC 4861 section 7.2.6).
#pragma once

#include "dp/base/net.h"

#include <cstdint>
#include <vector>

namespace slash32 {

// `mac` is the sender's, and has the address from now on.
std::vector<uint8_t> announcement_frame(const IpAddress& address, const Mac& mac);

}  // namespace slash32
