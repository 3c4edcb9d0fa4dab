// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/fib.h"

#include "tests/unit/ctrl/fib/naive_fib.h"
#include "tests/unit/ctrl/fib/reclaimers.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <tuple>

namespace slash32::test {
namespace {

constexpr VrfId kVrf0{0};

IpPrefix prefix(const char* text) {
    return parse_prefix(text).value();
}
IpAddress ip(const char* text) {
    return parse_ip(text).value();
}

NextHopId lookup(const FibView& view, VrfId vrf, const IpAddress& address) {
    return address.is_ipv4() ? view.lookup(vrf, address.ipv4()) : view.lookup(vrf, address.ipv6());
}

class FibTest : public testing::Test {
  protected:
    void create(const FibSizes& sizes = {}) {
        auto made = Fib::create(sizes, mapped_memory(), reclaimer_);
        ASSERT_TRUE(made) << made.error().message;
        fib_ = std::move(*made);
    }
    NextHopId find(const char* address, VrfId vrf = kVrf0) const {
        return lookup(fib_->view(), vrf, ip(address));
    }
    void add(const char* route, uint32_t id, VrfId vrf = kVrf0) {
        ASSERT_TRUE(fib_->add(vrf, prefix(route), NextHopId{id})) << route;
    }
    void remove(const char* route, VrfId vrf = kVrf0) {
        ASSERT_TRUE(fib_->remove(vrf, prefix(route))) << route;
    }
    // Single, bulk and explain agree with the oracle about an address.
    void expect_like(const NaiveFib& naive, VrfId vrf, const IpAddress& address) const {
        const auto expected = naive.lookup(vrf, address);
        const NextHopId id = expected ? expected->next_hop : kNoNextHop;
        ASSERT_EQ(lookup(fib_->view(), vrf, address), id)
            << to_string(address) << " vrf " << vrf.value();
        ASSERT_EQ(fib_->explain(vrf, address), expected) << to_string(address);
    }

    ManualReclaimer reclaimer_;
    std::unique_ptr<Fib> fib_;
};

TEST_F(FibTest, EmptyTableFindsNothing) {
    create();
    EXPECT_EQ(find("0.0.0.0"), kNoNextHop);
    EXPECT_EQ(find("10.0.0.1"), kNoNextHop);
    EXPECT_EQ(find("::"), kNoNextHop);
    EXPECT_EQ(find("2001:db8::1", VrfId{4095}), kNoNextHop);
    EXPECT_FALSE(fib_->explain(kVrf0, ip("10.0.0.1")));
}

TEST_F(FibTest, HostRouteWinsOverPrefixesAndLongerOverShorter) {
    create();
    add("0.0.0.0/0", 1);
    add("10.0.0.0/8", 2);
    add("10.1.0.0/16", 3);
    add("10.1.2.0/24", 4);
    add("10.1.2.128/31", 5);
    add("10.1.2.129/32", 6);
    EXPECT_EQ(find("192.0.2.1"), NextHopId{1});
    EXPECT_EQ(find("10.200.0.1"), NextHopId{2});
    EXPECT_EQ(find("10.1.200.1"), NextHopId{3});
    EXPECT_EQ(find("10.1.2.1"), NextHopId{4});
    EXPECT_EQ(find("10.1.2.128"), NextHopId{5});
    EXPECT_EQ(find("10.1.2.129"), NextHopId{6});
    EXPECT_EQ(fib_->view().lookup_host(kVrf0, ip("10.1.2.129").ipv4()), NextHopId{6});
    EXPECT_EQ(fib_->view().lookup_host(kVrf0, ip("10.1.2.128").ipv4()), kNoNextHop);
    EXPECT_EQ(fib_->view().lookup_prefix(kVrf0, ip("10.1.2.129").ipv4()), NextHopId{5});
}

TEST_F(FibTest, HoldsTheAllZeroAndAllOneAddresses) {
    create();
    for (const char* route : {"0.0.0.0/32", "255.255.255.255/32", "::/128",
                              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"}) {
        EXPECT_EQ(lookup(fib_->view(), kVrf0, prefix(route).address), kNoNextHop) << route;
        add(route, kMaxNextHops - 1);
        EXPECT_EQ(lookup(fib_->view(), kVrf0, prefix(route).address), NextHopId{kMaxNextHops - 1});
        EXPECT_EQ(lookup(fib_->view(), VrfId{1}, prefix(route).address), kNoNextHop);
        remove(route);
        EXPECT_EQ(lookup(fib_->view(), kVrf0, prefix(route).address), kNoNextHop) << route;
    }
}

TEST_F(FibTest, EveryLengthOfOneAddressNests) {
    create();
    NaiveFib naive;
    for (const char* text : {"10.85.170.51", "255.255.255.255", "2001:db8:aa55:cc33:f00f::1",
                             "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
        const IpAddress address = ip(text);
        for (unsigned length = 0; length <= address.bits(); ++length) {
            const IpPrefix route = cut_prefix(address, length);
            ASSERT_TRUE(fib_->add(kVrf0, route, NextHopId{length + 1}));
            naive.add(kVrf0, route, NextHopId{length + 1});
        }
    }
    for (const auto& [key, id] : naive.routes()) {
        const IpPrefix& route = key.second;
        EXPECT_EQ(fib_->get(kVrf0, route), id);
        expect_like(naive, kVrf0, route.address);
        expect_like(naive, kVrf0, last_of(route));
        if (route.length > 0) {
            expect_like(naive, kVrf0, flip_bit(route.address, route.length - 1U));
        }
    }
}

TEST_F(FibTest, ReplacesANextHop) {
    create();
    for (const char* route :
         {"10.0.0.1/32", "10.0.0.0/24", "0.0.0.0/0", "2001:db8::1/128", "2001:db8::/64", "::/0"}) {
        add(route, 5);
        add(route, 7);
        EXPECT_EQ(fib_->get(kVrf0, prefix(route)), NextHopId{7}) << route;
        EXPECT_EQ(lookup(fib_->view(), kVrf0, prefix(route).address), NextHopId{7}) << route;
    }
    EXPECT_EQ(fib_->usage().hosts_ipv4, 1U);
    EXPECT_EQ(fib_->usage().prefixes_ipv4, 2U);
    EXPECT_EQ(fib_->usage().hosts_ipv6, 1U);
    EXPECT_EQ(fib_->usage().prefixes_ipv6, 2U);
}

TEST_F(FibTest, RemovingUncoversTheShorterPrefix) {
    create();
    add("2001:db8::/32", 1);
    add("2001:db8:1::/48", 2);
    add("2001:db8:1:2::/64", 3);
    add("2001:db8:1:2::1/128", 4);
    const char* address = "2001:db8:1:2::1";
    EXPECT_EQ(find(address), NextHopId{4});
    remove("2001:db8:1:2::1/128");
    EXPECT_EQ(find(address), NextHopId{3});
    remove("2001:db8:1::/48");
    EXPECT_EQ(find(address), NextHopId{3});
    EXPECT_EQ(find("2001:db8:1:3::1"), NextHopId{1});
    remove("2001:db8:1:2::/64");
    EXPECT_EQ(find(address), NextHopId{1});
    remove("2001:db8::/32");
    EXPECT_EQ(find(address), kNoNextHop);
}

TEST_F(FibTest, RemovingWhatIsAbsentIsNotFound) {
    create();
    add("10.1.0.0/16", 1);
    add("2001:db8::/64", 1);
    for (const char* route :
         {"10.1.0.0/17", "10.0.0.0/15", "10.1.0.0/32", "0.0.0.0/0", "::/0", "2001:db8::/63",
          "2001:db8::/65", "2001:db8::/128", "2001:db9::/64", "2001:db8:0:0:8000::/66"}) {
        const auto removed = fib_->remove(kVrf0, prefix(route));
        ASSERT_FALSE(removed) << route;
        EXPECT_EQ(removed.error().code, ErrorCode::kNotFound);
        EXPECT_FALSE(fib_->get(kVrf0, prefix(route)));
    }
    EXPECT_FALSE(fib_->remove(VrfId{1}, prefix("10.1.0.0/16")));
    EXPECT_FALSE(fib_->remove(VrfId{kMaxVrfs}, prefix("10.1.0.0/16")));
    EXPECT_EQ(find("10.1.2.3"), NextHopId{1});
}

TEST_F(FibTest, RefusesWhatIsOutOfRange) {
    create();
    IpPrefix host_bits = prefix("10.0.0.0/8");
    host_bits.address = ip("10.0.0.1");
    IpPrefix too_long = prefix("10.0.0.0/32");
    too_long.length = 33;
    const std::array<std::tuple<VrfId, IpPrefix, NextHopId>, 5> cases{{
        {VrfId{kMaxVrfs}, prefix("10.0.0.1/32"), NextHopId{1}},
        {kVrf0, prefix("10.0.0.1/32"), kNoNextHop},
        {kVrf0, prefix("10.0.0.1/32"), NextHopId{kMaxNextHops}},
        {kVrf0, host_bits, NextHopId{1}},
        {kVrf0, too_long, NextHopId{1}},
    }};
    for (const auto& [vrf, route, id] : cases) {
        const auto added = fib_->add(vrf, route, id);
        ASSERT_FALSE(added);
        EXPECT_EQ(added.error().code, ErrorCode::kInvalid);
    }
    EXPECT_EQ(fib_->usage().hosts_ipv4, 0U);
    EXPECT_EQ(fib_->usage().prefixes_ipv4, 0U);

    const auto made = Fib::create({.hosts_ipv4 = 0}, mapped_memory(), reclaimer_);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kInvalid);
}

TEST_F(FibTest, VrfsDoNotSeeEachOther) {
    constexpr std::array<uint16_t, 5> kVrfs{0, 1, 2, 4094, 4095};
    create();
    for (const uint16_t vrf : kVrfs) {
        for (const char* route : {"10.0.0.1/32", "10.0.0.0/24", "2001:db8::1/128", "::/0"}) {
            add(route, vrf + 1U, VrfId{vrf});
        }
    }
    EXPECT_EQ(find("10.0.0.1", VrfId{3}), kNoNextHop);
    for (const uint16_t vrf : kVrfs) {
        for (const char* address : {"10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"}) {
            EXPECT_EQ(find(address, VrfId{vrf}), NextHopId{vrf + 1U});
        }
    }
    EXPECT_EQ(fib_->remove_vrf(VrfId{4095}), 4U);
    EXPECT_EQ(fib_->remove_vrf(VrfId{4095}), 0U);
    EXPECT_EQ(find("10.0.0.1", VrfId{4095}), kNoNextHop);
    EXPECT_EQ(find("2001:db8::2", VrfId{4095}), kNoNextHop);
    EXPECT_EQ(find("2001:db8::2", VrfId{4094}), NextHopId{4095});
    EXPECT_EQ(fib_->usage().hosts_ipv4, 4U);
    EXPECT_EQ(fib_->usage().prefixes_ipv6, 4U);
}

struct OracleCase {
    Family family;
    uint32_t seed;
};

class FibOracleTest : public FibTest, public testing::WithParamInterface<OracleCase> {};

TEST_P(FibOracleTest, AgreesWithTheNaiveTableThroughRandomChanges) {
    create(
        {.hosts_ipv4 = 4096, .hosts_ipv6 = 4096, .prefixes_ipv4 = 65536, .prefixes_ipv6 = 65536});
    CloseAddresses close(GetParam().family, GetParam().seed);
    NaiveFib naive;
    std::vector<std::pair<VrfId, IpPrefix>> known;
    for (int round = 0; round < 3000; ++round) {
        const VrfId vrf{static_cast<uint16_t>(close.below(3) * 2047)};
        const bool removing = !known.empty() && close.below(100) < (round % 1000 < 600 ? 25 : 70);
        IpPrefix changed = close.prefix();
        if (removing) {
            const auto [of, route] = known[close.below(static_cast<uint32_t>(known.size()))];
            changed = route;
            ASSERT_EQ(fib_->remove(of, route).has_value(), naive.remove(of, route));
        } else {
            const NextHopId id{1 + close.below(kMaxNextHops - 1)};
            ASSERT_TRUE(fib_->add(vrf, changed, id));
            naive.add(vrf, changed, id);
            known.emplace_back(vrf, changed);
        }
        if (close.below(16) == 0) reclaimer_.drain();
        for (const VrfId in : {kVrf0, VrfId{2047}, VrfId{4094}}) {
            expect_like(naive, in, changed.address);
            expect_like(naive, in, last_of(changed));
            expect_like(naive, in, close.address());
        }
        if (changed.length > 0) {
            expect_like(naive, vrf, flip_bit(changed.address, changed.length - 1U));
        }
    }

    // The listing is the table.
    NaiveFib listed;
    for (const VrfId in : {kVrf0, VrfId{2047}, VrfId{4094}}) {
        fib_->for_each(in, [&](VrfId vrf, const FibRoute& route) {
            listed.add(vrf, route.prefix, route.next_hop);
        });
    }
    EXPECT_EQ(listed.routes(), naive.routes());
    for (const auto& [key, id] : naive.routes())
        ASSERT_EQ(fib_->get(key.first, key.second), id);

    // Whatever the order, an emptied table has no nodes left.
    for (const auto& [key, id] : naive.routes())
        ASSERT_TRUE(fib_->remove(key.first, key.second));
    reclaimer_.run_all();
    const FibUsage usage = fib_->usage();
    EXPECT_EQ(usage.prefix_bytes_ipv4 + usage.prefix_bytes_ipv6, 0U);
    EXPECT_EQ(usage.hosts_ipv4 + usage.hosts_ipv6 + usage.prefixes_ipv4 + usage.prefixes_ipv6, 0U);
    EXPECT_EQ(usage.retired_pending, 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FibOracleTest,
                         testing::Values(OracleCase{Family::kIpv4, 1}, OracleCase{Family::kIpv4, 2},
                                         OracleCase{Family::kIpv4, 3}, OracleCase{Family::kIpv6, 4},
                                         OracleCase{Family::kIpv6, 5},
                                         OracleCase{Family::kIpv6, 6}),
                         [](const auto& test) {
                             return std::string(test.param.family == Family::kIpv4 ? "Ipv4"
                                                                                   : "Ipv6") +
                                    "Seed" + std::to_string(test.param.seed);
                         });

TEST_F(FibTest, TheShapeOfATrieDoesNotDependOnTheOrder) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        CloseAddresses close(family, 11);
        NaiveFib naive;
        for (int i = 0; i < 500; ++i)
            naive.add(kVrf0, close.prefix(), NextHopId{1});
        size_t bytes[2];
        for (const bool backwards : {false, true}) {
            create();
            std::vector<IpPrefix> routes;
            for (const auto& [key, id] : naive.routes())
                routes.push_back(key.second);
            if (backwards) std::reverse(routes.begin(), routes.end());
            for (const IpPrefix& route : routes)
                ASSERT_TRUE(fib_->add(kVrf0, route, NextHopId{1}));
            reclaimer_.run_all();
            bytes[backwards] = fib_->usage().prefix_bytes_ipv4 + fib_->usage().prefix_bytes_ipv6;
        }
        EXPECT_EQ(bytes[0], bytes[1]);
    }
}

TEST_F(FibTest, AFullHostTableRefusesAndKeepsWhatItHas) {
    constexpr uint32_t kCapacity = 14336;  // 7/8 of 16,384 words: bucket pairs overflow, words move
    create(
        {.hosts_ipv4 = kCapacity, .hosts_ipv6 = kCapacity, .prefixes_ipv4 = 1, .prefixes_ipv6 = 1});
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const auto host = [family](uint32_t n) {
            IpAddress address(Ip4{Be32{0x0a000000 + n}});
            address.family = family;
            return IpPrefix{address, address.bits()};
        };
        for (uint32_t n = 0; n < kCapacity; ++n) {
            ASSERT_TRUE(fib_->add(kVrf0, host(n), NextHopId{n + 1})) << n;
        }
        const auto refused = fib_->add(kVrf0, host(kCapacity), NextHopId{1});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
        EXPECT_EQ(lookup(fib_->view(), kVrf0, host(kCapacity).address), kNoNextHop);
        for (uint32_t n = 0; n < kCapacity; ++n) {
            ASSERT_EQ(lookup(fib_->view(), kVrf0, host(n).address), NextHopId{n + 1});
        }
        // A full table still takes a new next hop, and a new route for a removed one.
        ASSERT_TRUE(fib_->add(kVrf0, host(0), NextHopId{999}));
        ASSERT_TRUE(fib_->remove(kVrf0, host(1)));
        ASSERT_TRUE(fib_->add(kVrf0, host(kCapacity), NextHopId{1}));
        EXPECT_EQ(lookup(fib_->view(), kVrf0, host(0).address), NextHopId{999});
        EXPECT_EQ(lookup(fib_->view(), kVrf0, host(1).address), kNoNextHop);
    }
}

TEST_F(FibTest, AFullTrieRefusesAndKeepsWhatItHas) {
    create({.hosts_ipv4 = 1, .hosts_ipv6 = 1, .prefixes_ipv4 = 2, .prefixes_ipv6 = 2});
    add("10.0.0.0/8", 1);
    add("10.1.0.0/16", 2);
    const auto refused = fib_->add(kVrf0, prefix("0.0.0.0/0"), NextHopId{3});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
    add("10.1.0.0/16", 4);
    EXPECT_EQ(find("10.1.0.1"), NextHopId{4});
    EXPECT_EQ(find("11.0.0.1"), kNoNextHop);
    remove("10.0.0.0/8");
    add("0.0.0.0/0", 3);
    EXPECT_EQ(find("11.0.0.1"), NextHopId{3});
}

// Memory that runs out after so many bytes.
size_t g_bytes_left = 0;

TableMemory scarce_memory(size_t bytes) {
    g_bytes_left = bytes;
    return {.allocate = [](size_t size, size_t align) -> void* {
                if (size > g_bytes_left) return nullptr;
                g_bytes_left -= size;
                return mapped_memory().allocate(size, align);
            },
            .release =
                [](void* memory, size_t size) {
                    g_bytes_left += size;
                    mapped_memory().release(memory, size);
                }};
}

TEST_F(FibTest, OutOfMemoryChangesNothingAndMemoryIsGivenBack) {
    const FibSizes sizes{.hosts_ipv4 = 64, .hosts_ipv6 = 64};
    constexpr size_t kBytes = size_t{512} << 10;
    auto made = Fib::create(sizes, scarce_memory(kBytes), reclaimer_);
    ASSERT_TRUE(made);
    fib_ = std::move(*made);
    NaiveFib naive;
    bool refused = false;
    for (uint32_t n = 0; n < 200000 && !refused; ++n) {
        const IpPrefix route = cut_prefix(IpAddress(Ip4{Be32{n * 2654435761U}}), 24 + n % 8);
        if (const auto added = fib_->add(kVrf0, route, NextHopId{n + 1}); !added) {
            EXPECT_EQ(added.error().code, ErrorCode::kLimit);
            refused = true;
        } else {
            naive.add(kVrf0, route, NextHopId{n + 1});
        }
    }
    ASSERT_TRUE(refused);
    EXPECT_GT(reclaimer_.drains(), 0U);
    EXPECT_EQ(fib_->usage().prefixes_ipv4, naive.routes().size());
    for (const auto& [key, id] : naive.routes()) {
        ASSERT_EQ(fib_->get(kVrf0, key.second), id);
        expect_like(naive, kVrf0, last_of(key.second));
    }
    fib_.reset();
    EXPECT_EQ(g_bytes_left, kBytes);
    reclaimer_.run_all();  // what was still deferred finds nothing to release

    const auto none = Fib::create(sizes, scarce_memory(1000), reclaimer_);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ErrorCode::kLimit);
    EXPECT_FALSE(Fib::create(sizes, scarce_memory(sizeof(FibTables) + 65536), reclaimer_));
    EXPECT_EQ(g_bytes_left, sizeof(FibTables) + 65536);
}

TEST_F(FibTest, ADefaultRouteInEveryVrfIsSmall) {
    create();
    for (unsigned vrf = 0; vrf < kMaxVrfs; ++vrf) {
        add("0.0.0.0/0", vrf + 1, VrfId{static_cast<uint16_t>(vrf)});
        add("::/0", vrf + 1, VrfId{static_cast<uint16_t>(vrf)});
    }
    EXPECT_LE(fib_->usage().prefix_bytes_ipv4, 64 * kMaxVrfs);
    EXPECT_LE(fib_->usage().prefix_bytes_ipv6, 64 * kMaxVrfs);
    EXPECT_LE(fib_->usage().reserved_bytes, 256 * kMaxVrfs);
    EXPECT_EQ(find("192.0.2.1", VrfId{4095}), NextHopId{4096});
    EXPECT_EQ(find("2001:db8::1", VrfId{17}), NextHopId{18});
}

TEST_F(FibTest, HostRoutesCostLessThan128Bytes) {
    create();
    const FibUsage usage = fib_->usage();
    EXPECT_LE(usage.host_bytes_ipv4, 128 * kMaxHostRoutes);
    EXPECT_LE(usage.host_bytes_ipv6, 128 * kMaxHostRoutes);
}

TEST_F(FibTest, RetiredEntriesWaitForTheGracePeriod) {
    constexpr uint32_t kCapacity = 64;
    create({.hosts_ipv4 = 1, .hosts_ipv6 = kCapacity, .prefixes_ipv4 = 16, .prefixes_ipv6 = 16});
    // More removals than there are spare entries: the table asks for a grace period itself.
    for (uint32_t n = 0; n < 40 * kCapacity; ++n) {
        const IpPrefix route{
            Ip6{{0x20, 1, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)}}, 128};
        ASSERT_TRUE(fib_->add(kVrf0, route, NextHopId{n + 1}));
        ASSERT_TRUE(fib_->remove(kVrf0, route));
    }
    EXPECT_GT(reclaimer_.drains(), 0U);
    EXPECT_GT(fib_->usage().retired_pending, 0U);
    reclaimer_.run_all();
    EXPECT_EQ(fib_->usage().retired_pending, 0U);
}

TEST_F(FibTest, BulkLoadDefersOnceAGracePeriod) {
    create();
    for (uint32_t n = 0; n < 1000; ++n) {
        const IpAddress address(Ip4{Be32{n << 8}});
        ASSERT_TRUE(fib_->add(kVrf0, IpPrefix{address, 24}, NextHopId{1}));
    }
    EXPECT_EQ(reclaimer_.deferred(), 1U);
}

}  // namespace
}  // namespace slash32::test
