// SPDX-License-Identifier: Apache-2.0
// libslash32: the client of slash32d's control socket. Installed as <slash32/client.h>.
//
//     auto client = slash32::client::Client::connect();
//     if (!client) return complain(client.error());
//     auto port = client->call("port.get", {{"name", "vm1"}});
//
// Blocking, with a time limit on every call. A Client is used by one thread at a time. Methods, and
// what their params and results hold, are in the protocol reference (docs/protocol.md).
// Notifications that arrive while a call waits are kept (up to kMaxQueuedNotifications) for next().
#pragma once

#include <nlohmann/json.hpp>
#include <tl/expected.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slash32::client {

using Json = nlohmann::json;
using Milliseconds = std::chrono::milliseconds;

inline constexpr std::string_view kDefaultSocket = "/run/slash32/slash32.sock";
inline constexpr size_t kMaxQueuedNotifications = 65536;

enum class Failure {
    kRefused,      // the daemon answered with an error: code, kind and path are set
    kUnreachable,  // no connection, or it broke
    kTimeout,      // no answer in time; the connection can no longer be used
};

struct Error {
    Failure failure = Failure::kUnreachable;
    int code = 0;         // as in the protocol: -32602, 2, 3, ...
    std::string kind;     // "invalid", "not_found", ...
    std::string path;     // "$.params.mtu", or ""
    std::string message;  // for people
    // All of it on one line.
    std::string text() const;
};

template <typename T>
using Result = tl::expected<T, Error>;

struct Options {
    std::string socket{kDefaultSocket};
    Milliseconds timeout{10'000};  // of connecting, and of every call
    std::string name;              // given to the daemon for its log, "" for none
};

// What a daemon says of itself in `hello`.
struct Hello {
    int api_version = 0;
    std::string version;
    std::string instance;  // changes at every start of the daemon
    bool read_only = false;
    size_t frame_bytes_max = 0;
    Json raw;
};

struct Notification {
    std::string method;  // "event" or "capture.packets"
    Json params;
};

struct WatchRequest {
    std::optional<uint64_t> since;   // the last event already known
    std::string instance;            // the instance that `since` counts in, "" for the present one
    std::vector<std::string> types;  // {} for all
};

struct WatchStart {
    std::string instance;
    uint64_t seq = 0;
    bool lost = false;  // some events are gone: list again
};

// All pages of a list.
struct Listing {
    uint64_t seq = 0;  // the event number that it is true at: watch from here
    std::vector<Json> items;
};

class Client {
  public:
    static Result<Client> connect(Options options = {});
    Client(Client&& other) noexcept;
    Client& operator=(Client&& other) noexcept;
    ~Client();

    const Hello& hello() const;

    // One request, its result.
    Result<Json> call(std::string_view method, Json params = Json::object());

    // Many requests of one method, several in flight. Results in the order of the requests; on the
    // first error, that error, once everything that was sent has been answered (so what came before
    // and after it may have been done). `failed`, when given, receives the index of that request.
    Result<std::vector<Json>> call_many(std::string_view method, const std::vector<Json>& params,
                                        size_t* failed = nullptr);

    // "port.list" and its like, page by page. `member` is the list's name in the result ("ports").
    Result<Listing> list(std::string_view method, std::string_view member,
                         Json params = Json::object());

    // Begins events; they come out of next().
    Result<WatchStart> watch(WatchRequest request = {});
    // Connects again (the daemon may have been restarted) and watches from the last event that
    // next() returned. One attempt within the time limit.
    Result<WatchStart> resume();
    // The next notification, or std::nullopt after `wait` without one.
    Result<std::optional<Notification>> next(Milliseconds wait);

    // For a poll loop of the caller's: readable means that next(0) may have something.
    int descriptor() const;

  private:
    struct Impl;
    explicit Client(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace slash32::client
