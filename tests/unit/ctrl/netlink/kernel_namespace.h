// SPDX-License-Identifier: Apache-2.0
// A network namespace for the tests of a process, with lo up and TAP interfaces as wanted; told of
// by ip(8), which shares no code with what is tested.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace slash32::test {

class KernelTest : public testing::Test {
  protected:
    void SetUp() override {
        if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs the right to make a namespace";
        run("ip link set lo up");
        run("ip tuntap add tap0 mode tap");
        run("ip link set tap0 up");
    }

    // Fails the test if the command does.
    static std::string run(const std::string& command) {
        std::string output;
        FILE* pipe = popen((command + " 2>&1").c_str(), "r");
        if (pipe == nullptr) return output;
        std::array<char, 4096> buffer;
        for (size_t n = 0; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
            output.append(buffer.data(), n);
        EXPECT_EQ(pclose(pipe), 0) << command << ": " << output;
        return output;
    }

    // Routes of both families in a table, a line each, as ip(8) writes them.
    static std::string routes(const std::string& table, const std::string& protocol = "132") {
        return run("ip -4 route show table " + table + " proto " + protocol) +
               run("ip -6 route show table " + table + " proto " + protocol);
    }
};

}  // namespace slash32::test
