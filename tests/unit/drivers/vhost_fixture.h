// SPDX-License-Identifier: Apache-2.0
// A vhost-user driver with a worker, for tests that bring frontends of their own.
#pragma once

#include "drivers/vhost/driver.h"
#include "tests/frontend/frontend.h"
#include "tests/unit/drivers/test_worker.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace slash32::testing {

using frontend::Frontend;
using frontend::FrontendOptions;
using Type = DriverEventType;

inline std::vector<uint8_t> frame(size_t bytes, uint8_t mark) {
    std::vector<uint8_t> f(bytes, mark);
    f[12] = 0x08;
    f[13] = 0x00;
    return f;
}

class VhostDriverTest : public ::testing::Test {
  protected:
    void SetUp() override {
        rte_mempool* pool = packet_pool();
        directory_ = scratch_directory();
        auto driver =
            VhostDriver::create({.pool = pool, .event = log_.hook(), .synchronize = [this] {
                                     worker_.synchronize();
                                     other_worker_.synchronize();
                                 }});
        ASSERT_TRUE(driver) << driver.error().message;
        driver_ = std::move(*driver);
    }

    // The queues go away with the driver, which waits for the worker as it does so.
    void TearDown() override {
        worker_.disconnect_all();
        other_worker_.disconnect_all();
    }

    std::string path(const std::string& name) const { return directory_ + "/" + name; }

    VhostPortSpec spec(uint16_t id, uint16_t pairs = 1) const {
        VhostPortSpec s;
        s.id = PortId{id};
        s.path = path("p" + std::to_string(id));
        s.queue_pairs = pairs;
        return s;
    }

    FrontendOptions options(uint16_t id, uint16_t pairs = 1) const {
        FrontendOptions o;
        o.path = path("p" + std::to_string(id));
        o.queue_pairs = pairs;
        return o;
    }

    PortHandles add(const VhostPortSpec& s) {
        auto handles = driver_->add(s);
        EXPECT_TRUE(handles) << handles.error().message;
        return handles ? *handles : PortHandles{};
    }

    void remove(PortId id, const PortHandles& handles) {
        worker_.disconnect(handles);
        std::atomic<bool> done{false};
        driver_->remove(id, [&done] { done = true; });
        for (int i = 0; i < 2000 && !done; ++i)
            usleep(1000);
        EXPECT_TRUE(done);
    }

    // The frontend runs, and the driver knows: it hears of the last ring a moment after the
    // frontend has set it up, and what is sent to a port before that is dropped.
    static void run(Frontend& f, const PortHandles& port) {
        ASSERT_TRUE(f.open());
        ASSERT_TRUE(f.wait_running(2000)) << f.error();
        for (int i = 0; i < 2000 && !port.tx->ready; ++i)
            usleep(1000);
        ASSERT_TRUE(port.tx->ready);
    }
    static void run_both(Frontend& fa, const PortHandles& a, Frontend& fb, const PortHandles& b) {
        ASSERT_NO_FATAL_FAILURE(run(fa, a));
        ASSERT_NO_FATAL_FAILURE(run(fb, b));
    }

    // Runs both frontends' loops until packets sent by `from` have come back out of `to`.
    static bool passes(Frontend& from, Frontend& to, size_t bytes = 100, int timeout_ms = 2000) {
        size_t got = 0;
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
        const auto f = frame(bytes, 0x5a);
        while (got == 0 && std::chrono::steady_clock::now() < end) {
            if (!from.send(std::span<const uint8_t>(f))) return false;
            for (int i = 0; i < 20 && got == 0; ++i) {
                from.loop().run_once(1);
                to.loop().run_once(1);
                to.receive([&](const frontend::RxFrame& r) { got += r.data.size() == bytes; });
            }
        }
        return got > 0;
    }

    std::string directory_;
    EventLog log_;
    TestWorker worker_;
    TestWorker other_worker_;
    std::unique_ptr<VhostDriver> driver_;
};

}  // namespace slash32::testing
