// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/segment_keys.h"

#include "dp/packet/segment_hmac.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

namespace slash32 {
namespace {

tl::unexpected<Error> bad(std::string message) {
    return fail(ErrorCode::kInvalid, "srv6.hmac_keys", std::move(message));
}

struct KeySpec {
    uint32_t id = 0;
    std::string file;
    HmacForm form = HmacForm::kRfc8754;
};

bool set_member(KeySpec& key, std::string_view name, std::string_view value) {
    if (name == "id") {
        const char* last = value.data() + value.size();
        const auto [end, error] = std::from_chars(value.data(), last, key.id);
        return error == std::errc{} && end == last && key.id != 0;
    }
    if (name == "file") {
        key.file = value;
        return !value.empty();
    }
    if (name == "form") {
        if (value == "linux") key.form = HmacForm::kLinux;
        return value == "linux" || value == "rfc8754";
    }
    return false;
}

std::optional<KeySpec> parse_key(std::string_view text) {
    KeySpec key;
    while (!text.empty()) {
        const std::string_view part = text.substr(0, text.find(';'));
        text.remove_prefix(std::min(part.size() + 1, text.size()));
        const size_t equals = part.find('=');
        if (equals == std::string_view::npos ||
            !set_member(key, part.substr(0, equals), part.substr(equals + 1))) {
            return std::nullopt;
        }
    }
    if (key.id == 0 || key.file.empty()) return std::nullopt;
    return key;
}

Result<std::string> read_secret(const std::string& file) {
    struct stat status {};
    std::ifstream in(file, std::ios::binary);
    if (!in || ::stat(file.c_str(), &status) != 0)
        return bad(fmt::format("cannot read {}: {}", file, std::strerror(errno)));
    if ((status.st_mode & S_IROTH) != 0)
        return bad(fmt::format("{} may be read by anybody: its mode should be 600", file));
    std::string secret{std::istreambuf_iterator<char>(in), {}};
    if (!secret.empty() && secret.back() == '\n') secret.pop_back();
    if (secret.empty() || secret.size() > SegmentKey::kMaxSecret)
        return bad(fmt::format("{} must hold 1 to {} bytes", file, SegmentKey::kMaxSecret));
    return secret;
}

}  // namespace

Result<SegmentKeys> read_segment_keys(const std::vector<std::string>& texts) {
    SegmentKeys keys;
    if (texts.size() > SegmentKeys::kMax)
        return bad(fmt::format("at most {} keys", SegmentKeys::kMax));
    for (const std::string& text : texts) {
        const auto spec = parse_key(text);
        if (!spec)
            return bad(
                fmt::format("\"{}\" is not id=NUMBER;file=PATH, with or without form=linux", text));
        if (keys.find(spec->id) != nullptr)
            return bad(fmt::format("the id {} stands there twice", spec->id));
        const auto secret = read_secret(spec->file);
        if (!secret) return tl::unexpected<Error>(secret.error());
        keys.list[keys.count++] =
            make_segment_key(spec->id, spec->form,
                             {reinterpret_cast<const uint8_t*>(secret->data()), secret->size()});
    }
    return keys;
}

}  // namespace slash32
