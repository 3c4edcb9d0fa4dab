// SPDX-License-Identifier: Apache-2.0
// Checksums against the word-by-word oracle of tests/support/packet.h.
#include "dp/packet/checksum.h"

#include "tests/support/lab.h"

#include <gtest/gtest.h>

#include <random>

namespace slash32::test {
namespace {

Bytes random_bytes(std::mt19937& random, size_t n) {
    Bytes data(n);
    for (uint8_t& byte : data)
        byte = static_cast<uint8_t>(random());
    return data;
}

uint16_t host_fold(ChecksumSum sum) {
    return Be16::from_raw(checksum_fold(sum)).to_host();
}

TEST(Checksum, EqualsTheOracleAtEveryLengthAndAlignment) {
    std::mt19937 random(1);
    for (size_t length = 0; length < 200; ++length) {
        for (size_t shift = 0; shift < 8; ++shift) {
            const Bytes data = random_bytes(random, shift + length);
            const Bytes tail(data.begin() + static_cast<ptrdiff_t>(shift), data.end());
            EXPECT_EQ(host_fold(checksum_add(0, data.data() + shift, length)), naive_sum(tail));
        }
    }
}

TEST(Checksum, CarriesWhereAllBitsAreSet) {
    const Bytes ones(65535, 0xff);
    EXPECT_EQ(host_fold(checksum_add(0, ones.data(), ones.size())), naive_sum(ones));
}

TEST(Checksum, OfAChainEqualsThatOfTheWhole) {
    Lab lab;
    std::mt19937 random(2);
    for (int round = 0; round < 200; ++round) {
        const Bytes data = random_bytes(random, 1 + random() % 5000);
        std::vector<size_t> segments;
        for (unsigned i = 0; i < random() % 6; ++i)
            segments.push_back(random() % 900);
        rte_mbuf* packet = lab.make_mbuf(Input{.bytes = data, .segments = segments});
        const auto offset = static_cast<uint32_t>(random() % data.size());
        const auto length = static_cast<uint32_t>(random() % (data.size() - offset + 1));
        const Bytes part(data.begin() + offset, data.begin() + offset + length);
        EXPECT_EQ(host_fold(checksum_add_chain(0, packet, offset, length)), naive_sum(part));
        rte_pktmbuf_free(packet);
    }
}

// RFC 1624: the update equals a new sum, for every word that changes.
TEST(Checksum, UpdateEqualsANewSum) {
    std::mt19937 random(3);
    for (int round = 0; round < 100000; ++round) {
        Bytes header = random_bytes(random, 20);
        header[10] = header[11] = 0;
        const auto before = Be16{static_cast<uint16_t>(~naive_sum(header))};
        const size_t at = (random() % 5) * 2;
        const auto from = Be16{static_cast<uint16_t>(header[at] << 8 | header[at + 1])};
        const auto to = Be16{static_cast<uint16_t>(random())};
        header[at] = static_cast<uint8_t>(to.to_host() >> 8);
        header[at + 1] = static_cast<uint8_t>(to.to_host());
        EXPECT_EQ(checksum_adjust(before, from, to).to_host(),
                  static_cast<uint16_t>(~naive_sum(header)));
    }
}

TEST(Checksum, OfASmallerTtlIsTheGeneralUpdate) {
    for (uint32_t raw = 0; raw <= UINT16_MAX; ++raw) {
        const Be16 before = Be16::from_raw(static_cast<uint16_t>(raw));
        ASSERT_EQ(checksum_of_smaller_ttl(before).raw(),
                  checksum_adjust(before, Be16{0x0100}, Be16{0}).raw())
            << raw;
    }
}

}  // namespace
}  // namespace slash32::test
