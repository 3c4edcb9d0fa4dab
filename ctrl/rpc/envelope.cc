// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/envelope.h"

#include "ctrl/rpc/decode.h"
#include "ctrl/rpc/frame.h"
#include "ctrl/rpc/json_text.h"
#include "dp/base/assert.h"

#include <fmt/format.h>

namespace slash32::rpc {
namespace {

constexpr size_t kIdBytesMax = 128;
constexpr size_t kResultBytesMax = size_t{1} << 30;  // our own lists are pages, far below it

bool is_valid_id(const Json& id) {
    if (id.is_number_integer()) return true;
    const auto* text = id.get_ptr<const std::string*>();
    return text != nullptr && text->size() <= kIdBytesMax;
}

Refusal refuse(Json id, int code, std::string_view kind, std::string message,
               std::string path = {}) {
    return Refusal{std::move(id), WireError{code, kind, std::move(message), std::move(path)}};
}

Refusal bad_request(Json id, std::string message, std::string path) {
    return refuse(std::move(id), kInvalidRequest, "request", std::move(message), std::move(path));
}

// What is wrong with the members of a request object, if anything.
std::optional<Refusal> check_envelope(const Json& document, const Json& id) {
    if (!document.contains("id")) {
        return bad_request(nullptr, "is required: there are no notifications to slash32d", "$.id");
    }
    if (id.is_null()) {
        return bad_request(nullptr, "must be an integer or a string of at most 128 bytes", "$.id");
    }
    const auto version = document.find("jsonrpc");
    if (version == document.end() || *version != "2.0") {
        return bad_request(id, "must be \"2.0\"", "$.jsonrpc");
    }
    for (const auto& [key, value] : document.items()) {
        if (key == "jsonrpc" || key == "id" || key == "method" || key == "params") continue;
        return bad_request(id, "is not a known member", Path(Path("$"), key).text());
    }
    return std::nullopt;
}

}  // namespace

std::string_view kind_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalid:
            return "invalid";
        case ErrorCode::kNotFound:
            return "not_found";
        case ErrorCode::kConflict:
            return "conflict";
        case ErrorCode::kNotOwner:
            return "not_owner";
        case ErrorCode::kLimit:
            return "limit";
        case ErrorCode::kStorage:
            return "storage";
        case ErrorCode::kForbidden:
            return "forbidden";
        case ErrorCode::kWrongInstance:
            return "wrong_instance";
        case ErrorCode::kUnavailable:
            return "unavailable";
        case ErrorCode::kInternal:
            break;
    }
    return "internal";
}

WireError to_wire(Error error) {
    const int code =
        error.code == ErrorCode::kInvalid ? kInvalidParams : static_cast<int>(error.code);
    return WireError{code, kind_of(error.code), std::move(error.message), std::move(error.path)};
}

std::variant<Request, Refusal> parse_request(std::string_view body) {
    Result<Json> parsed = parse_json(body);
    if (!parsed) {
        return refuse(nullptr, kParseError, "parse", "The request " + parsed.error().message);
    }
    Json& document = *parsed;
    if (!document.is_object()) {
        return bad_request(nullptr, "must be an object; there are no batches", "$");
    }
    Request request;
    if (const auto id = document.find("id"); id != document.end() && is_valid_id(*id)) {
        request.id = *id;
    }
    if (auto refusal = check_envelope(document, request.id)) return std::move(*refusal);

    const auto method = document.find("method");
    if (method == document.end() || !method->is_string()) {
        return bad_request(request.id, "must be a string", "$.method");
    }
    request.method = method->get<std::string>();
    const std::optional<Access> access = access_of(request.method);
    if (!access) {
        return refuse(request.id, kMethodNotFound, "method", "is not a method of slash32d",
                      "$.method");
    }
    request.access = *access;

    request.params = Json::object();
    if (const auto params = document.find("params"); params != document.end()) {
        if (!params->is_object()) return bad_request(request.id, "must be an object", "$.params");
        request.params = std::move(*params);
    }
    if (const auto pin = request.params.find("instance"); pin != request.params.end()) {
        const Path root("$.params");
        if (auto ok = decode(*pin, Path(root, "instance"), request.instance, Length{1, 64}); !ok) {
            return Refusal{request.id, to_wire(ok.error())};
        }
        if (request.method != "watch") request.params.erase(pin);
    }
    return request;
}

std::string make_result(const Json& id, const Outcome& outcome) {
    if (const auto* error = std::get_if<Error>(&outcome)) return make_error(id, to_wire(*error));
    const auto* raw = std::get_if<RawJson>(&outcome);
    const std::string text = raw != nullptr ? std::string() : dump_json(std::get<Json>(outcome));
    const std::string& result = raw != nullptr ? raw->text : text;
    if (result.size() > kResultBytesMax) {
        return make_error(id, to_wire(Error{ErrorCode::kInternal, "", "The result is too large."}));
    }
    // By hand, so that a large result is serialised once and copied once.
    return make_frame(
        fmt::format(R"({{"jsonrpc":"2.0","id":{},"result":{}}})", dump_json(id), result));
}

std::string make_error(const Json& id, const WireError& error) {
    Json data{{"kind", error.kind}};
    if (!error.path.empty()) data["path"] = error.path;
    const Json reply{
        {"jsonrpc", "2.0"},
        {"id", id},
        {"error", {{"code", error.code}, {"message", error.message}, {"data", std::move(data)}}}};
    return make_frame(dump_json(reply));
}

}  // namespace slash32::rpc
