// SPDX-License-Identifier: Apache-2.0
// An intent layer over a fake plane and a real store, with short ways to ask for things.
#pragma once

#include "ctrl/intent/intent.h"
#include "ctrl/intent/sqlite_store.h"
#include "tests/unit/ctrl/intent/fake_plane.h"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace slash32 {

class TempDir {
  public:
    TempDir() {
        char name[] = "/tmp/slash32-intent-XXXXXX";
        path_ = mkdtemp(name);
    }
    ~TempDir() { std::filesystem::remove_all(path_); }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    std::string file(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

inline FixedAddress fixed(std::string_view text) {
    const size_t slash = text.find('/');
    FixedAddress out{*parse_ip(text.substr(0, slash)), 0};
    out.length = slash == std::string_view::npos
                     ? out.address.bits()
                     : static_cast<uint8_t>(std::stoi(std::string(text.substr(slash + 1))));
    return out;
}

// A vhost port with a MAC address of its own.
inline PortApply vm(const std::string& name, const std::vector<std::string>& addresses = {},
                    const std::string& owner = "cli") {
    PortApply request;
    request.intent.name = name;
    request.intent.owner = owner;
    request.intent.socket = "/run/vm/" + name;
    request.intent.groups = {"any"};
    request.intent.mac.bytes = {0x52, 0x54, 0, 0, 0, static_cast<uint8_t>(name.back())};
    for (const std::string& address : addresses)
        request.intent.addresses.push_back(fixed(address));
    return request;
}

inline HopRequest over(const std::string& port) {
    HopRequest hop;
    hop.kind = NextHopSpec::Kind::kPort;
    hop.port = port;
    return hop;
}

inline HopRequest over(const std::string& port, const std::string& via) {
    HopRequest hop = over(port);
    hop.via = *parse_ip(via);
    return hop;
}

inline RouteApply route_set(const std::vector<std::string>& prefixes, const HopRequest& hop,
                            const std::string& owner = "cli", uint16_t vrf = 0) {
    RouteApply request;
    request.owner = owner;
    RouteGroup group{VrfId{vrf}, {}, hop};
    for (const std::string& prefix : prefixes)
        group.prefixes.push_back(*parse_prefix(prefix));
    request.routes.push_back(std::move(group));
    return request;
}

inline RouteDelete route_gone(const std::vector<std::string>& prefixes,
                              const std::string& owner = "cli") {
    const RouteApply same = route_set(prefixes, {}, owner);
    return {owner, false, same.routes};
}

// One life of the daemon.
class Router {
  public:
    explicit Router(const std::string& path = "", int64_t max_pages = 0, bool with_uplink = true) {
        const Executor executor = [this](std::function<void()> f) { asio::post(io, std::move(f)); };
        if (path.empty()) {
            store = std::make_unique<MemoryStore>(executor);
        } else {
            store = std::make_unique<SqliteStore>(SqliteStore::Options{path, max_pages}, executor);
        }
        intent = std::make_unique<Intent>(plane, *store, executor);
        if (with_uplink) {
            UplinkSpec uplink;
            uplink.name = "uplink0";
            uplink.addresses = {*parse_ip("192.0.2.2")};
            EXPECT_TRUE(intent->add_uplink(uplink, plane.add_uplink()).has_value());
        }
        restored = intent->restore();
    }
    ~Router() {
        intent.reset();
        store.reset();
    }

    template <typename Request>
    Result<Done> ask(Request request) {
        std::optional<Result<Done>> answer;
        start(std::move(request), answer);
        wait([&] { return answer.has_value(); });
        return *answer;
    }
    template <typename Request>
    void start(Request request, std::optional<Result<Done>>& answer) {
        auto shared = std::make_shared<Request>(std::move(request));
        intent->write([shared](State& state) { return plan(state, *shared); },
                      [&answer](Result<Done> done) { answer = std::move(done); });
    }
    Result<Done> commit(const SyncSet& set, bool force = false) {
        std::optional<Result<Done>> answer;
        intent->write([&set, force](State& state) { return plan(state, set, force); },
                      [&answer](Result<Done> done) { answer = std::move(done); });
        wait([&] { return answer.has_value(); });
        return *answer;
    }
    template <typename Condition>
    void wait(Condition condition) {
        const auto work = asio::make_work_guard(io);
        for (int i = 0; i < 20000 && !condition(); ++i) {
            io.restart();
            io.run_for(std::chrono::milliseconds(1));
        }
        ASSERT_TRUE(condition());
    }
    State& state() { return intent->state(); }
    // Every wanted route, for comparison.
    std::string routes() {
        std::string out;
        state().routes.visit_all([&](const RouteKey& key, RouteValue value) {
            out +=
                fmt::format("{} {} {} {}{}\n", key.vrf.value(), to_string(key.prefix),
                            state().owners.name(value.owner), value.origin_port != 0 ? "port " : "",
                            value.stale != 0 ? "stale" : "");
            return true;
        });
        return out;
    }

    asio::io_context io;
    FakePlane plane;
    std::unique_ptr<Store> store;
    std::unique_ptr<Intent> intent;
    Result<Intent::Restored> restored;
};

inline std::string text(const Result<Done>& done) {
    if (done) return "ok";
    return fmt::format("{} {} {}", static_cast<int>(done.error().code), done.error().path,
                       done.error().message);
}

}  // namespace slash32
