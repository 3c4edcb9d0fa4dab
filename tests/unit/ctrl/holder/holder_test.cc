// SPDX-License-Identifier: Apache-2.0
// The holder as a process of its own; pipes stand for interfaces, since their other end tells
// whether anybody still has them open.
#include "ctrl/holder/holder.h"

#include "ctrl/holder/client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace slash32 {
namespace {

using namespace std::chrono_literals;

class HolderTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = "/tmp/s32-holder-XXXXXX";
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    void TearDown() override {
        client_.reset();
        for (const auto& [name, end] : ends_)
            close(end);
        // With nothing to hold it ends by itself.
        EXPECT_TRUE(eventually([this] { return access(path().c_str(), F_OK) != 0; }));
        rmdir(directory_.c_str());
    }
    std::string path() const { return directory_ + "/holder.sock"; }
    void open(unsigned seconds) {
        client_ = std::move(*HolderClient::open({.path = path(), .seconds = seconds}));
    }
    // As a daemon that dies.
    void die() { client_.reset(); }

    // Gives the holder the write end of a new pipe.
    void keep(const std::string& name) {
        std::array<int, 2> ends{};
        ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
        client_->keep(name, ends[1]);
        close(ends[1]);
        ends_[name] = ends[0];
    }
    // Whether somebody has the pipe's write end.
    bool is_open(const std::string& name) {
        pollfd wait{ends_.at(name), POLLIN, 0};
        poll(&wait, 1, 0);
        return (wait.revents & POLLHUP) == 0;
    }
    template <typename F>
    static bool eventually(F&& condition, std::chrono::milliseconds within = 5s) {
        const auto end = std::chrono::steady_clock::now() + within;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(5ms);
        }
        return true;
    }

    std::string directory_;
    std::unique_ptr<HolderClient> client_;
    std::map<std::string, int> ends_;
};

TEST_F(HolderTest, WhatItHoldsOutlivesTheDaemonAndIsTakenOver) {
    open(30);
    keep("up0");
    keep("up1");
    die();
    std::this_thread::sleep_for(100ms);
    EXPECT_TRUE(is_open("up0"));
    open(0);
    const int taken = client_->take("up0");
    ASSERT_GE(taken, 0);
    EXPECT_EQ(write(taken, "x", 1), 1);
    char byte = 0;
    EXPECT_EQ(read(ends_.at("up0"), &byte, 1), 1);
    close(taken);
    EXPECT_EQ(client_->take("up0"), -1);
    EXPECT_EQ(client_->take("up9"), -1);
    EXPECT_TRUE(is_open("up0"));  // held on
}

TEST_F(HolderTest, LetsGoWhenNobodyComesInTime) {
    open(1);
    keep("up0");
    const auto start = std::chrono::steady_clock::now();
    die();
    EXPECT_TRUE(eventually([&] { return !is_open("up0"); }));
    EXPECT_GT(std::chrono::steady_clock::now() - start, 900ms);
}

TEST_F(HolderTest, NextDaemonSaysForHowLong) {
    open(30);
    keep("up0");
    die();
    open(0);
    die();
    EXPECT_TRUE(eventually([&] { return !is_open("up0"); }, 1s));
}

TEST_F(HolderTest, DropsWhatIsDroppedAndWhatNobodyTook) {
    open(30);
    keep("up0");
    keep("up1");
    keep("up2");
    client_->drop("up0");
    EXPECT_TRUE(eventually([&] { return !is_open("up0"); }));
    EXPECT_TRUE(is_open("up1"));
    die();
    open(0);
    const int taken = client_->take("up1");
    client_->drop_untaken();
    EXPECT_TRUE(eventually([&] { return !is_open("up2"); }));
    EXPECT_TRUE(is_open("up1"));
    close(taken);
}

TEST_F(HolderTest, LetsGoWhatADaemonWithoutInterfacesFinds) {
    open(30);
    keep("up0");
    die();
    HolderClient::let_go(path());
    EXPECT_TRUE(eventually([&] { return !is_open("up0"); }));
    HolderClient::let_go(path() + ".none");
}

}  // namespace
}  // namespace slash32

int main(int argc, char** argv) {
    if (argc == 4 && std::strcmp(argv[1], slash32::kHolderArgument) == 0)
        return slash32::run_holder(argv[2], slash32::kHolderSocket,
                                   static_cast<unsigned>(std::atoi(argv[3])));
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
