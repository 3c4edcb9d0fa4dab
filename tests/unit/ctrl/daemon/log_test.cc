// SPDX-License-Identifier: Apache-2.0
#include "ctrl/log/log.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace slash32 {
namespace {

class LogTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "slash32-log-XXXXXX";
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
        path_ = directory_ + "/log";
    }
    void TearDown() override {
        ASSERT_TRUE(start_logging(LogOptions{}));
        std::filesystem::remove_all(directory_);
    }
    std::vector<std::string> lines() const {
        std::ifstream file(path_);
        std::vector<std::string> all;
        for (std::string line; std::getline(file, line);)
            all.push_back(line);
        return all;
    }

    std::string directory_;
    std::string path_;
};

TEST_F(LogTest, JsonLinesSurviveAnyBytes) {
    ASSERT_TRUE(start_logging(LogOptions{.to = path_, .format = "json"}));
    log("rpc").info("a \"quoted\" \xff\n line");
    log("vhost").error("second");
    const auto all = lines();
    ASSERT_EQ(all.size(), 2u);
    const auto first = nlohmann::json::parse(all[0]);
    EXPECT_EQ(first["module"], "rpc");
    EXPECT_EQ(first["level"], "info");
    EXPECT_EQ(nlohmann::json::parse(all[1])["message"], "second");
}

TEST_F(LogTest, LevelsArePerModuleAndChangeWhileRunning) {
    ASSERT_TRUE(
        start_logging(LogOptions{.to = path_, .level = "warning", .levels = {"rpc=debug"}}));
    EXPECT_EQ(log_levels()["rpc"], "debug");
    EXPECT_EQ(log_levels()["vhost"], "warning");
    log("vhost").info("not written");
    ASSERT_TRUE(set_log_level("vhost", "info"));
    log("vhost").info("written");
    ASSERT_EQ(lines().size(), 1u);
    ASSERT_TRUE(set_log_level("", "off"));
    log("vhost").error("not written");
    EXPECT_EQ(lines().size(), 1u);
}

TEST_F(LogTest, RefusesWhatDoesNotExist) {
    for (const char* level : {"loud", "", "warn", "err", "critical", "Info"})
        EXPECT_FALSE(set_log_level("vhost", level)) << level;
    EXPECT_EQ(set_log_level("vhost", "loud").error().path, "level");
    EXPECT_EQ(set_log_level("colour", "info").error().path, "module");
    EXPECT_EQ(start_logging(LogOptions{.to = "/proc/no/such/log"}).error().path, "log.to");
    EXPECT_FALSE(start_logging(LogOptions{.levels = {"colour=info"}}));
}

}  // namespace
}  // namespace slash32
