// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

namespace slash32 {
namespace {

class ConfigTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "slash32-config-XXXXXX";
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    Result<Config> read(const std::string& text) {
        path_ = directory_ + "/slash32.toml";
        std::ofstream(path_) << text;
        Config config;
        if (auto read = read_config_file(path_, config); !read)
            return tl::unexpected<Error>(read.error());
        if (auto checked = check_config(config); !checked)
            return tl::unexpected<Error>(checked.error());
        return config;
    }

    std::string directory_;
    std::string path_;
};

TEST_F(ConfigTest, EmptyFileIsTheDefaultsAndTheyAreGood) {
    const auto config = read("");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->control_socket(), "/run/slash32/slash32.sock");
    EXPECT_EQ(config->poll, "sleep");
    EXPECT_TRUE(config->worker_cores.empty());
}

TEST_F(ConfigTest, ReadsEveryKindOfValue) {
    const auto config = read(R"(
        [daemon]
        run_dir = "/tmp/x"
        [workers]
        cores = [1, 3]
        [vhost]
        packed = true
        [memory]
        mbufs = 65536
        [log]
        levels = ["vhost=debug"]
        [[uplink]]
        name = "up0"
        devargs = "net_af_packet0,iface=eth1"
        mac = "02:00:00:00:00:01"
        mtu = 9000
        addresses = ["192.0.2.2", "2001:db8::2"]
    )");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->control_socket(), "/tmp/x/slash32.sock");
    EXPECT_EQ(config->worker_cores, (std::vector<int64_t>{1, 3}));
    EXPECT_TRUE(config->vhost_packed);
    EXPECT_EQ(config->mbufs, 65536);
    ASSERT_EQ(config->uplinks.size(), 1u);
    EXPECT_EQ(config->uplinks[0].mtu, 9000);
    EXPECT_EQ(config->uplinks[0].addresses.size(), 2u);
    EXPECT_EQ(to_string(*config->uplinks[0].mac), "02:00:00:00:00:01");
}

struct BadCase {
    const char* text;
    const char* path;     // what the error's path ends with
    const char* message;  // a part of it
};

TEST_F(ConfigTest, RefusesNamingTheLineOrTheOption) {
    const BadCase cases[] = {
        {"[workers]\npoll = \"eager\"", "workers.poll", "sleep"},
        {"[workers]\ncores = [1, 1]", "workers.cores", "twice"},
        {"[workers]\ncores = [99999]", "workers.cores", "from 0 to"},
        {"[workers]\ncores = [\"a\"]", ":2", "workers.cores must be an array of integers"},
        {"[workers]\ncores = 1", ":2", "array"},
        {"[daemon]\n\nrun_dri = \"/x\"", ":3", "no option daemon.run_dri"},
        {"[demon]\nrun_dir = \"/x\"", ":2", "no option demon.run_dir"},
        {"run_dir = \"/x\"", ":1", "not a section"},
        {"[memory\n", ":1", ""},
        {"[memory]\nsize_mb = 1", "memory.size_mb", "from 64"},
        {"[memory]\nsize_mb = 1.5", ":2", "an integer"},
        {"[vhost]\npacked = \"yes\"", ":2", "true or false"},
        {"[router]\nmac = \"ff:ff:ff:ff:ff:ff\"", "router.mac", "unicast"},
        {"[router]\ngateway4 = \"fe80::1\"", "router.gateway4", "IPv4"},
        {"[socket]\nmode = \"rw\"", "socket.mode", "octal"},
        {"[log]\nlevel = \"loud\"", "log.level", "trace"},
        {"[log]\nlevels = [\"vhost\"]", "log.levels", "module=level"},
        {"[[uplink]]\nname = \"up0\"", "uplink.devargs", "up0"},
        {"[[uplink]]\ndevargs = \"x\"", "uplink.name", "name"},
        {"[[uplink]]\nname = \"a\"\ndevargs = \"x\"\nmtu = 100", ":4", "MTU"},
        {"[[uplink]]\nname = \"a\"\ndevargs = \"x\"\n[[uplink]]\nname = \"a\"\ndevargs = \"y\"",
         "uplink.name", "two uplinks"},
        {"[[uplink]]\nname = \"a\"\ncolour = \"red\"", ":3", "no such option"},
        {"uplink = 3", ":1", "[[uplink]]"},
        {"[srv6]\nlocator = \"10.0.0.0/8\"", "srv6.locator", "IPv6 prefix"},
        {"[srv6]\nlocator = \"fc00:0:1::1/128\"", "srv6.locator", "16 to 120"},
        {"[srv6]\nsource = \"fc00::1\"", "srv6.locator", "required"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nsource = \"ff02::1\"", "srv6.source", "routed"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nlocators = [\"fc00:0:2::/48\"]", "srv6.locators",
         "none holds"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nlocators = [\"fc00::/32\", \"fc00:0:1::/48\"]",
         "srv6.locators", "overlap"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nsources = [\"x\"]", "srv6.sources", "\"x\""},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\ndscp = \"64\"", "srv6.dscp", "0 to 63"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nhop_limit = 256", "srv6.hop_limit", "0 to 255"},
        {"[srv6]\nhmac_keys = [\"id=1;file=/x\"]", "srv6.locator", "required"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nhmac_keys = [\"id=0;file=/x\"]", "srv6.hmac_keys",
         "is not id="},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nhmac_keys = [\"id=1;file=/no/such\"]",
         "srv6.hmac_keys", "cannot read /no/such"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nhmac_sign = 1", "srv6.hmac_sign", "no key 1"},
        {"[srv6]\nlocator = \"fc00:0:1::/48\"\nhmac_require = true", "srv6.hmac_require",
         "needs keys"},
    };
    for (const BadCase& bad : cases) {
        const auto config = read(bad.text);
        ASSERT_FALSE(config) << bad.text;
        EXPECT_TRUE(config.error().path.ends_with(bad.path))
            << bad.text << ": " << config.error().path;
        EXPECT_NE(config.error().message.find(bad.message), std::string::npos)
            << bad.text << ": " << config.error().message;
    }
}

TEST_F(ConfigTest, RefusesAVlanOrBondThatMakesNoSense) {
    const std::string vlan =
        "[[uplink]]\nname = \"a\"\ndevargs = \"x\"\n"
        "[[uplink]]\nname = \"v\"\nvlan = 7\nparent = \"a\"\n[[uplink]]\nname = \"w\"\n";
    const BadCase cases[] = {
        {"parent = \"a\"", "uplink.vlan", "together"},
        {"vlan = 7", "uplink.parent", "together"},
        {"vlan = 0\nparent = \"a\"", ":10", "1 to 4094"},
        {"vlan = 4095\nparent = \"a\"", ":10", "1 to 4094"},
        {"vlan = 7\nparent = \"b\"", "uplink.parent", "before it"},
        {"vlan = 7\nparent = \"w\"", "uplink.parent", "before it"},
        {"vlan = 7\nparent = \"a\"", "uplink.vlan", "same VLAN 7"},
        {"vlan = 8\nparent = \"v\"", "uplink.parent", "VLAN of the VLAN"},
        {"vlan = 8\nparent = \"a\"\nmtu = 9000", "uplink.mtu", "1500 of a"},
        {"vlan = 8\nparent = \"a\"\nqueues = 2", "uplink.vlan", "of a"},
        {"bond = \"lacp\"", "uplink.members", "together"},
        {"members = [\"x\"]", "uplink.bond", "together"},
        {"bond = \"team\"", ":10", "lacp"},
        {"bond = \"lacp\"\nmembers = [\"x\"]\ndevargs = \"y\"", "uplink.devargs", "its members"},
    };
    for (const BadCase& bad : cases) {
        const auto config = read(fmt::format("{}{}", vlan, bad.text));
        ASSERT_FALSE(config) << bad.text;
        EXPECT_TRUE(config.error().path.ends_with(bad.path))
            << bad.text << ": " << config.error().path;
        EXPECT_NE(config.error().message.find(bad.message), std::string::npos)
            << bad.text << ": " << config.error().message;
    }
}

TEST_F(ConfigTest, MissingFileIsNamed) {
    Config config;
    const auto read = read_config_file(directory_ + "/nothing.toml", config);
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().path.find("nothing.toml"), std::string::npos);
}

TEST_F(ConfigTest, LongSocketPathIsRefused) {
    const auto config = read("[daemon]\nrun_dir = \"/" + std::string(120, 'x') + "\"");
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().path, "socket.path");
}

TEST(ConfigFlags, EveryOptionHasItsOwnFlag) {
    std::set<std::string> flags;
    for (const ConfigOption& option : config_options()) {
        EXPECT_TRUE(flags.insert(option.flag()).second) << option.flag();
        EXPECT_EQ(option.flag().find('_'), std::string::npos);
    }
    EXPECT_TRUE(flags.contains("--workers-control-core"));
}

TEST(ConfigFlags, UplinkMayBeABondOrAVlan) {
    const auto bond = parse_uplink_flag(
        "name=b;bond=lacp;member=net_tap0,iface=x;member=0000:3b:00.1;damping=false;"
        "offload=false");
    ASSERT_TRUE(bond);
    EXPECT_EQ(bond->bond, BondMode::kLacp);
    EXPECT_EQ(bond->members, (std::vector<std::string>{"net_tap0,iface=x", "0000:3b:00.1"}));
    EXPECT_FALSE(bond->damping);
    EXPECT_FALSE(bond->offload);
    const auto vlan = parse_uplink_flag("name=b.7;parent=b;vlan=7");
    ASSERT_TRUE(vlan);
    EXPECT_EQ(vlan->parent, "b");
    EXPECT_EQ(vlan->vlan, 7);
}

TEST(ConfigFlags, UplinkFlagSplitsAtSemicolonsOnly) {
    const auto uplink =
        parse_uplink_flag("name=up0;devargs=net_tap0,iface=t0;address=192.0.2.2;address=fe80::2");
    ASSERT_TRUE(uplink);
    EXPECT_EQ(uplink->devargs, "net_tap0,iface=t0");
    EXPECT_EQ(uplink->addresses.size(), 2u);
    EXPECT_FALSE(parse_uplink_flag("up0"));
    EXPECT_FALSE(parse_uplink_flag("name=up0;mtu=1"));
}

}  // namespace
}  // namespace slash32
