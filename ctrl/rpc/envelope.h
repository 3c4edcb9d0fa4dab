// SPDX-License-Identifier: Apache-2.0
// The JSON-RPC 2.0 envelope: requests taken apart, replies put together. Pure functions; the fuzzer
// and the unit tests call them without a socket.
#pragma once

#include "ctrl/rpc/handler.h"
#include "ctrl/rpc/methods.h"

#include <string>
#include <string_view>
#include <variant>

namespace slash32::rpc {

// JSON-RPC's own codes; ErrorCode's are positive (error_number()).
inline constexpr int kParseError = -32700;
inline constexpr int kInvalidRequest = -32600;
inline constexpr int kMethodNotFound = -32601;
inline constexpr int kInvalidParams = -32602;

// An error as it stands on the wire.
struct WireError {
    int code = 0;
    std::string_view kind;  // a literal
    std::string message;
    std::string path;  // "" when no single field is at fault
};

WireError to_wire(Error error);
// "not_found" for ErrorCode::kNotFound, ...
std::string_view kind_of(ErrorCode code);

struct Request {
    Json id;
    std::string method;
    Access access = Access::kRead;
    Json params;           // an object
    std::string instance;  // the pinned instance, "" when there is none
};

// A request that gets no further; `id` is null when it could not be told.
struct Refusal {
    Json id;
    WireError error;
};

// One frame's body. Everything is checked that needs no knowledge of the daemon. `instance` is
// taken out of params, except for `watch`.
std::variant<Request, Refusal> parse_request(std::string_view body);

// Whole frames. A result that would not fit a frame's length becomes an error of kind internal.
std::string make_result(const Json& id, const Outcome& outcome);
std::string make_error(const Json& id, const WireError& error);

}  // namespace slash32::rpc
