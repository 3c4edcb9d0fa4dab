// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value, or an error that a person can act on.
//
// Used outside the packet path only. A bad request is an Error that names the field; our own bug is
// an assertion (assert.h); a bad packet is a drop reason (dp/abi/drop_reason.h).
#pragma once

#include <tl/expected.hpp>

#include <string>
#include <utility>

namespace slash32 {

// Stable codes: part of the control protocol, never renumbered (docs/protocol.md).
enum class ErrorCode : int {
    kInvalid = 1,        // a field has a value it cannot have
    kNotFound = 2,       // the named object does not exist
    kConflict = 3,       // another object holds what is asked for
    kNotOwner = 4,       // another owner's object, and no force
    kLimit = 5,          // a capacity would be exceeded
    kStorage = 6,        // the intent could not be made durable
    kForbidden = 7,      // this peer may only read
    kWrongInstance = 8,  // the pinned instance id is not this daemon's
    kUnavailable = 9,    // cannot be done now (starting, stopping, resource missing)
    kInternal = 10,
};

struct Error {
    ErrorCode code = ErrorCode::kInternal;
    std::string path;     // JSON path of the bad field, "" when it is no single field's fault
    std::string message;  // one sentence, for people
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string path, std::string message) {
    return tl::unexpected<Error>(Error{code, std::move(path), std::move(message)});
}

}  // namespace slash32
