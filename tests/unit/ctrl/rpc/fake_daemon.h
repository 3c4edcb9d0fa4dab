// SPDX-License-Identifier: Apache-2.0
// A control socket with a scripted handler behind it, on a thread of its own, for the tests of the
// server, the client library and the CLI.
#pragma once

#include "ctrl/rpc/handler.h"
#include "ctrl/rpc/server.h"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace slash32::rpc {

// A directory that is gone after the test.
class TempDir {
  public:
    TempDir() {
        char name[] = "/tmp/slash32-rpc-XXXXXX";
        path_ = mkdtemp(name);
    }
    ~TempDir() { [[maybe_unused]] const int result = system(("rm -rf " + path_).c_str()); }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

class FakeHandler : public Handler {
  public:
    using Method = std::function<void(Session&, Json, Reply)>;

    void handle(Session& session, std::string_view method, Json params, Reply reply) override {
        ++calls;
        const auto known = methods.find(std::string(method));
        if (known == methods.end()) {
            return reply.ok({{"method", method}, {"params", params}});
        }
        known->second(session, std::move(params), std::move(reply));
    }

    // Without an entry a method is answered with its own name and params.
    std::map<std::string, Method> methods;
    std::atomic<int> calls = 0;
};

class FakeDaemon {
  public:
    explicit FakeDaemon(ServerOptions options = {}, std::string instance = "0123456789abcdef")
        : work_(asio::make_work_guard(io_)) {
        options.path = path();
        server_ = std::make_unique<Server>(
            io_, handler, options,
            ServerInfo{"0.0.0-test", std::move(instance), "2026-01-31T09:00:00.000Z"});
        auto ok = server_->start();
        EXPECT_TRUE(ok) << ok.error().message;
    }
    ~FakeDaemon() { stop(); }
    FakeDaemon(const FakeDaemon&) = delete;
    FakeDaemon& operator=(const FakeDaemon&) = delete;

    // After the handler has been set up.
    void start() {
        thread_ = std::thread([this] { io_.run(); });
    }
    void stop() {
        if (thread_.joinable()) {
            run([this] { server_->stop(); });
            work_.reset();
            thread_.join();
        }
        server_.reset();
    }
    // Runs on the control thread and waits for it.
    void run(const std::function<void()>& action) {
        std::promise<void> done;
        asio::post(io_, [&] {
            action();
            done.set_value();
        });
        done.get_future().wait();
    }
    std::string path() const { return dir_.file("sock"); }
    Server& server() { return *server_; }

    FakeHandler handler;

  private:
    TempDir dir_;
    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::unique_ptr<Server> server_;
    std::thread thread_;
};

}  // namespace slash32::rpc
