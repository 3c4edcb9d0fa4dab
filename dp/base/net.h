// SPDX-License-Identifier: Apache-2.0
// Network addresses and prefixes as values, with parsing and printing for the control side.
//
// All are trivially copyable, hold network byte order, and have unique object representations, so
// they can be hash keys. Parsing never allocates but for the error; it is not for the packet path.
#pragma once

#include "dp/base/endian.h"

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace slash32 {

// Addresses are compared on the packet path: equality is written as one of words, because the one
// of arrays is a call of memcmp.
struct Mac {
    std::array<uint8_t, 6> bytes{};
    constexpr auto operator<=>(const Mac&) const = default;
    [[gnu::always_inline]] constexpr bool operator==(const Mac& other) const {
        return number() == other.number();
    }
    constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }
    constexpr bool is_zero() const { return number() == 0; }
    // The bytes as they lie in memory, upper ones 0.
    [[gnu::always_inline]] constexpr uint64_t number() const {
        if (std::is_constant_evaluated()) {
            uint64_t number = 0;
            for (size_t i = bytes.size(); i-- > 0;)
                number = number << 8 | bytes[i];
            return number;
        }
        uint32_t low = 0;
        uint16_t high = 0;
        std::memcpy(&low, bytes.data(), sizeof low);
        std::memcpy(&high, bytes.data() + sizeof low, sizeof high);
        return low | uint64_t{high} << 32;
    }
};

struct Ip4 {
    Be32 value;
    constexpr auto operator<=>(const Ip4&) const = default;
};

struct Ip6 {
    std::array<uint8_t, 16> bytes{};
    constexpr auto operator<=>(const Ip6&) const = default;
    constexpr bool operator==(const Ip6& other) const {
        const auto a = std::bit_cast<std::array<uint64_t, 2>>(bytes);
        const auto b = std::bit_cast<std::array<uint64_t, 2>>(other.bytes);
        return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
    }
    constexpr bool is_unspecified() const { return *this == Ip6{}; }
    constexpr bool is_multicast() const { return bytes[0] == 0xff; }
    constexpr bool is_link_local() const { return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80; }
};

enum class Family : uint8_t { kIpv4 = 4, kIpv6 = 6 };

// Either family. An IPv4 address stands in the first four bytes, the rest are zero.
struct IpAddress {
    Family family = Family::kIpv4;
    std::array<uint8_t, 16> bytes{};

    constexpr IpAddress() = default;
    IpAddress(Ip4 a) { std::memcpy(bytes.data(), &a, 4); }       // NOLINT: a widening
    IpAddress(Ip6 a) : family(Family::kIpv6), bytes(a.bytes) {}  // NOLINT: a widening
    constexpr auto operator<=>(const IpAddress&) const = default;
    bool is_ipv4() const { return family == Family::kIpv4; }
    // REQUIRES: is_ipv4().
    Ip4 ipv4() const {
        Ip4 a;
        std::memcpy(&a, bytes.data(), 4);
        return a;
    }
    Ip6 ipv6() const { return Ip6{bytes}; }
    // 32 or 128.
    constexpr uint8_t bits() const { return family == Family::kIpv4 ? 32 : 128; }
};

// A prefix whose host bits are zero.
struct IpPrefix {
    IpAddress address;
    uint8_t length = 0;
    constexpr auto operator<=>(const IpPrefix&) const = default;
    bool contains(const IpAddress& other) const;
    bool is_host() const { return length == address.bits(); }
};

// "52:54:00:00:00:01", hexadecimal, colons only.
std::optional<Mac> parse_mac(std::string_view text);
// RFC 4291 section 2.2 or dotted quad; no zone, no port, no leading zeros in a quad.
std::optional<IpAddress> parse_ip(std::string_view text);
// "10.0.0.0/24"; without a length a host prefix. Host bits that are set make it invalid.
std::optional<IpPrefix> parse_prefix(std::string_view text);

std::string to_string(const Mac& mac);
std::string to_string(const IpAddress& address);
std::string to_string(const IpPrefix& prefix);

}  // namespace slash32
