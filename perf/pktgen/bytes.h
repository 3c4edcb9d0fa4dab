// SPDX-License-Identifier: Apache-2.0
// Values in frames, and the Internet checksum, as the generator writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace slash32::pktgen {

template <typename T>
void put(uint8_t* at, T value) {
    std::memcpy(at, &value, sizeof value);
}

template <typename T>
T get(const uint8_t* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// RFC 1071, over 16-bit words as they lie in memory; `bytes` is even.
inline uint32_t sum_words(const uint8_t* at, size_t bytes) {
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < bytes; i += 2)
        sum += get<uint16_t>(at + i);
    return sum;
}

inline uint16_t fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

}  // namespace slash32::pktgen
