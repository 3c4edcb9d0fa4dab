// SPDX-License-Identifier: Apache-2.0
// Big-endian integers as they stand in packets.
//
// A Be16 is never an ordinary integer: it is compared and hashed as bytes, and turned into a host
// integer explicitly (`to_host`) only where arithmetic starts. Conversion costs one bswap.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <type_traits>

namespace slash32 {

static_assert(std::endian::native == std::endian::little, "slash32 runs on little-endian CPUs");

template <typename T>
class BigEndian {
    static_assert(std::is_unsigned_v<T>);

  public:
    constexpr BigEndian() = default;
    // From a host-order value.
    explicit constexpr BigEndian(T host) : raw_(swap(host)) {}
    // From bytes already in network order, as loaded from a packet.
    static constexpr BigEndian from_raw(T raw) {
        BigEndian b;
        b.raw_ = raw;
        return b;
    }

    constexpr T to_host() const { return swap(raw_); }
    constexpr T raw() const { return raw_; }
    constexpr bool operator==(const BigEndian&) const = default;
    // Numeric order of the host values.
    constexpr std::strong_ordering operator<=>(const BigEndian& other) const {
        return to_host() <=> other.to_host();
    }

  private:
    static constexpr T swap(T v) {
        if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
        if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
        if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
    }

    T raw_ = 0;
};

using Be16 = BigEndian<uint16_t>;
using Be32 = BigEndian<uint32_t>;
using Be64 = BigEndian<uint64_t>;

}  // namespace slash32
