// SPDX-License-Identifier: Apache-2.0
#include "ctrl/client/slash32.h"
#include "tests/unit/ctrl/rpc/fake_daemon.h"

#include <gtest/gtest.h>

namespace slash32::client {
namespace {

using rpc::FakeDaemon;
using rpc::Reply;
using rpc::Session;

Options at(const FakeDaemon& daemon, int timeout_ms = 5000) {
    return Options{daemon.path(), Milliseconds(timeout_ms), "test"};
}

TEST(Client, ConnectsAndSaysHello) {
    FakeDaemon daemon;
    daemon.start();
    const auto client = Client::connect(at(daemon));
    ASSERT_TRUE(client) << client.error().text();
    EXPECT_EQ(client->hello().instance, "0123456789abcdef");
    EXPECT_EQ(client->hello().version, "0.0.0-test");
}

TEST(Client, NobodyThereIsUnreachable) {
    const auto client = Client::connect({"/tmp/no-such-slash32.sock", Milliseconds(100), ""});
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().failure, Failure::kUnreachable);
}

TEST(Client, ErrorRepliesCarryCodeKindAndPath) {
    FakeDaemon daemon;
    daemon.handler.methods["port.get"] = [](Session&, const Json&, Reply reply) {
        reply.error(slash32::Error{ErrorCode::kNotFound, "$.params.name", "there is no port x"});
    };
    daemon.start();
    auto client = Client::connect(at(daemon));
    ASSERT_TRUE(client);
    const auto result = client->call("port.get", {{"name", "x"}});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().failure, Failure::kRefused);
    EXPECT_EQ(result.error().code, 2);
    EXPECT_EQ(result.error().text(), "$.params.name: there is no port x (not_found)");
    EXPECT_TRUE(client->call("status"));
}

TEST(Client, SilenceIsATimeout) {
    FakeDaemon daemon;
    std::vector<Reply> kept;
    daemon.handler.methods["status"] = [&](Session&, const Json&, Reply reply) {
        kept.push_back(std::move(reply));
    };
    daemon.start();
    auto client = Client::connect(at(daemon, 100));
    ASSERT_TRUE(client);
    EXPECT_EQ(client->call("status").error().failure, Failure::kTimeout);
    daemon.stop();
}

TEST(Client, ManyLargeRequestsAndRepliesDoNotDeadlock) {
    FakeDaemon daemon;
    daemon.start();
    auto client = Client::connect(at(daemon));
    ASSERT_TRUE(client);
    const std::vector<Json> params(100, Json{{"filler", std::string(500'000, 'x')}});
    const auto results = client->call_many("status", params);
    ASSERT_TRUE(results) << results.error().text();
    EXPECT_EQ(results->size(), 100U);
}

TEST(Client, CallManyNamesTheFirstThatFailed) {
    FakeDaemon daemon;
    daemon.handler.methods["route.apply"] = [](Session&, const Json& params, Reply reply) {
        if (params["i"] == 7) {
            return reply.error(slash32::Error{ErrorCode::kLimit, "", "The table is full."});
        }
        reply.ok(params);
    };
    daemon.start();
    auto client = Client::connect(at(daemon));
    ASSERT_TRUE(client);
    std::vector<Json> params;
    for (int i = 0; i < 50; ++i)
        params.push_back({{"i", i}});
    size_t failed = 0;
    const auto results = client->call_many("route.apply", params, &failed);
    ASSERT_FALSE(results);
    EXPECT_EQ(results.error().kind, "limit");
    EXPECT_EQ(failed, 7U);
    EXPECT_TRUE(client->call("status"));
}

TEST(Client, ListReadsEveryPage) {
    FakeDaemon daemon;
    daemon.handler.methods["port.list"] = [](Session&, const Json& params, Reply reply) {
        const int page =
            params.contains("cursor") ? std::stoi(params["cursor"].get<std::string>()) : 0;
        Json result{{"seq", 10 + page}, {"ports", {page * 2, page * 2 + 1}}};
        if (page < 4) result["cursor"] = std::to_string(page + 1);
        reply.ok(std::move(result));
    };
    daemon.start();
    auto client = Client::connect(at(daemon));
    ASSERT_TRUE(client);
    const auto list = client->list("port.list", "ports");
    ASSERT_TRUE(list);
    EXPECT_EQ(list->seq, 10U);
    EXPECT_EQ(list->items.size(), 10U);
}

TEST(Client, WatchDeliversAndResumesFromTheLastEventRead) {
    FakeDaemon daemon;
    std::vector<Json> requests;
    daemon.handler.methods["watch"] = [&](Session& session, const Json& params, Reply reply) {
        requests.push_back(params);
        reply.ok({{"instance", "0123456789abcdef"}, {"seq", 5}, {"lost", false}});
        for (uint64_t seq = 6; seq <= 8; ++seq) {
            session.notify_event(
                seq, rpc::make_notification("event", {{"seq", seq}, {"type", "port.wired"}}));
        }
    };
    daemon.start();
    auto client = Client::connect(at(daemon));
    ASSERT_TRUE(client);
    const auto start = client->watch();
    ASSERT_TRUE(start) << start.error().text();
    EXPECT_EQ(start->seq, 5U);
    EXPECT_TRUE(client->call("status"));  // the events wait meanwhile
    for (uint64_t seq = 6; seq <= 7; ++seq) {
        const auto event = client->next(Milliseconds(5000));
        ASSERT_TRUE(event && *event);
        EXPECT_EQ((*event)->params["seq"], seq);
    }
    ASSERT_TRUE(client->resume());
    EXPECT_EQ(requests[1], (Json{{"since", 7}, {"instance", "0123456789abcdef"}}));
    EXPECT_EQ((*client->next(Milliseconds(5000)))->params["seq"], 6);
}

TEST(Client, DaemonThatGoesAwayIsUnreachable) {
    auto daemon = std::make_unique<FakeDaemon>();
    daemon->start();
    auto client = Client::connect(at(*daemon));
    ASSERT_TRUE(client);
    daemon.reset();
    EXPECT_EQ(client->call("status").error().failure, Failure::kUnreachable);
    EXPECT_EQ(client->next(Milliseconds(10)).error().failure, Failure::kUnreachable);
    EXPECT_FALSE(client->resume());
}

TEST(Client, RequestOverTheFrameLimitIsNotSent) {
    rpc::ServerOptions options;
    options.frame_bytes_max = 10'000;
    FakeDaemon daemon(options);
    daemon.start();
    auto client = Client::connect(at(daemon));
    ASSERT_TRUE(client);
    const auto result = client->call("status", {{"filler", std::string(20'000, 'x')}});
    EXPECT_EQ(result.error().failure, Failure::kRefused);
    EXPECT_TRUE(client->call("status"));
}

}  // namespace
}  // namespace slash32::client
