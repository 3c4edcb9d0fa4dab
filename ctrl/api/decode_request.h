// SPDX-License-Identifier: Apache-2.0
// From the params of a request to the structs of ctrl/intent/requests.h.
#pragma once

#include "ctrl/api/api.h"
#include "ctrl/intent/requests.h"
#include "ctrl/rpc/decode.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slash32 {

inline constexpr size_t kListLimitMax = 10000;
inline constexpr size_t kVisitedMax = 200'000;  // routes looked at for one page

// The common members of an `apply` or `delete`; `sync` where the method has it.
void read_write_options(rpc::Fields& fields, WriteOptions& out, bool with_sync);
// After fields.done(). Errors: kInvalid for members that exclude each other.
Result<void> check_write_options(const WriteOptions& options);

// The common members of a list.
struct ListOptions {
    size_t limit = 1000;
    std::optional<std::string> cursor;
    std::optional<std::string> owner;
};
void read_list_options(rpc::Fields& fields, ListOptions& out);
tl::unexpected<Error> bad_cursor();
// Where a list goes on whose cursor is a place of its table; 0 without a cursor. Errors: kInvalid.
Result<uint64_t> read_place(const std::optional<std::string>& cursor);

Result<void> decode(const rpc::Json& json, const rpc::Path& path, HopRequest& out);
Result<void> decode(const rpc::Json& json, const rpc::Path& path, RouteGroup& out);

// A next hop of the table as the protocol has it: a JSON object. Names need no escaping.
std::string next_hop_text(const State& state, uint32_t index);

// What has become of the one object of a request: "added", "changed" or "unchanged".
std::string_view change_name(const Done& done);
// The same of an object that was there before, or is after: "add", "change" or "remove".
const char* op_name(bool had, bool has);

std::optional<VrfId> vrf_of(const std::optional<uint16_t>& number);

}  // namespace slash32
