// SPDX-License-Identifier: Apache-2.0
// The expected HMACs are from Python's hmac and hashlib, over the text of RFC 8754 section 2.1.2.1
// and over that of Linux, which lacks the two bytes behind the TLV's length.
#include "dp/packet/segment_hmac.h"

#include "dp/packet/segments.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace slash32 {
namespace {

Ip6 ip(const char* text) {
    return parse_ip(text)->ipv6();
}

SegmentKey key(HmacForm form = HmacForm::kRfc8754, uint32_t id = 7,
               std::string_view secret = "correct horse") {
    return make_segment_key(id, form,
                            {reinterpret_cast<const uint8_t*>(secret.data()), secret.size()});
}

// A header with two segments, the first of which is next.
struct Signed {
    SegmentRoutingHeader header{};
    Ip6 segments[2];
    HmacTlv tlv{};

    explicit Signed(const SegmentKey& with, uint16_t bits = 0) {
        header.length = (sizeof *this - 8) / 8;
        header.routing_type = kSegmentRoutingType;
        header.segments_left = 1;
        header.last_entry = 1;
        segments[0] = ip("fc00:0:2:7::");
        segments[1] = ip("fc00:0:5::");
        sign(with, ip("fc00:0:1::"), header, tlv, bits);
    }
    std::string hex() const {
        std::string text;
        for (const uint8_t byte : tlv.hmac)
            text += fmt::format("{:02x}", byte);
        return text;
    }
};
static_assert(sizeof(Signed) == 8 + 32 + 40);

bool accepts(const SegmentKey& with, const Signed& packet,
             const char* source = "fc00:0:1::", const char* destination = "fc00:0:5::") {
    SegmentKeys keys;
    keys.list[keys.count++] = with;
    const HmacTlv* tlv = find_hmac(packet.header);
    return tlv != nullptr && is_authentic(keys, ip(source), ip(destination), packet.header, *tlv);
}

TEST(SegmentHmac, IsAsTheRfcHasIt) {
    EXPECT_EQ(Signed(key()).hex(),
              "0d286cd519015a39b60d45ad61c90273aea96ff5ffa1e66b2ec63f71abb2172b");
    EXPECT_EQ(Signed(key(), kHmacNoDestination).hex(),
              "7e20377b2b9c3c0965f9d4bd28252e1c68e5dea193f29cf2afec064df06f867a");
}

TEST(SegmentHmac, IsAsLinuxHasIt) {
    const Signed packet(key(HmacForm::kLinux), kHmacNoDestination);
    EXPECT_EQ(packet.hex(), "1313fa2d28c10fbfda5f660758a5bd8541dea9ea4f4552b16dad87bf6d50be3f");
    EXPECT_EQ(packet.header.flags, kLinuxHmacFlag);
    EXPECT_EQ(packet.tlv.bits.host(), 0);
}

TEST(SegmentHmac, IsAcceptedOfWhoHasTheKey) {
    EXPECT_TRUE(accepts(key(), Signed(key())));
    EXPECT_TRUE(accepts(key(HmacForm::kLinux), Signed(key(HmacForm::kLinux))));
    EXPECT_FALSE(accepts(key(HmacForm::kLinux), Signed(key())));
    EXPECT_FALSE(accepts(key(HmacForm::kRfc8754, 7, "battery"), Signed(key())));
    EXPECT_FALSE(accepts(key(HmacForm::kRfc8754, 8), Signed(key())));
    EXPECT_FALSE(accepts(key(), Signed(key()), "fc00:0:9::"));
}

// A destination that is not the segment that is next: only where the list is a reduced one.
TEST(SegmentHmac, NamesTheDestination) {
    EXPECT_FALSE(accepts(key(), Signed(key()), "fc00:0:1::", "fc00:0:6::"));
    EXPECT_TRUE(accepts(key(), Signed(key(), kHmacNoDestination), "fc00:0:1::", "fc00:0:6::"));
    Signed beyond(key());
    beyond.header.segments_left = 2;
    EXPECT_FALSE(accepts(key(), beyond));
}

TEST(SegmentHmac, CoversWhatDoesNotChangeOnTheWay) {
    struct Change {
        const char* what;
        std::function<void(Signed&)> make;
        bool accepted;
    };
    const std::vector<Change> changes = {
        {"a segment", [](Signed& p) { p.segments[0] = ip("fc00:0:2:8::"); }, false},
        {"the flags", [](Signed& p) { p.header.flags = 1; }, false},
        {"the last entry", [](Signed& p) { p.header.last_entry = 0; }, false},
        {"the D bit", [](Signed& p) { p.tlv.bits = Be16{kHmacNoDestination}; }, false},
        {"the key", [](Signed& p) { p.tlv.key_id = Be32{6}; }, false},
        {"the HMAC", [](Signed& p) { p.tlv.hmac[31] ^= 1; }, false},
        {"the tag", [](Signed& p) { p.header.tag = Be16{9}; }, true},
        {"the next header", [](Signed& p) { p.header.next_header = 41; }, true},
    };
    for (const Change& change : changes) {
        Signed packet(key());
        change.make(packet);
        EXPECT_EQ(accepts(key(), packet), change.accepted) << change.what;
    }
    Signed later(key());
    later.header.segments_left = 0;
    EXPECT_TRUE(accepts(key(), later, "fc00:0:1::", "fc00:0:2:7::"));
}

TEST(SegmentHmac, IsFoundAmongOtherTlvs) {
    struct {
        SegmentRoutingHeader header{};
        Ip6 segment;
        uint8_t before[8] = {0, 4, 5};  // Pad1, then five bytes of padding
        HmacTlv tlv{};
    } packet;
    packet.header.length = (sizeof packet - 8) / 8;
    ASSERT_TRUE(is_valid(packet.header));
    EXPECT_EQ(find_hmac(packet.header), nullptr);
    sign(key(), ip("fc00:0:1::"), packet.header, packet.tlv, 0);
    ASSERT_TRUE(is_valid(packet.header));
    EXPECT_EQ(find_hmac(packet.header), &packet.tlv);
    packet.tlv.length = 30;  // shorter than an HMAC, and padding behind it
    packet.tlv.hmac[24] = 0;
    EXPECT_EQ(find_hmac(packet.header), nullptr);
}

}  // namespace
}  // namespace slash32
