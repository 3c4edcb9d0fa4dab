// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/reload.h"

#include <gtest/gtest.h>

namespace slash32 {
namespace {

using Names = std::vector<std::string>;

TEST(Reload, SameConfigurationChangesNothing) {
    Config running;
    const Reload reload = take_over(running, Config{});
    EXPECT_TRUE(reload.now.empty());
    EXPECT_TRUE(reload.restart.empty());
}

TEST(Reload, WhatCanChangeAtOnceIsTakenOver) {
    Config running;
    Config wanted;
    wanted.log_level = "debug";
    wanted.conntrack_timeouts = {"udp_timeout=60"};
    wanted.conntrack_tcp_loose = !running.conntrack_tcp_loose;
    const Reload reload = take_over(running, wanted);
    EXPECT_EQ(reload.now, (Names{"conntrack.tcp_loose", "conntrack.timeouts", "log.level"}));
    EXPECT_TRUE(reload.restart.empty());
    EXPECT_TRUE(reload.changes("log"));
    EXPECT_TRUE(reload.changes("conntrack"));
    EXPECT_EQ(running.log_level, "debug");
    EXPECT_TRUE(take_over(running, wanted).now.empty());
}

TEST(Reload, RestIsNamedEveryTimeAndStays) {
    Config running;
    Config wanted;
    wanted.host_metric = 7;
    wanted.conntrack_flows = 1024;
    wanted.uplinks.emplace_back().name = "up0";
    for (int i = 0; i < 2; ++i) {
        const Reload reload = take_over(running, wanted);
        EXPECT_EQ(reload.restart, (Names{"conntrack.flows", "host.metric", "uplink"}));
        EXPECT_FALSE(reload.changes("conntrack"));
    }
    EXPECT_NE(running.host_metric, 7);
    EXPECT_TRUE(running.uplinks.empty());
}

}  // namespace
}  // namespace slash32
