// SPDX-License-Identifier: Apache-2.0
// The Api over a fake plane, fake numbers and fake sessions.
#pragma once

#include "ctrl/api/api.h"
#include "tests/unit/ctrl/intent/router.h"

#include <map>
#include <string>
#include <vector>

namespace slash32 {

class FakeTelemetry final : public Telemetry {
  public:
    std::vector<WorkerStats> workers() override {
        WorkerStats worker;
        worker.core = 3;
        worker.busy_percent = 12.34;
        worker.stages_enabled = stages_enabled;
        if (stages_enabled) worker.stages = {{"receive", 640, 4, 2}, {"parse", 320, 3, 2}};
        return {worker};
    }
    void enable_stages(bool enabled, std::function<void()> done) override {
        stages_enabled = enabled;
        stages_done = std::move(done);
    }
    PortStats port(PortId id) override { return ports[id]; }
    uint64_t rule(RuleId id) override { return id.value() * 10u; }
    SegmentStats segment(NextHopId) override { return {.packets = 3, .bytes = 300}; }
    std::vector<RingStats> rings() override { return {{0, 4096, 1, 10, 9, 0, true}}; }
    MemoryStats memory() override {
        MemoryStats out;
        out.rss_bytes = 1;
        out.pools = {{"mbuf", 10, 9, 2304}};
        out.tables = {{"fib", 1, 2, 3}};
        return out;
    }
    std::map<PortId, PortStats> ports;
    bool stages_enabled = false;
    std::function<void()> stages_done;
};

class FakeSession final : public rpc::Session {
  public:
    explicit FakeSession(uint64_t id) : id_(id) {}
    uint64_t id() const override { return id_; }
    const rpc::Peer& peer() const override { return peer_; }
    bool read_only() const override { return false; }
    bool notify_event(uint64_t seq, const rpc::SharedFrame& frame) override {
        rpc::Json event = rpc::Json::parse(frame->substr(4)).at("params");
        EXPECT_EQ(event.at("seq"), seq);
        events.push_back(std::move(event));
        return true;
    }
    bool notify(const rpc::SharedFrame&) override { return true; }
    void on_close(std::function<void()> hook) override { hooks_.push_back(std::move(hook)); }
    void close() {
        for (const auto& hook : hooks_)
            hook();
        hooks_.clear();
    }
    // The types of the events so far, which are forgotten.
    std::string types() {
        std::string out;
        for (const rpc::Json& event : events)
            out += event.at("type").get<std::string>() + " ";
        events.clear();
        return out;
    }

    std::vector<rpc::Json> events;

  private:
    uint64_t id_;
    rpc::Peer peer_;
    std::vector<std::function<void()>> hooks_;
};

class ApiTest : public testing::Test {
  protected:
    // The result, or {"error": "KIND PATH MESSAGE"} with the number of the kind.
    rpc::Json call(const std::string& method, rpc::Json params = rpc::Json::object(),
                   FakeSession* session = nullptr) {
        std::optional<rpc::Json> answer;
        start(method, std::move(params), answer, session);
        router.wait([&] { return answer.has_value(); });
        return answer.value_or(rpc::Json());
    }
    rpc::Json call(const std::string& method, const char* params, FakeSession* session = nullptr) {
        return call(method, rpc::Json::parse(params), session);
    }
    void start(const std::string& method, rpc::Json params, std::optional<rpc::Json>& answer,
               FakeSession* session = nullptr) {
        api.handle(session != nullptr ? *session : session_, method, std::move(params),
                   rpc::Reply([&answer](rpc::Outcome outcome) {
                       if (auto* json = std::get_if<rpc::Json>(&outcome)) {
                           answer = std::move(*json);
                       } else if (auto* raw = std::get_if<rpc::RawJson>(&outcome)) {
                           answer = rpc::Json::parse(raw->text);
                       } else {
                           const Error& error = std::get<Error>(outcome);
                           answer = {{"error", fmt::format("{} {}", static_cast<int>(error.code),
                                                           error.path)},
                                     {"message", error.message}};
                       }
                   }));
    }

    Router router;
    FakeTelemetry telemetry;
    Api api{router.io, *router.intent, router.plane, telemetry,
            rpc::ServerInfo{"0.1.0", "0123456789abcdef", "2026-01-31T09:00:00.000Z"}};
    FakeSession session_{1};
};

}  // namespace slash32
