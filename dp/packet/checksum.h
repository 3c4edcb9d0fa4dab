// SPDX-License-Identifier: Apache-2.0
// The Internet checksum (RFC 1071): full, over chains, and incremental (RFC 1624).
//
// Sums are of 16-bit words as they stand in memory: the ones' complement sum does not care about
// byte order as long as it is the same throughout, so nothing is swapped.
#pragma once

#include "dp/base/endian.h"
#include "dp/packet/headers.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

struct rte_mbuf;

namespace slash32 {

// A partial sum, carries not yet added back. 2^40 bytes could be added without overflow.
using ChecksumSum = uint64_t;

// Adds `length` bytes; an odd last byte counts as followed by a zero one.
ChecksumSum checksum_add(ChecksumSum sum, const void* data, size_t length);

// Adds `length` bytes at `offset` of a chain, whatever the lengths of its segments.
// REQUIRES: the bytes exist.
ChecksumSum checksum_add_chain(ChecksumSum sum, const rte_mbuf* packet, uint32_t offset,
                               uint32_t length);

// Adds the halves until 16 bits are left. (In the upper half of x + rotated x stands the sum of the
// halves of x, with the carry of the same sum in the lower half added back to it.)
constexpr uint16_t checksum_fold(ChecksumSum sum) {
    sum += std::rotl(sum, 32);
    auto half = static_cast<uint32_t>(sum >> 32);
    half += std::rotl(half, 16);
    return static_cast<uint16_t>(half >> 16);
}

// What stands in a checksum field for a sum over everything else.
constexpr Be16 checksum_finish(ChecksumSum sum) {
    return Be16::from_raw(static_cast<uint16_t>(~checksum_fold(sum)));
}

// The sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1); `length` of the
// transport header and payload.
ChecksumSum pseudo_header_sum(const Ipv4Header& ip, uint8_t protocol, uint32_t length);
ChecksumSum pseudo_header_sum(const Ipv6Header& ip, uint8_t protocol, uint32_t length);

// The sum over the header with its options.
inline ChecksumSum ipv4_header_sum(const Ipv4Header& ip) {
    if (ip.length() != sizeof ip) [[unlikely]]
        return checksum_add(0, &ip, ip.length());
    const auto word = [&ip](size_t i) {
        uint32_t value;
        std::memcpy(&value, reinterpret_cast<const uint8_t*>(&ip) + 4 * i, sizeof value);
        return uint64_t{value};
    };
    return word(0) + word(1) + word(2) + word(3) + word(4);
}
// The checksum field taken as it is: 0 when it is right.
inline uint16_t ipv4_header_residue(const Ipv4Header& ip) {
    return static_cast<uint16_t>(~checksum_fold(ipv4_header_sum(ip)));
}
inline void set_ipv4_checksum(Ipv4Header& ip) {
    ip.checksum = Be16{};
    ip.checksum = checksum_finish(ipv4_header_sum(ip));
}

// RFC 1624 equation 3: the checksum after one aligned 16-bit word has changed.
constexpr Be16 checksum_adjust(Be16 checksum, Be16 from, Be16 to) {
    const uint32_t sum = static_cast<uint16_t>(~checksum.raw()) +
                         uint32_t{static_cast<uint16_t>(~from.raw())} + to.raw();
    return checksum_finish(sum);
}

// Of an IPv4 header whose TTL becomes one less. RFC 1141, with the correction of RFC 1624: the TTL
// is the high byte of its word, so the sum becomes 0x0100 less, its complement as much more.
constexpr Be16 checksum_of_smaller_ttl(Be16 checksum) {
    static_assert(std::endian::native == std::endian::little);
    constexpr uint32_t kHighByte = 1;  // of a word in network order, read as it lies in memory
    const uint32_t more = checksum.raw() + kHighByte;
    return Be16::from_raw(static_cast<uint16_t>(more + (more >= 0xffff)));
}

}  // namespace slash32
