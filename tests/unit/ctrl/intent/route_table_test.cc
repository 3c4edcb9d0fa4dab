// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/route_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace slash32 {
namespace {

RouteValue value_of(uint32_t hop) {
    RouteValue value;
    value.hop = hop & 0xfffff;
    return value;
}

RouteKey key_of(std::string_view prefix, uint16_t vrf = 0) {
    return {VrfId{vrf}, *parse_prefix(prefix)};
}

RouteKey random_key(std::mt19937& random, bool narrow) {
    RouteKey key;
    key.vrf = VrfId{static_cast<uint16_t>(random() % 3)};
    const uint32_t host = static_cast<uint32_t>(narrow ? random() % 2000 : random());
    if (random() % 2 == 0) {
        key.prefix = {Ip4{Be32(0x0a000000u + host)}, 32};
    } else {
        Ip6 address;
        address.bytes[0] = 0x20;
        for (int i = 0; i < 4; ++i)
            address.bytes[12 + i] = static_cast<uint8_t>(host >> (8 * i));
        key.prefix = {address, 128};
    }
    return key;
}

TEST(RouteTable, AgreesWithAnOrderedMap) {
    std::mt19937 random(7);
    RouteTable table;
    std::map<RouteKey, uint32_t> model;
    for (int i = 0; i < 60000; ++i) {
        const RouteKey key = random_key(random, i % 2 == 0);
        // More insertions at first, more removals later: blocks split and merge.
        if (random() % 100 < (i < 30000 ? 75u : 30u)) {
            const uint32_t hop = random() & 0xfffff;
            table.set(key, value_of(hop));
            model[key] = hop;
        } else {
            EXPECT_EQ(table.erase(key), model.erase(key) == 1);
        }
    }
    ASSERT_EQ(table.size(), model.size());
    auto expected = model.begin();
    table.visit_all([&](const RouteKey& key, RouteValue value) {
        EXPECT_TRUE(key == expected->first);
        EXPECT_EQ(value.hop, expected->second);
        ++expected;
        return true;
    });
    EXPECT_TRUE(expected == model.end());
    for (int i = 0; i < 1000; ++i) {
        const RouteKey key = random_key(random, true);
        const auto at = model.find(key);
        const RouteValue* found = table.find(key);
        ASSERT_EQ(found != nullptr, at != model.end());
        auto next = model.lower_bound(key);
        table.visit_from(key, [&](const RouteKey& first, RouteValue) {
            EXPECT_TRUE(first == next->first);
            return false;
        });
    }
}

TEST(RouteTable, ListsByFamilyVrfAddressAndLength) {
    RouteTable table;
    const std::vector<RouteKey> ordered = {key_of("0.0.0.0/0"),     key_of("10.0.0.0/8"),
                                           key_of("10.0.0.0/24"),   key_of("10.0.0.0/32"),
                                           key_of("10.0.0.1/32"),   key_of("9.0.0.0/8", 1),
                                           key_of("::/0"),          key_of("2001:db8::/32"),
                                           key_of("2001:db8::/64"), key_of("2001:db8::1/128"),
                                           key_of("::/0", 4095)};
    for (auto at = ordered.rbegin(); at != ordered.rend(); ++at)
        table.set(*at, {});
    std::vector<RouteKey> seen;
    table.visit_all([&](const RouteKey& key, RouteValue) {
        seen.push_back(key);
        return true;
    });
    EXPECT_TRUE(seen == ordered);
}

TEST(RouteTable, FindsTheLongestMatch) {
    RouteTable table;
    for (const char* prefix :
         {"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "2001:db8::/33"}) {
        table.set(key_of(prefix), {});
    }
    const auto match = [&](const char* address, uint16_t vrf = 0) {
        const auto key = table.longest_match(VrfId{vrf}, *parse_ip(address));
        return key ? to_string(key->prefix) : "none";
    };
    EXPECT_EQ(match("10.1.2.3"), "10.1.2.3/32");
    EXPECT_EQ(match("10.1.2.4"), "10.1.0.0/16");
    EXPECT_EQ(match("10.2.0.0"), "10.0.0.0/8");
    EXPECT_EQ(match("11.0.0.0"), "0.0.0.0/0");
    EXPECT_EQ(match("11.0.0.0", 1), "none");
    EXPECT_EQ(match("2001:db8:7fff::1"), "2001:db8::/33");
    EXPECT_EQ(match("2001:db8:8000::1"), "none");
}

TEST(RouteTable, HoldsAMillionRoutesInAFewBytesEach) {
    RouteTable table;
    for (uint32_t i = 0; i < 1'000'000; ++i) {
        table.set({VrfId{0}, {Ip4{Be32(0x0a000000u + i)}, 32}}, {});
    }
    EXPECT_LT(table.memory_bytes() / table.size(), 14u);
    RouteTable scattered;
    std::mt19937 random(3);
    for (uint32_t i = 0; i < 1'000'000; ++i) {
        scattered.set({VrfId{0}, {Ip4{Be32(static_cast<uint32_t>(random()))}, 32}}, {});
    }
    EXPECT_LT(scattered.memory_bytes() / scattered.size(), 24u);
}

}  // namespace
}  // namespace slash32
