// SPDX-License-Identifier: Apache-2.0
// Fuzzes what the kernel could tell by netlink: messages of every type that is read, their fixed
// parts, attributes and nested next hops.
//
// Properties: nothing is read beyond a message; what is given is in range.
#include "ctrl/netlink/messages.h"
#include "dp/base/assert.h"

#include <libmnl/libmnl.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace slash32 {
namespace {

void read_all(const nlmsghdr* message) {
    if (const auto link = read_link(message)) S32_ASSERT(link->name.size() < 65536);
    if (const auto address = read_address(message)) S32_ASSERT(address->address.bits() <= 128);
    if (const auto neighbor = read_neighbor(message)) S32_ASSERT(neighbor->address.bits() <= 128);
    if (const auto route = read_route(message)) {
        S32_ASSERT(route->prefix.length <= route->prefix.address.bits());
        S32_ASSERT(std::ranges::is_sorted(route->hops));
        for (const HopMessage& hop : route->hops)
            S32_ASSERT(hop.weight > 0);
    }
    if (const auto next_hop = read_next_hop(message)) {
        S32_ASSERT(next_hop->id != 0);
        for (const NextHopMessage::Member& member : next_hop->group)
            S32_ASSERT(member.weight > 0);
    }
}

}  // namespace
}  // namespace slash32

// The bytes are the messages' payload; the first two say where it is cut in two.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const size_t cut = std::min<size_t>(data[0] | data[1] << 8, size - 2);
    const uint8_t* at = data + 2;
    for (const size_t length : {cut, size - 2 - cut}) {
        // Of its own size, padded as in a datagram, so that what is read beyond it is seen.
        std::vector<char> buffer(NLMSG_ALIGN(NLMSG_HDRLEN + length));
        auto* header = reinterpret_cast<nlmsghdr*>(buffer.data());
        header->nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + length);
        std::memcpy(buffer.data() + NLMSG_HDRLEN, at, length);
        at += length;
        if (mnl_nlmsg_ok(header, static_cast<int>(buffer.size()))) slash32::read_all(header);
    }
    return 0;
}
