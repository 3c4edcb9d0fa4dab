// SPDX-License-Identifier: Apache-2.0
// A port's desired fields as JSON: in requests, in listings and in the store.
#pragma once

#include "ctrl/intent/plan.h"
#include "ctrl/rpc/decode.h"

namespace slash32 {

inline constexpr size_t kMaxLabels = 32;  // of any object

// Every member with its value, owner included.
rpc::Json to_json(const PortIntent& intent);

// Reads the members of a port from an object; further members are left to the caller.
void read_port(rpc::Fields& fields, PortIntent& out);
// After fields.done(): fills in defaults that depend on other members, and checks all that can be
// said without knowing other objects.
Result<void> finish_port(const rpc::Json& json, const rpc::Path& path, PortIntent& out);
// A port as to_json() wrote it.
Result<PortIntent> parse_port(const std::string& text);

// Why a VM, gateway or next hop cannot have this address, or nullptr.
const char* unfit_address(const IpAddress& address);
// Errors: kInvalid, unless it is a unicast address.
Result<void> check_unicast(const Mac& mac, const rpc::Path& path);

std::string_view kind_name(PortKind kind);

}  // namespace slash32
