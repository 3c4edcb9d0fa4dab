// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/decode.h"

#include "dp/base/assert.h"

#include <fmt/format.h>

#include <algorithm>

namespace slash32::rpc {
namespace {

bool is_plain_key(std::string_view key) {
    return !key.empty() && std::ranges::all_of(key, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '$';
    });
}

// A key in a path comes from the client: quoted when it is not an identifier, cut when it is long.
std::string quoted(std::string_view key) {
    constexpr size_t kShown = 64;
    const Json shown = std::string(key.substr(0, kShown));
    return shown.dump(-1, ' ', true, Json::error_handler_t::replace);
}

bool has_control_character(std::string_view text) {
    return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

bool is_name_character(unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
}

}  // namespace

std::string Path::text() const {
    if (parent_ == nullptr) return std::string(key_);
    std::string out = parent_->text();
    if (is_index_) return out + fmt::format("[{}]", index_);
    if (is_plain_key(key_) && key_.size() <= 64) return out.append(".").append(key_);
    return out + fmt::format("[{}]", quoted(key_));
}

tl::unexpected<Error> invalid(const Path& path, std::string message) {
    return fail(ErrorCode::kInvalid, path.text(), std::move(message));
}

tl::unexpected<Error> not_one_of(const Path& path, const std::string_view* names, size_t count) {
    return invalid(path, fmt::format("must be one of: {}", fmt::join(names, names + count, ", ")));
}

Result<void> decode(const Json& json, const Path& path, std::string& out, Length rule) {
    const auto* text = json.get_ptr<const std::string*>();
    if (text == nullptr) return invalid(path, "must be a string");
    if (text->size() < rule.min || text->size() > rule.max) {
        return invalid(path, fmt::format("must have {} to {} bytes", rule.min, rule.max));
    }
    if (has_control_character(*text)) return invalid(path, "must not hold control characters");
    out = *text;
    return {};
}

namespace {

bool is_name(std::string_view text, size_t max) {
    return !text.empty() && text.size() <= max && std::ranges::all_of(text, is_name_character) &&
           text != "." && text != "..";
}

}  // namespace

Result<void> decode(const Json& json, const Path& path, std::string& out, Name rule) {
    const auto* text = json.get_ptr<const std::string*>();
    if (text == nullptr || !is_name(*text, rule.max)) {
        return invalid(
            path, fmt::format("must be a name of 1 to {} characters A-Z a-z 0-9 _ . -", rule.max));
    }
    out = *text;
    return {};
}

Result<void> decode(const Json& json, const Path& path, std::string& out, PortName) {
    constexpr std::string_view kHostView = "host:";
    const auto* text = json.get_ptr<const std::string*>();
    if (text == nullptr || !text->starts_with(kHostView)) return decode(json, path, out, Name{15});
    if (auto ok = decode(Json(text->substr(kHostView.size())), path, out, Name{15}); !ok) return ok;
    out = *text;
    return {};
}

Result<void> decode(const Json& json, const Path& path, bool& out) {
    if (!json.is_boolean()) return invalid(path, "must be true or false");
    out = json.get<bool>();
    return {};
}

Result<void> decode(const Json& json, const Path& path, Mac& out) {
    const auto* text = json.get_ptr<const std::string*>();
    const auto mac = text != nullptr ? parse_mac(*text) : std::nullopt;
    if (!mac) return invalid(path, "must be a MAC address such as 52:54:00:00:00:01");
    out = *mac;
    return {};
}

Result<void> decode(const Json& json, const Path& path, IpAddress& out) {
    const auto* text = json.get_ptr<const std::string*>();
    const auto address = text != nullptr ? parse_ip(*text) : std::nullopt;
    if (!address) return invalid(path, "must be an IPv4 or IPv6 address");
    out = *address;
    return {};
}

Result<void> decode(const Json& json, const Path& path, IpPrefix& out) {
    const auto* text = json.get_ptr<const std::string*>();
    const auto prefix = text != nullptr ? parse_prefix(*text) : std::nullopt;
    if (!prefix) {
        return invalid(path, "must be a prefix such as 10.0.0.0/24, with host bits zero");
    }
    out = *prefix;
    return {};
}

Result<void> decode(const Json& json, const Path& path, std::map<std::string, std::string>& out,
                    Count count, Length rule) {
    const auto* object = json.get_ptr<const Json::object_t*>();
    if (object == nullptr) return invalid(path, "must be an object of strings");
    if (object->size() < count.min || object->size() > count.max) {
        return invalid(path, fmt::format("must have {} to {} members", count.min, count.max));
    }
    out.clear();
    for (const auto& [key, value] : *object) {
        const Path member(path, key);
        if (key.empty() || key.size() > 64 || has_control_character(key)) {
            return invalid(member, "must have a name of 1 to 64 bytes");
        }
        if (auto ok = decode(value, member, out[key], rule); !ok) return ok;
    }
    return {};
}

Result<int64_t> decode_integer(const Json& json, const Path& path, Range range) {
    // Integers only: 3.0 is a number_float here and refused, as the schema's readers would not all.
    std::optional<int64_t> value;
    if (json.is_number_unsigned()) {
        const auto wide = json.get<uint64_t>();
        if (wide <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
            value = static_cast<int64_t>(wide);
        }
    } else if (json.is_number_integer()) {
        value = json.get<int64_t>();
    }
    if (!value || *value < range.min || *value > range.max) {
        return invalid(path, fmt::format("must be an integer from {} to {}", range.min, range.max));
    }
    return *value;
}

Result<void> check_array(const Json& json, const Path& path, Count count) {
    if (!json.is_array()) return invalid(path, "must be an array");
    if (json.size() < count.min || json.size() > count.max) {
        return invalid(path, fmt::format("must have {} to {} elements", count.min, count.max));
    }
    return {};
}

Fields::Fields(const Json& json, const Path& path)
    : json_(&json), object_(json.get_ptr<const Json::object_t*>()), path_(path) {
    if (object_ == nullptr) {
        error_ = Error{ErrorCode::kInvalid, path.text(), "must be an object"};
    }
}

const Json* Fields::find(std::string_view key) {
    if (object_ == nullptr) return nullptr;
    const auto at = json_->find(key);
    const auto known = known_.begin() + static_cast<std::ptrdiff_t>(known_count_);
    if (std::find(known_.begin(), known, key) == known) {
        S32_ASSERT(known_count_ < kMax);
        known_[known_count_++] = key;
        if (at != json_->end()) ++present_;
    }
    return at != json_->end() ? &*at : nullptr;
}

Fields& Fields::check(bool holds, std::string_view key, std::string_view message) {
    if (!error_ && !holds) {
        error_ = Error{ErrorCode::kInvalid, Path(path_, key).text(), std::string(message)};
    }
    return *this;
}

void Fields::missing(std::string_view key) {
    if (!error_) error_ = Error{ErrorCode::kInvalid, Path(path_, key).text(), "is required"};
}

Result<void> Fields::done() {
    if (!error_ && present_ < object_->size()) {
        const auto end = known_.begin() + static_cast<std::ptrdiff_t>(known_count_);
        for (const auto& [key, value] : *object_) {
            if (std::find(known_.begin(), end, std::string_view(key)) != end) continue;
            error_ = Error{ErrorCode::kInvalid, Path(path_, key).text(), "is not a known member"};
            break;
        }
    }
    if (error_) return tl::unexpected(*error_);
    return {};
}

}  // namespace slash32::rpc
