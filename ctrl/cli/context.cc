// SPDX-License-Identifier: Apache-2.0
#include "ctrl/cli/context.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

namespace slash32::cli {

Client* Context::connect() {
    if (client_ && connected_to_ == globals.socket) return &*client_;
    client_.reset();
    auto client = Client::connect(
        {globals.socket, client::Milliseconds(static_cast<int64_t>(globals.timeout_s * 1000)),
         "slash32ctl"});
    if (!client) {
        fail(client.error());
        return nullptr;
    }
    client_ = std::move(*client);
    connected_to_ = globals.socket;
    return &*client_;
}

std::optional<Json> Context::call(std::string_view method, Json params) {
    Client* client = connect();
    if (client == nullptr) return std::nullopt;
    auto result = client->call(method, std::move(params));
    if (!result) {
        fail(result.error());
        return std::nullopt;
    }
    return std::move(*result);
}

std::optional<Json> Context::list(std::string_view method, const std::string& member, Json params) {
    Client* client = connect();
    if (client == nullptr) return std::nullopt;
    auto listing = client->list(method, member, std::move(params));
    if (!listing) {
        fail(listing.error());
        return std::nullopt;
    }
    return Json{{"seq", listing->seq}, {member, std::move(listing->items)}};
}

void Context::fail(const client::Error& error) {
    switch (error.failure) {
        case client::Failure::kRefused:
            exit_code = kExitRefused;
            break;
        case client::Failure::kUnreachable:
            exit_code = kExitUnreachable;
            break;
        case client::Failure::kTimeout:
            exit_code = kExitTimeout;
            break;
    }
    // A connection that broke, or that owes an answer, is of no use to the next command.
    if (error.failure != client::Failure::kRefused) disconnect();
    if (globals.json) {
        Json shown{{"code", error.code}, {"kind", error.kind}, {"message", error.message}};
        if (!error.path.empty()) shown["path"] = error.path;
        err << Json{{"error", shown}}.dump() << '\n';
    } else {
        fmt::print(err, "slash32ctl: {}\n", error.text());
    }
}

void Context::usage(std::string_view message) {
    exit_code = kExitUsage;
    fmt::print(err, "slash32ctl: {}\n", message);
}

bool Context::print_json(const Json& document) {
    if (globals.json) {
        out << document.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    }
    return globals.json;
}

std::string text_at(const Json& object, std::string_view key, std::string otherwise) {
    if (!object.is_object()) return otherwise;
    const auto at = object.find(key);
    return at != object.end() && at->is_string() ? at->get<std::string>() : otherwise;
}

uint64_t number_at(const Json& object, std::string_view key, uint64_t otherwise) {
    if (!object.is_object()) return otherwise;
    const auto at = object.find(key);
    return at != object.end() && at->is_number() ? at->get<uint64_t>() : otherwise;
}

bool bool_at(const Json& object, std::string_view key, bool otherwise) {
    if (!object.is_object()) return otherwise;
    const auto at = object.find(key);
    return at != object.end() && at->is_boolean() ? at->get<bool>() : otherwise;
}

const Json& object_at(const Json& object, std::string_view key) {
    static const Json kNone = Json::object();
    if (!object.is_object()) return kNone;
    const auto at = object.find(key);
    return at != object.end() && at->is_object() ? *at : kNone;
}

const Json& array_at(const Json& object, std::string_view key) {
    static const Json kNone = Json::array();
    if (!object.is_object()) return kNone;
    const auto at = object.find(key);
    return at != object.end() && at->is_array() ? *at : kNone;
}

std::string plain(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_object() && !value.is_array()) return value.dump();
    std::string out;
    for (const auto& [key, member] : value.items()) {
        if (!out.empty()) out += value.is_object() ? " " : ", ";
        if (value.is_object()) out += key + "=";
        out += plain(member);
    }
    return out;
}

}  // namespace slash32::cli
