// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/announcement.h"

#include <algorithm>

namespace slash32 {
namespace {

constexpr size_t kEthernet = 14;
constexpr size_t kArpSender = kEthernet + 14;  // sender protocol address
constexpr size_t kArpEnd = kEthernet + 28;
constexpr size_t kIpv6Next = kEthernet + 6;
constexpr size_t kIcmpv6 = kEthernet + 40;
constexpr size_t kNaTarget = kIcmpv6 + 8;
constexpr uint8_t kProtocolIcmpv6 = 58;
constexpr uint8_t kNeighborAdvertisement = 136;

bool has_ethertype(std::span<const uint8_t> frame, uint16_t type) {
    return frame[12] == type >> 8 && frame[13] == (type & 0xff);
}

}  // namespace

std::optional<IpAddress> announced_address(std::span<const uint8_t> frame) {
    if (frame.size() >= kArpEnd && has_ethertype(frame, 0x0806)) {
        Ip4 sender;
        std::memcpy(&sender, frame.data() + kArpSender, sizeof sender);
        return IpAddress(sender);
    }
    if (frame.size() >= kNaTarget + 16 && has_ethertype(frame, 0x86dd) &&
        frame[kIpv6Next] == kProtocolIcmpv6 && frame[kIcmpv6] == kNeighborAdvertisement) {
        Ip6 target;
        std::copy_n(frame.begin() + kNaTarget, 16, target.bytes.begin());
        return IpAddress(target);
    }
    return std::nullopt;
}

}  // namespace slash32
