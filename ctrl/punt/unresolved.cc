// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/unresolved.h"

#include "dp/abi/adjacency.h"
#include "dp/packet/headers.h"

#include <cstring>

namespace slash32 {
namespace {

template <typename Header>
std::optional<Header> header_at(std::span<const uint8_t> frame, size_t offset) {
    if (frame.size() < offset + sizeof(Header)) return std::nullopt;
    Header header;
    std::memcpy(&header, frame.data() + offset, sizeof header);
    return header;
}

}  // namespace

std::optional<UnresolvedPacket> read_unresolved(std::span<const uint8_t> frame) {
    const auto ethernet = header_at<EthernetHeader>(frame, 0);
    if (!ethernet) return std::nullopt;
    const NextHopId hop = unresolved_hop(ethernet->destination);
    if (ethernet->type.get() == kEtherIpv4) {
        const auto ip = header_at<Ipv4Header>(frame, sizeof *ethernet);
        if (ip) return UnresolvedPacket{hop, ip->destination.get()};
    } else if (ethernet->type.get() == kEtherIpv6) {
        const auto ip = header_at<Ipv6Header>(frame, sizeof *ethernet);
        if (ip) return UnresolvedPacket{hop, ip->destination};
    }
    return std::nullopt;
}

}  // namespace slash32
