// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/handler.h"

#include "ctrl/rpc/frame.h"
#include "ctrl/rpc/json_text.h"
#include "dp/base/assert.h"

namespace slash32::rpc {
namespace {

Error unanswered() {
    return Error{ErrorCode::kInternal, "", "The request was dropped without an answer."};
}

}  // namespace

SharedFrame make_notification(std::string_view method, const Json& params) {
    const Json message{{"jsonrpc", "2.0"}, {"method", method}, {"params", params}};
    return std::make_shared<const std::string>(make_frame(dump_json(message)));
}

Reply& Reply::operator=(Reply&& other) noexcept {
    if (this != &other) {
        if (pending()) finish(unanswered());
        sink_ = std::exchange(other.sink_, nullptr);
    }
    return *this;
}

Reply::~Reply() {
    if (pending()) finish(unanswered());
}

void Reply::ok(Json result) {
    finish(std::move(result));
}

void Reply::ok_raw(std::string result) {
    finish(RawJson{std::move(result)});
}

void Reply::error(Error error) {
    finish(std::move(error));
}

void Reply::complete(Result<Json> result) {
    if (result) {
        ok(std::move(*result));
    } else {
        error(std::move(result.error()));
    }
}

void Reply::finish(Outcome outcome) {
    S32_ASSERT(pending());
    // Taken out first: the sink may run code that looks at this reply again.
    const Sink sink = std::exchange(sink_, nullptr);
    sink(std::move(outcome));
}

}  // namespace slash32::rpc
