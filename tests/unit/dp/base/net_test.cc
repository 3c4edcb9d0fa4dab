// SPDX-License-Identifier: Apache-2.0
#include "dp/base/net.h"

#include <gtest/gtest.h>

namespace slash32 {
namespace {

TEST(Net, ParsesAndPrintsMac) {
    const auto mac = parse_mac("52:54:00:aB:00:01");
    ASSERT_TRUE(mac);
    EXPECT_EQ(to_string(*mac), "52:54:00:ab:00:01");
    EXPECT_FALSE(mac->is_multicast());
}

TEST(Net, RefusesWhatIsNoMac) {
    for (const char* text : {"", "52:54:00:ab:00", "52-54-00-ab-00-01", "52:54:00:ab:00:0g",
                             "52:54:00:ab:00:001", "+2:54:00:ab:00:01", " 2:54:00:ab:00:01"})
        EXPECT_FALSE(parse_mac(text)) << text;
}

TEST(Net, ParsesBothFamilies) {
    EXPECT_EQ(to_string(*parse_ip("10.0.0.1")), "10.0.0.1");
    EXPECT_EQ(to_string(*parse_ip("2001:DB8:0::1")), "2001:db8::1");
    EXPECT_TRUE(parse_ip("10.0.0.1")->is_ipv4());
    EXPECT_EQ(parse_ip("::1")->bits(), 128);
}

TEST(Net, RefusesWhatIsNoAddress) {
    for (const char* text : {"", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1 ", "fe80::1%eth0",
                             "::g", "1:2:3:4:5:6:7:8:9", "localhost"})
        EXPECT_FALSE(parse_ip(text)) << text;
    EXPECT_FALSE(parse_ip(std::string_view("10.0.0.1\0", 9)));
}

TEST(Net, PrefixWithoutLengthIsAHost) {
    EXPECT_EQ(to_string(*parse_prefix("10.0.0.1")), "10.0.0.1/32");
    EXPECT_TRUE(parse_prefix("2001:db8::1")->is_host());
}

TEST(Net, RefusesPrefixWithHostBitsOrABadLength) {
    for (const char* text :
         {"10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/24/1",
          "2001:db8::/129", "2001:db8::1/64", "/24"})
        EXPECT_FALSE(parse_prefix(text)) << text;
    EXPECT_TRUE(parse_prefix("0.0.0.0/0"));
    EXPECT_TRUE(parse_prefix("::/0"));
}

TEST(Net, PrefixContainsItsAddressesOnly) {
    const IpPrefix prefix = *parse_prefix("10.1.128.0/17");
    EXPECT_TRUE(prefix.contains(*parse_ip("10.1.128.0")));
    EXPECT_TRUE(prefix.contains(*parse_ip("10.1.255.255")));
    EXPECT_FALSE(prefix.contains(*parse_ip("10.1.127.255")));
    EXPECT_FALSE(prefix.contains(*parse_ip("2001:db8::1")));
    EXPECT_TRUE(parse_prefix("0.0.0.0/0")->contains(*parse_ip("255.255.255.255")));
    EXPECT_TRUE(parse_prefix("10.0.0.1/32")->contains(*parse_ip("10.0.0.1")));
    EXPECT_FALSE(parse_prefix("10.0.0.1/32")->contains(*parse_ip("10.0.0.0")));
}

template <typename Address>
void expect_every_byte_counts() {
    constexpr Address zero{};
    EXPECT_EQ(zero, Address{});
    for (size_t i = 0; i < zero.bytes.size(); ++i) {
        for (const uint8_t bit : {uint8_t{0x01}, uint8_t{0x80}}) {
            Address other{};
            other.bytes[i] = bit;
            EXPECT_NE(zero, other) << "byte " << i;
            EXPECT_EQ(other, Address{other.bytes}) << "byte " << i;
            EXPECT_LT(zero, other) << "byte " << i;
        }
    }
}

TEST(Net, EveryByteOfAnAddressCounts) {
    expect_every_byte_counts<Mac>();
    expect_every_byte_counts<Ip6>();
}

TEST(Net, BigEndianOrdersByValue) {
    EXPECT_LT(Be16(1), Be16(256));
    EXPECT_EQ(Be32(0x01020304).raw(), 0x04030201u);
    EXPECT_EQ(Be32::from_raw(0x04030201u).to_host(), 0x01020304u);
}

}  // namespace
}  // namespace slash32
