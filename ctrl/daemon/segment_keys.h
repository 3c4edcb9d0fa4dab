// SPDX-License-Identifier: Apache-2.0
// The keys of [srv6] hmac_keys, and the files that hold their secrets.
#pragma once

#include "dp/abi/segment_key.h"
#include "dp/base/result.h"

#include <string>
#include <vector>

namespace slash32 {

// Each is "id=NUMBER;file=PATH", and ";form=linux" where the kernel is to understand it. The secret
// is what the file holds, without a newline at its end. Errors: kInvalid, with srv6.hmac_keys as
// path: of a text that is not so, an id twice, a file that cannot be read, is empty or too long, or
// may be read by anybody.
Result<SegmentKeys> read_segment_keys(const std::vector<std::string>& texts);

}  // namespace slash32
