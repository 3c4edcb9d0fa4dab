// SPDX-License-Identifier: Apache-2.0
// A VRF's intent as JSON: in the protocol and in the store.
#pragma once

#include "ctrl/intent/model.h"
#include "ctrl/rpc/decode.h"
#include "dp/base/result.h"

#include <string>

namespace slash32 {

// Every member with its value, owner included.
rpc::Json to_json(const VrfIntent& vrf);
// Reads the members that define a VRF; further ones are left to the caller.
void read_vrf(rpc::Fields& fields, VrfIntent& out);
// A VRF as to_json() wrote it. Errors: kInvalid.
Result<VrfIntent> parse_vrf(const std::string& text);

}  // namespace slash32
