// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/route_chunk.h"

#include <gtest/gtest.h>

#include <vector>

namespace slash32 {
namespace {

HopRequest sample_hop(uint32_t hop) {
    HopRequest out;
    if (hop == 0) return out;
    if (hop == 4) {
        out.kind = NextHopSpec::Kind::kTunnel;
        out.segment_routing.paths = {
            {.segments = {parse_ip("fc00::1")->ipv6(), parse_ip("fc00::2")->ipv6()}},
            {.segments = {parse_ip("fc00::3")->ipv6()}, .reduced = false, .weight = 7}};
        out.segment_routing.reports_misses = true;
        out.segment_routing.aging =
            Aging{.idle_seconds = 77, .vrf = VrfId{9}, .prefix = *parse_prefix("2001:db8::/64")};
        return out;
    }
    if (hop == 5) {
        out.kind = NextHopSpec::Kind::kSid;
        out.segment_routing.sid = SidIntent{.sid = *parse_prefix("fc00:0:1::/48"),
                                            .behavior = SidBehavior::kEndDt46,
                                            .flavors = kSidNextCsid,
                                            .block_bits = 32,
                                            .vrf = VrfId{9}};
        return out;
    }
    if (hop == 6) {
        out.kind = NextHopSpec::Kind::kVrf;
        out.vrf = VrfId{9};
        return out;
    }
    out.kind = NextHopSpec::Kind::kPort;
    out.port = "uplink0";
    if (hop == 1) out.via = *parse_ip("192.0.2.1");
    if (hop == 2) out.via = *parse_ip("fe80::1");
    if (hop == 3) out.mac = *parse_mac("52:54:00:00:00:09");
    return out;
}

RouteChunkWriter sample_writer() {
    return {sample_hop, [](uint32_t owner) { return owner == 0 ? "cli" : "neutron"; }};
}

std::string sample_chunk() {
    RouteChunkWriter writer = sample_writer();
    for (uint32_t i = 0; i < 8; ++i) {
        RouteValue value;
        value.hop = (i % 7) & (kMaxNextHops - 1);
        value.owner = i < 4 ? 0 : 1;
        writer.set({VrfId{static_cast<uint16_t>(i)}, {Ip4{Be32(0x0a000000u + i)}, 32}}, value);
        writer.set({VrfId{0}, {*parse_ip("2001:db8::"), static_cast<uint8_t>(32 + i)}}, value);
    }
    writer.remove({VrfId{3}, *parse_prefix("10.0.0.3/32")});
    return writer.finish();
}

TEST(RouteChunk, ReadsWhatWasWritten) {
    std::vector<StoredRouteValue> values(1);
    std::vector<std::pair<RouteKey, uint32_t>> records;
    const auto ok = read_route_chunk(
        sample_chunk(), [&](uint32_t, const StoredRouteValue& value) { values.push_back(value); },
        [&](const RouteKey& key, uint32_t number) { records.emplace_back(key, number); });
    ASSERT_TRUE(ok.has_value());
    ASSERT_EQ(values.size(), 9u);
    ASSERT_EQ(records.size(), 17u);
    for (uint32_t i = 0; i < 8; ++i) {
        EXPECT_TRUE(values[i + 1].next_hop == sample_hop(i % 7));
        EXPECT_EQ(values[i + 1].owner, i < 4 ? "cli" : "neutron");
        EXPECT_EQ(records[i].first.vrf.value(), i);
        EXPECT_EQ(records[i].second, i + 1);
        EXPECT_EQ(records[9 + i].first.prefix.length, 32 + i);
    }
    EXPECT_EQ(to_string(records[8].first.prefix), "10.0.0.3/32");
    EXPECT_EQ(records[8].second, 0u);
}

TEST(RouteChunk, WriterStartsAnewAfterFinish) {
    RouteChunkWriter writer = sample_writer();
    const RouteKey key{VrfId{0}, *parse_prefix("10.0.0.1/32")};
    writer.set(key, {});
    const std::string first = writer.finish();
    EXPECT_EQ(writer.records(), 0u);
    writer.set(key, {});
    EXPECT_EQ(writer.finish(), first);
}

TEST(RouteChunk, RefusesEveryDamage) {
    const std::string good = sample_chunk();
    const auto read = [](const std::string& chunk) {
        return read_route_chunk(
                   chunk, [](uint32_t, const StoredRouteValue&) {},
                   [](const RouteKey&, uint32_t) {})
            .has_value();
    };
    ASSERT_TRUE(read(good));
    for (size_t size = 0; size < good.size(); ++size)
        EXPECT_FALSE(read(good.substr(0, size)));
    for (size_t at = 0; at < good.size(); ++at) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 0x10);
        EXPECT_FALSE(read(bad)) << at;
    }
    EXPECT_FALSE(read(good + "x"));
}

TEST(Crc32c, AgreesWithTheVectorsOfRfc3720) {
    EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
    EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
    EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
    EXPECT_EQ(crc32c("6789", crc32c("12345")), crc32c("123456789"));
}

}  // namespace
}  // namespace slash32
