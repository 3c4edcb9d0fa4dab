// SPDX-License-Identifier: Apache-2.0
// JSON text from a peer to a document, with limits that plain parsing does not have.
//
// Depth is bounded, because serialising recurses; the number of values is bounded, because
// "[[],[]," costs 40 times its length in memory; a member named twice is an error, because two
// readers of it could understand two things. Never throws on input.
#pragma once

#include "ctrl/rpc/handler.h"
#include "dp/base/result.h"

#include <string_view>

namespace slash32::rpc {

inline constexpr size_t kMaxJsonDepth = 32;
inline constexpr size_t kMaxJsonValues = 2'000'000;

// The error has no path; its message says what is wrong and where (a byte offset).
Result<Json> parse_json(std::string_view text);

// Compact text. Bytes that are not UTF-8 become U+FFFD: replies may quote what a peer sent.
std::string dump_json(const Json& json);

}  // namespace slash32::rpc
