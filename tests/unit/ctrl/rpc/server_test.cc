// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/server.h"

#include "ctrl/rpc/methods.h"
#include "tests/unit/ctrl/rpc/fake_daemon.h"
#include "tests/unit/ctrl/rpc/raw_client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

namespace slash32::rpc {
namespace {

TEST(Server, HelloSaysWhoItIs) {
    FakeDaemon daemon;
    daemon.start();
    RawClient client(daemon.path());
    const Json reply = client.call("hello");
    EXPECT_EQ(reply["result"]["api_version"], kApiVersion);
    EXPECT_EQ(reply["result"]["instance"], "0123456789abcdef");
    EXPECT_EQ(reply["result"]["pid"], getpid());
    EXPECT_EQ(reply["result"]["read_only"], false);
    EXPECT_EQ(reply["result"]["frame_bytes_max"], 16 << 20);
    EXPECT_EQ(client.call("hello", {{"clinet", "x"}})["error"]["data"]["path"], "$.params.clinet");
}

TEST(Server, MalformedJsonKeepsTheConnection) {
    FakeDaemon daemon;
    daemon.start();
    RawClient client(daemon.path());
    client.frame("{nonsense");
    EXPECT_EQ((*client.message())["error"]["code"], -32700);
    EXPECT_EQ(client.call("status")["result"]["method"], "status");
}

TEST(Server, LostFramingIsSaidAndClosed) {
    FakeDaemon daemon;
    daemon.start();
    for (const std::string& bytes : {std::string(4, '\0'), std::string("GET / HTTP/1.1\r\n\r\n")}) {
        RawClient client(daemon.path());
        client.bytes(bytes);
        const auto reply = client.message();
        ASSERT_TRUE(reply);
        EXPECT_EQ((*reply)["error"]["code"], -32600);
        EXPECT_TRUE(client.ended());
    }
    EXPECT_EQ(daemon.server().counters().framing_lost, 2);
}

TEST(Server, PinnedInstanceMustBeThisOne) {
    FakeDaemon daemon;
    daemon.start();
    RawClient client(daemon.path());
    const Json bad = client.call("port.get", {{"name", "a"}, {"instance", "ffffffffffffffff"}});
    EXPECT_EQ(bad["error"]["code"], 8);
    EXPECT_EQ(bad["error"]["data"]["path"], "$.params.instance");
    EXPECT_EQ(daemon.handler.calls, 0);
    const Json good = client.call("port.get", {{"name", "a"}, {"instance", "0123456789abcdef"}});
    EXPECT_EQ(good["result"]["params"], (Json{{"name", "a"}}));
}

TEST(Server, RepliesMayComeLaterAndInAnyOrder) {
    FakeDaemon daemon;
    std::vector<Reply> waiting;
    daemon.handler.methods["port.apply"] = [&](Session&, const Json&, Reply reply) {
        waiting.push_back(std::move(reply));
    };
    daemon.start();
    RawClient client(daemon.path());
    client.request(1, "port.apply");
    client.request(2, "port.apply");
    EXPECT_EQ(client.call("status")["result"]["method"], "status");
    daemon.run([&] {
        waiting[1].ok({{"n", 2}});
        waiting[0].error(Error{ErrorCode::kConflict, "$.params.name", "taken"});
    });
    const Json second = *client.message();
    EXPECT_EQ(second["id"], 2);
    EXPECT_EQ(second["result"]["n"], 2);
    EXPECT_EQ((*client.message())["error"]["code"], 3);
    daemon.stop();
}

TEST(Server, RequestsOfOneConnectionKeepTheirOrder) {
    FakeDaemon daemon;
    daemon.start();
    RawClient client(daemon.path());
    std::string bytes;
    for (int i = 0; i < 2000; ++i) {
        bytes += make_frame(
            Json{{"jsonrpc", "2.0"}, {"id", i}, {"method", "status"}, {"params", {{"i", i}}}}
                .dump());
    }
    std::thread sender([&] { client.bytes(bytes); });
    for (int i = 0; i < 2000; ++i) {
        const auto reply = client.message();
        ASSERT_TRUE(reply);
        ASSERT_EQ((*reply)["id"], i);
        ASSERT_EQ((*reply)["result"]["params"]["i"], i);
    }
    sender.join();
}

TEST(Server, DroppedReplyAnswersInternal) {
    FakeDaemon daemon;
    daemon.handler.methods["status"] = [](Session&, const Json&, Reply) {};
    daemon.handler.methods["rings"] = [](Session&, const Json&, const Reply&) {
        throw std::runtime_error("bug");
    };
    daemon.start();
    RawClient client(daemon.path());
    EXPECT_EQ(client.call("status")["error"]["code"], 10);
    EXPECT_EQ(client.call("rings")["error"]["code"], 10);
    EXPECT_EQ(client.call("memory")["result"]["method"], "memory");
}

TEST(Server, StopsReadingAtTheOutstandingLimitAndGoesOnAfter) {
    ServerOptions options;
    options.max_outstanding = 4;
    FakeDaemon daemon(options);
    std::vector<Reply> waiting;
    daemon.handler.methods["port.apply"] = [&](Session&, const Json&, Reply reply) {
        waiting.push_back(std::move(reply));
    };
    daemon.start();
    RawClient client(daemon.path());
    for (int i = 0; i < 10; ++i)
        client.request(i, "port.apply");
    RawClient other(daemon.path());
    EXPECT_TRUE(other.call("status").contains("result"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(daemon.handler.calls, 5);  // four, and the other's one
    while (daemon.handler.calls < 11) {
        daemon.run([&] {
            for (Reply& reply : std::exchange(waiting, {}))
                reply.ok(Json::object());
        });
    }
    daemon.run([&] {
        for (Reply& reply : std::exchange(waiting, {}))
            reply.ok(Json::object());
    });
    for (int i = 0; i < 10; ++i)
        EXPECT_TRUE(client.message());
    daemon.stop();
}

TEST(Server, ClientThatReadsNothingStallsNobodyAndIsBounded) {
    ServerOptions options;
    options.output_bytes_max = 1 << 20;
    FakeDaemon daemon(options);
    daemon.handler.methods["route.list"] = [](Session&, const Json&, Reply reply) {
        reply.ok_raw('"' + std::string(100'000, 'x') + '"');
    };
    daemon.start();
    RawClient slow(daemon.path());
    const std::string request =
        make_frame(R"({"jsonrpc":"2.0","id":1,"method":"route.list","params":{}})");
    while (daemon.handler.calls < 11) {
        if (!slow.try_bytes(request)) std::this_thread::yield();
    }
    for (int i = 0; i < 1000; ++i)
        slow.try_bytes(request);
    RawClient other(daemon.path());
    for (int i = 0; i < 100; ++i)
        ASSERT_TRUE(other.call("status").contains("result"));
    EXPECT_LT(daemon.handler.calls - 100, 40);
}

TEST(Server, SlowWatcherHearsWhatItLost) {
    ServerOptions options;
    options.output_bytes_max = 1 << 20;
    FakeDaemon daemon(options);
    Session* watcher = nullptr;
    daemon.handler.methods["watch"] = [&](Session& session, const Json&, Reply reply) {
        watcher = &session;
        reply.ok(Json::object());
    };
    daemon.start();
    RawClient client(daemon.path());
    client.call("watch");
    const std::string filler(1000, 'x');
    uint64_t delivered = 0;
    daemon.run([&] {
        for (uint64_t seq = 1; seq <= 5000; ++seq) {
            const auto frame =
                make_notification("event", {{"seq", seq}, {"type", "t"}, {"filler", filler}});
            if (watcher->notify_event(seq, frame)) delivered = seq;
        }
    });
    EXPECT_LT(delivered, 5000U);
    for (uint64_t seq = 1; seq <= delivered; ++seq) {
        ASSERT_EQ((*client.message())["params"]["seq"], seq);
    }
    const Json lost = (*client.message())["params"];
    EXPECT_EQ(lost["type"], "lost");
    EXPECT_EQ(lost["since"], delivered);
    EXPECT_EQ(lost["seq"], 5000);
    daemon.run([&] {
        EXPECT_TRUE(watcher->notify_event(5001, make_notification("event", {{"seq", 5001}})));
    });
    EXPECT_EQ((*client.message())["params"]["seq"], 5001);
    EXPECT_EQ(daemon.server().counters().events_dropped, 5000 - delivered);
}

TEST(Server, CloseHooksRunWhenTheClientHangsUp) {
    FakeDaemon daemon;
    std::promise<void> closed;
    Reply late;
    daemon.handler.methods["sync.begin"] = [&](Session& session, const Json&, Reply reply) {
        session.on_close([&] { closed.set_value(); });
        reply.ok(Json::object());
    };
    daemon.start();
    RawClient client(daemon.path());
    client.call("sync.begin");
    client.hang_up();
    EXPECT_EQ(closed.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
}

TEST(Server, ReplyAfterTheClientHasGoneIsHarmless) {
    FakeDaemon daemon;
    std::vector<Reply> waiting;
    daemon.handler.methods["port.apply"] = [&](Session&, const Json&, Reply reply) {
        waiting.push_back(std::move(reply));
    };
    daemon.start();
    {
        RawClient client(daemon.path());
        client.request(1, "port.apply");
        client.request(2, "port.apply");
        while (daemon.handler.calls < 2)
            std::this_thread::yield();
    }
    daemon.run([&] {
        waiting[0].ok(Json::object());
        waiting.clear();
    });
    RawClient other(daemon.path());
    EXPECT_TRUE(other.call("status").contains("result"));
}

TEST(Server, HalfClosedClientGetsItsAnswers) {
    FakeDaemon daemon;
    std::vector<Reply> waiting;
    daemon.handler.methods["port.apply"] = [&](Session&, const Json&, Reply reply) {
        waiting.push_back(std::move(reply));
    };
    daemon.start();
    RawClient client(daemon.path());
    client.request(1, "status");
    client.request(2, "port.apply");
    client.end_of_input();
    EXPECT_TRUE(client.message());
    while (daemon.handler.calls < 2)
        std::this_thread::yield();
    daemon.run([&] { waiting[0].ok(Json::object()); });
    EXPECT_TRUE(client.message());
    EXPECT_TRUE(client.ended());
}

TEST(Server, OneClientTooManyIsToldSo) {
    ServerOptions options;
    options.max_clients = 2;
    FakeDaemon daemon(options);
    daemon.start();
    RawClient one(daemon.path());
    RawClient two(daemon.path());
    one.call("status");
    two.call("status");
    {
        RawClient three(daemon.path());
        EXPECT_EQ((*three.message())["error"]["data"]["kind"], "limit");
        EXPECT_TRUE(three.ended());
    }
    one.hang_up();
    for (bool served = false; !served;) {
        RawClient four(daemon.path());
        served = four.call("status").contains("result");
    }
}

// The daemon's own uid may always write, so peers of other uids need a process of their own.
Json call_as(uid_t uid, gid_t gid, const std::string& path, const std::string& method) {
    int pipes[2];
    if (pipe(pipes) != 0) return nullptr;
    const std::string request = make_frame(
        Json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", method}, {"params", Json::object()}}.dump());
    const pid_t child = fork();
    if (child == 0) {
        // Allocates nothing: the daemon's thread may have held the allocator's lock.
        if (setgid(gid) != 0 || setuid(uid) != 0) _exit(1);
        RawClient client(path);
        client.bytes(request);
        char reply[4096];
        const ssize_t got = client.take(reply);
        _exit(got > 0 && write(pipes[1], reply, static_cast<size_t>(got)) == got ? 0 : 1);
    }
    close(pipes[1]);
    std::string frame(4096, '\0');
    const ssize_t got = read(pipes[0], frame.data(), frame.size());
    close(pipes[0]);
    waitpid(child, nullptr, 0);
    if (got <= static_cast<ssize_t>(kFrameHeaderBytes)) return {};
    frame.resize(static_cast<size_t>(got));
    return Json::parse(frame.substr(kFrameHeaderBytes));
}

TEST(Server, PeersGetWhatTheListsGrant) {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to become other users";
    ServerOptions options;
    options.mode = 0666;
    options.rw_uids = {4001};
    options.ro_uids = {4002};
    options.rw_gids = {5001};
    options.ro_gids = {5002};
    FakeDaemon daemon(options);
    ASSERT_EQ(chmod(daemon.path().substr(0, daemon.path().rfind('/')).c_str(), 0755), 0);
    daemon.start();
    struct Case {
        uid_t uid;
        gid_t gid;
        const char* method;
        int code;  // 0: served
    };
    for (const Case& c : {Case{4001, 9, "port.apply", 0}, Case{4002, 9, "port.apply", 7},
                          Case{4002, 9, "port.list", 0}, Case{4003, 5001, "port.apply", 0},
                          Case{4003, 5002, "log.set", 7}, Case{4003, 5002, "watch", 0},
                          Case{4003, 9, "port.list", 7}}) {
        const Json reply = call_as(c.uid, c.gid, daemon.path(), c.method);
        const int code = reply.contains("error") ? reply["error"]["code"].get<int>() : 0;
        EXPECT_EQ(code, c.code) << c.uid << " " << c.gid << " " << c.method << reply.dump();
    }
}

TEST(Listener, ModeIsAsConfigured) {
    ServerOptions options;
    options.mode = 0620;
    FakeDaemon daemon(options);
    struct stat file {};
    ASSERT_EQ(stat(daemon.path().c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777, 0620U);
}

class StartTest : public testing::Test {
  protected:
    Result<void> start(const std::string& path, const std::string& group = "") {
        ServerOptions options;
        options.path = path;
        options.group = group;
        server_ = std::make_unique<Server>(io_, handler_, options, ServerInfo{});
        return server_->start();
    }
    TempDir dir_;
    asio::io_context io_;
    FakeHandler handler_;
    std::unique_ptr<Server> server_;
};

TEST_F(StartTest, SocketInUseIsAStartError) {
    FakeDaemon first;
    const auto second = start(first.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
    first.start();
    RawClient client(first.path());
    EXPECT_TRUE(client.call("status").contains("result"));
}

TEST_F(StartTest, SocketOfAnotherProgramIsNotRemoved) {
    const std::string path = dir_.file("other");
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    EXPECT_EQ(start(path).error().code, ErrorCode::kConflict);
    close(fd);
    EXPECT_TRUE(start(path));  // its leftover is
}

TEST_F(StartTest, FileThatIsNoSocketIsLeftAlone) {
    const std::string path = dir_.file("file");
    close(open(path.c_str(), O_CREAT | O_WRONLY, 0600));
    EXPECT_EQ(start(path).error().code, ErrorCode::kConflict);
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST_F(StartTest, BadPathsAndGroupsAreNamed) {
    EXPECT_EQ(start("relative").error().code, ErrorCode::kInvalid);
    EXPECT_EQ(start("/" + std::string(200, 'x')).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(start(dir_.file("missing/sock")).error().code, ErrorCode::kUnavailable);
    const auto group = start(dir_.file("sock"), "no-such-group-here");
    EXPECT_EQ(group.error().path, "socket.group");
    EXPECT_TRUE(start(dir_.file("sock"), "0"));
}

TEST_F(StartTest, StopRemovesTheSocketAndStartsAgain) {
    const std::string path = dir_.file("sock");
    ASSERT_TRUE(start(path));
    server_->stop();
    EXPECT_NE(access(path.c_str(), F_OK), 0);
    EXPECT_TRUE(start(path));
}

TEST(Instance, IsNewEveryTime) {
    EXPECT_EQ(make_instance_id().size(), 16U);
    EXPECT_NE(make_instance_id(), make_instance_id());
}

}  // namespace
}  // namespace slash32::rpc
