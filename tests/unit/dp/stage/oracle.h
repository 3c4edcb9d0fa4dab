// SPDX-License-Identifier: Apache-2.0
// Slow and plain readings of packets, to judge what the pipeline made of them.
#pragma once

#include "tests/support/lab.h"

#include <gtest/gtest.h>

#include <vector>

namespace slash32::test {

inline uint16_t get16(const Bytes& b, size_t at) {
    return static_cast<uint16_t>(b.at(at) << 8 | b.at(at + 1));
}
inline uint32_t get32(const Bytes& b, size_t at) {
    return static_cast<uint32_t>(get16(b, at)) << 16 | get16(b, at + 2);
}
inline Bytes slice(const Bytes& b, size_t from, size_t to) {
    return Bytes(b.begin() + static_cast<ptrdiff_t>(from), b.begin() + static_cast<ptrdiff_t>(to));
}

// The header checksum of the IPv4 packet in a frame is right.
inline bool ipv4_checksum_holds(const Bytes& frame) {
    return naive_sum(slice(frame, 14, 14 + (frame.at(14) & 0xf) * 4u)) == 0xffff;
}

// The TCP or UDP checksum of a frame is right. `l3_length` with options or extension headers.
inline bool transport_checksum_holds(const Bytes& frame, size_t l3_length, uint8_t protocol) {
    const bool ipv6 = frame.at(14) >> 4 == 6;
    const Bytes message = slice(frame, 14 + l3_length, frame.size());
    const Bytes addresses = ipv6 ? slice(frame, 22, 54) : slice(frame, 26, 34);
    const Bytes pseudo =
        addresses + be32(static_cast<uint32_t>(message.size())) + Bytes{0, 0, 0, protocol};
    return naive_sum(pseudo + message) == 0xffff;
}

// Puts IPv4 fragments in any order together; empty when they do not make a whole packet.
inline Bytes reassemble_ipv4(const std::vector<Bytes>& frames) {
    Bytes payload;
    std::vector<bool> have;
    size_t whole = 0;
    for (const Bytes& frame : frames) {
        EXPECT_TRUE(ipv4_checksum_holds(frame));
        const size_t header = (frame.at(14) & 0xf) * 4u;
        EXPECT_EQ(get16(frame, 16), frame.size() - 14);
        const size_t offset = (get16(frame, 20) & 0x1fffu) * 8u;
        const Bytes part = slice(frame, 14 + header, frame.size());
        if (payload.size() < offset + part.size()) {
            payload.resize(offset + part.size());
            have.resize(offset + part.size());
        }
        for (size_t i = 0; i < part.size(); ++i) {
            EXPECT_FALSE(have[offset + i]) << "overlap at " << offset + i;
            payload[offset + i] = part[i];
            have[offset + i] = true;
        }
        if ((get16(frame, 20) & 0x2000) == 0) whole = offset + part.size();
    }
    for (const bool there : have) {
        if (!there) return {};
    }
    return whole == payload.size() ? payload : Bytes{};
}

}  // namespace slash32::test
