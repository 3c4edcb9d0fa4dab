// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace slash32::pktgen {
namespace {

// The exit status of a complaint, or nothing and `options` filled.
std::optional<int> parse(std::vector<std::string> words, Options& options) {
    words.insert(words.begin(), "s32-pktgen");
    std::vector<char*> argv;
    argv.reserve(words.size());
    for (std::string& word : words)
        argv.push_back(word.data());
    return parse_command_line(static_cast<int>(argv.size()), argv.data(), options);
}

std::vector<std::string> pair_of_devices() {
    return {"--device",  "listen:/run/a.sock",
            "--device",  "connect:/run/b.sock",
            "--src-mac", "02:00:00:00:00:01,02:00:00:00:00:02",
            "--dst-mac", "02:00:5e:00:01:01",
            "--src-ip",  "10.0.0.1,10.0.0.2",
            "--dst-ip",  "10.0.0.2,10.0.0.1"};
}

TEST(PktgenOptions, TakesAPairOfDevices) {
    Options options;
    ASSERT_EQ(parse(pair_of_devices(), options), std::nullopt);
    ASSERT_EQ(options.devices.size(), 2U);
    EXPECT_EQ(options.devices[0].socket, "/run/a.sock");
    EXPECT_NE(options.devices[0].vdev.find("server=1"), std::string::npos);
    EXPECT_EQ(options.devices[1].socket, "") << "only a socket that we made may be removed";
    EXPECT_EQ(options.devices[1].vdev.find("server"), std::string::npos);
    EXPECT_EQ(options.devices[1].source_ip, *parse_ip("10.0.0.2"));
    EXPECT_EQ(options.devices[1].destination_mac, options.devices[0].destination_mac);
}

TEST(PktgenOptions, RefusesWhatIsOutOfRange) {
    const std::vector<std::string> cases[] = {
        {"--bytes", "61"},       {"--bytes", "9217"},      {"--flows", "0"},
        {"--flows", "20000000"}, {"--dst-count", "2"},     {"--rate", "-1"},
        {"--ring", "1000"},      {"--seconds", "0"},       {"--core", "5000"},
        {"--check", "some"},     {"--gateway", "fe80::1"}, {"--device", "listen:"},
    };
    for (const auto& extra : cases) {
        std::vector<std::string> words = pair_of_devices();
        words.insert(words.end(), extra.begin(), extra.end());
        Options options;
        EXPECT_EQ(parse(words, options), 2) << extra[0] << " " << extra[1];
    }
}

std::vector<std::string> pair_of_ipv6_devices() {
    std::vector<std::string> words = pair_of_devices();
    words[9] = "2001:db8::1,2001:db8::2";
    words[11] = "2001:db8::2,2001:db8::1";
    return words;
}

TEST(PktgenOptions, TakesIpv6AndMixes) {
    Options options;
    ASSERT_EQ(parse(pair_of_ipv6_devices(), options), std::nullopt);
    EXPECT_TRUE(is_ipv6(options));
    EXPECT_EQ(options.frame_bytes, kMinFrameBytes6);
    std::vector<std::string> words = pair_of_devices();
    words.insert(words.end(), {"--imix", "64:7,594:4,1518:1"});
    Options mixed;
    ASSERT_EQ(parse(words, mixed), std::nullopt);
    ASSERT_EQ(mixed.mix.size(), 3U);
    EXPECT_EQ(mixed.mix[1].bytes, 594);
    EXPECT_EQ(mixed.mix[1].weight, 4);
    EXPECT_EQ(mixed.frame_bytes, 1518U);
    words.back() = "simple";
    Options simple;
    ASSERT_EQ(parse(words, simple), std::nullopt);
    EXPECT_EQ(simple.mix.size(), 3U);
}

TEST(PktgenOptions, RefusesMixesAndFamiliesThatCannotBe) {
    const std::vector<std::string> mixes[] = {
        {"--imix", "63:1"},
        {"--imix", "64"},
        {"--imix", "64:0"},
        {"--imix", "64:1,"},
        {"--imix", "64:1;70:1"},
        {"--imix", "9217:1"},
        {"--imix", "64:257"},
        {"--imix", ""},
        {"--imix", "64:1", "--bytes", "64"},
        {"--imix", "simple", "--tso"},
    };
    for (const auto& extra : mixes) {
        std::vector<std::string> words = pair_of_devices();
        words.insert(words.end(), extra.begin(), extra.end());
        Options options;
        EXPECT_EQ(parse(words, options), 2) << extra[1];
    }
    for (const auto& extra : std::vector<std::vector<std::string>>{
             {"--bytes", "83"}, {"--tso"}, {"--gateway", "10.0.0.254"}, {"--imix", "83:1"}}) {
        std::vector<std::string> words = pair_of_ipv6_devices();
        words.insert(words.end(), extra.begin(), extra.end());
        Options options;
        EXPECT_EQ(parse(words, options), 2) << extra[0];
    }
    std::vector<std::string> both = pair_of_devices();
    both[11] = "2001:db8::2,2001:db8::1";
    Options options;
    EXPECT_EQ(parse(both, options), 2);
}

TEST(PktgenOptions, TakesASidADevice) {
    std::vector<std::string> words = pair_of_devices();
    words.insert(words.end(),
                 {"--srv6-sid", "fc00::1,none", "--srv6-src", "fc00::9,none", "--srh"});
    Options options;
    ASSERT_EQ(parse(words, options), std::nullopt);
    EXPECT_EQ(options.devices[0].sid, *parse_ip("fc00::1"));
    EXPECT_EQ(options.devices[0].encapsulation_source, *parse_ip("fc00::9"));
    EXPECT_FALSE(options.devices[1].sid.has_value());
    EXPECT_TRUE(options.srh);
    EXPECT_TRUE(has_srv6(options));
}

TEST(PktgenOptions, RefusesSrv6AndTcpThatCannotBe) {
    const std::vector<std::string> cases[] = {
        {"--srh"},
        {"--srv6-sid", "fc00::1,none"},
        {"--srv6-src", "fc00::9"},
        {"--srv6-sid", "fc00::1", "--srv6-src", "fc00::9"},
        {"--srv6-sid", "10.0.0.1,none", "--srv6-src", "fc00::9"},
        {"--srv6-sid", "fc00::1,none", "--srv6-src", "none,fc00::9"},
        {"--srv6-sid", "fc00::1,none", "--srv6-src", "fc00::9", "--tso"},
        {"--srv6-sid", "fc00::1,none", "--srv6-src", "fc00::9", "--bytes", "9200"},
        {"--srv6-sid", "fc00::1,none", "--srv6-src", "fc00::9", "--tcp"},
        {"--tcp", "--bytes", "64"},
        {"--tcp", "--imix", "simple"},
        {"--tcp", "--tso"},
        {"--tcp", "--one-way"},
        {"--reverse"},
        {"--tcp", "--two-way"},
        {"--tcp", "--search", "pdr"},
    };
    for (const auto& extra : cases) {
        std::vector<std::string> words = pair_of_devices();
        words.insert(words.end(), extra.begin(), extra.end());
        Options options;
        EXPECT_EQ(parse(words, options), 2) << extra[0] << " " << extra.back();
    }
}

TEST(PktgenOptions, RefusesListsThatDoNotFitTheDevices) {
    for (const size_t at : {5U, 9U, 11U}) {
        std::vector<std::string> words = pair_of_devices();
        words[at] = words[at].substr(0, words[at].find(','));
        Options options;
        EXPECT_EQ(parse(words, options), 2) << words[at - 1];
    }
}

TEST(PktgenOptions, RefusesThreeDevices) {
    std::vector<std::string> words = pair_of_devices();
    words.insert(words.end(), {"--device", "net_null0"});
    words[5] += ",02:00:00:00:00:03";
    words[9] += ",10.0.0.3";
    words[11] += ",10.0.0.4";
    Options options;
    EXPECT_EQ(parse(words, options), 2);
}

TEST(PktgenOptions, LeavesDevargsAsTheyAre) {
    const auto device = parse_device("net_tap0,iface=tap7", 3, 1024);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ(device->name, "net_tap0");
    EXPECT_EQ(device->vdev, "net_tap0,iface=tap7");
}

}  // namespace
}  // namespace slash32::pktgen
