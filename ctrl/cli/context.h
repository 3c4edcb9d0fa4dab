// SPDX-License-Identifier: Apache-2.0
// What every command of slash32ctl shares: the connection, the output, the exit codes.
#pragma once

#include "ctrl/client/slash32.h"

#include <optional>
#include <ostream>
#include <string>
#include <string_view>

namespace slash32::cli {

using client::Client;
using client::Json;

// Stable: scripts rely on them (docs/man/slash32ctl.1).
enum Exit : int {
    kExitOk = 0,
    kExitRefused = 1,      // the daemon answered with an error, or a wait ended badly
    kExitUsage = 2,        // the command line, or a file named on it
    kExitUnreachable = 3,  // no daemon, or no permission to reach it
    kExitTimeout = 4,
};

inline constexpr size_t kScreenColumns = 80;

struct Globals {
    std::string socket{client::kDefaultSocket};
    std::string owner;  // "" leaves the daemon's default, cli
    double timeout_s = 10;
    bool json = false;
};

class Context {
  public:
    Context(std::ostream& out_stream, std::ostream& err_stream)
        : out(out_stream), err(err_stream) {}

    // The connection, made when it is first wanted; nullptr after an error that has been printed
    // and set as the exit code.
    Client* connect();
    void disconnect() { client_.reset(); }

    // One call. std::nullopt after an error, as above.
    std::optional<Json> call(std::string_view method, Json params = Json::object());
    // All pages of a list, as {"seq": n, member: [...]}.
    std::optional<Json> list(std::string_view method, const std::string& member, Json params);

    void fail(const client::Error& error);
    // An error of the command line, found after it was parsed.
    void usage(std::string_view message);
    // With --json: the document, indented, and true.
    bool print_json(const Json& document);

    std::ostream& out;
    std::ostream& err;
    Globals globals;
    int exit_code = kExitOk;
    bool interactive = false;  // inside the shell or a batch: no shell in a shell

  private:
    std::optional<Client> client_;
    std::string connected_to_;
};

// Members of results, tolerant of what a daemon of another version leaves out.
std::string text_at(const Json& object, std::string_view key, std::string otherwise = "");
uint64_t number_at(const Json& object, std::string_view key, uint64_t otherwise = 0);
bool bool_at(const Json& object, std::string_view key, bool otherwise = false);
// An empty object or array when absent.
const Json& object_at(const Json& object, std::string_view key);
const Json& array_at(const Json& object, std::string_view key);
// Any value on one line: strings without quotes, objects as k=v.
std::string plain(const Json& value);

}  // namespace slash32::cli
