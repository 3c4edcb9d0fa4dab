// SPDX-License-Identifier: Apache-2.0
// Typed decoding of JSON into structs, with the path of whatever is wrong.
//
//     Result<void> decode(const Json& json, const Path& path, NeighborDesired& out) {
//         Fields fields(json, path);
//         fields.required("port", out.port, Name{15});
//         fields.required("address", out.address);
//         fields.required("mac", out.mac);
//         fields.optional("force", out.force);
//         return fields.done();
//     }
//
//     NeighborDesired desired;
//     if (auto ok = decode(params, Path("$.params"), desired); !ok) return reply.error(ok.error());
//
// An overload of decode() found by argument-dependent lookup makes a struct usable as a member or
// an element. The first error wins; a member that nobody asked for is an error; `null` is not an
// absent member but a wrong type. Every string and every array has a limit. Paths are linked on
// the stack and become text only in an error, so 10,000 prefixes cost 10,000 parses and no more.
#pragma once

#include "ctrl/rpc/handler.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace slash32::rpc {

// A place in a document. Holds references: its parent and its key must outlive it.
class Path {
  public:
    explicit Path(std::string_view root) : key_(root) {}
    Path(const Path& parent, std::string_view key) : parent_(&parent), key_(key) {}
    Path(const Path& parent, size_t index) : parent_(&parent), index_(index), is_index_(true) {}

    // "$.params.routes[3].prefixes[17]"
    std::string text() const;

  private:
    const Path* parent_ = nullptr;
    std::string_view key_;
    size_t index_ = 0;
    bool is_index_ = false;
};

// An error of kind kInvalid at `path`.
tl::unexpected<Error> invalid(const Path& path, std::string message);

// Rules: what a value must satisfy beyond its type.
struct Length {  // of a string, in bytes
    size_t min = 0;
    size_t max = 4096;
};
struct Name {  // 1 to max characters [A-Za-z0-9_.-], neither "." nor ".."
    size_t max = 32;
};
struct PortName {};  // Name{15}, or that behind "host:", the host's view of an uplink
struct Range {       // of an integer, both ends included
    int64_t min;
    int64_t max;
};
struct Count {  // of elements
    size_t min = 0;
    size_t max = 0;
};
template <typename Enum, size_t N>
struct OneOf {  // spelling → value
    std::array<std::pair<std::string_view, Enum>, N> names;
};
template <typename Enum, typename... Rest>
OneOf(std::pair<std::string_view, Enum>, Rest...) -> OneOf<Enum, 1 + sizeof...(Rest)>;

// Text: printable UTF-8 without control characters.
Result<void> decode(const Json& json, const Path& path, std::string& out, Length rule = {});
Result<void> decode(const Json& json, const Path& path, std::string& out, Name rule);
Result<void> decode(const Json& json, const Path& path, std::string& out, PortName rule);
Result<void> decode(const Json& json, const Path& path, bool& out);
Result<void> decode(const Json& json, const Path& path, Mac& out);
Result<void> decode(const Json& json, const Path& path, IpAddress& out);
Result<void> decode(const Json& json, const Path& path, IpPrefix& out);
// String members under names of at most 64 characters; the strings obey `rule`.
Result<void> decode(const Json& json, const Path& path, std::map<std::string, std::string>& out,
                    Count count, Length rule = {0, 255});

Result<int64_t> decode_integer(const Json& json, const Path& path, Range range);
tl::unexpected<Error> not_one_of(const Path& path, const std::string_view* names, size_t count);
Result<void> check_array(const Json& json, const Path& path, Count count);

template <std::integral T>
requires(!std::same_as<T, bool>) Result<void> decode(
    const Json& json, const Path& path, T& out,
    Range range = {std::is_signed_v<T> ? int64_t{std::numeric_limits<T>::min()} : 0,
                   sizeof(T) == 8 ? std::numeric_limits<int64_t>::max()
                                  : int64_t(std::numeric_limits<T>::max())}) {
    const Result<int64_t> value = decode_integer(json, path, range);
    if (!value) return tl::unexpected(value.error());
    out = static_cast<T>(*value);
    return {};
}

template <typename Enum, size_t N>
Result<void> decode(const Json& json, const Path& path, Enum& out, const OneOf<Enum, N>& rule) {
    if (const auto* text = json.get_ptr<const std::string*>()) {
        for (const auto& [name, value] : rule.names) {
            if (*text == name) {
                out = value;
                return {};
            }
        }
    }
    std::array<std::string_view, N> names;
    for (size_t i = 0; i < N; ++i)
        names[i] = rule.names[i].first;
    return not_one_of(path, names.data(), N);
}

template <typename T, typename... Rules>
Result<void> decode(const Json& json, const Path& path, std::vector<T>& out, Count count,
                    const Rules&... rules);

template <typename T, typename... Rules>
Result<void> decode(const Json& json, const Path& path, std::optional<T>& out,
                    const Rules&... rules) {
    T value{};
    if (auto ok = decode(json, path, value, rules...); !ok) return ok;
    out = std::move(value);
    return {};
}

template <typename T, typename... Rules>
Result<void> decode(const Json& json, const Path& path, std::vector<T>& out, Count count,
                    const Rules&... rules) {
    if (auto ok = check_array(json, path, count); !ok) return ok;
    const auto& elements = json.get_ref<const Json::array_t&>();
    out.clear();
    out.resize(elements.size());
    for (size_t i = 0; i < elements.size(); ++i) {
        if (auto ok = decode(elements[i], Path(path, i), out[i], rules...); !ok) return ok;
    }
    return {};
}

// Reads the members of one object. After the first error the other calls do nothing.
class Fields {
  public:
    // At most this many different members can be asked for.
    static constexpr size_t kMax = 40;

    Fields(const Json& json, const Path& path);

    template <typename T, typename... Rules>
    Fields& required(std::string_view key, T& out, const Rules&... rules) {
        if (const Json* value = find(key)) {
            read(*value, key, out, rules...);
        } else {
            missing(key);
        }
        return *this;
    }

    // Leaves `out` as it is when the member is absent.
    template <typename T, typename... Rules>
    Fields& optional(std::string_view key, T& out, const Rules&... rules) {
        if (const Json* value = find(key)) read(*value, key, out, rules...);
        return *this;
    }

    // The member as it stands, or nullptr; it counts as known.
    const Json* find(std::string_view key);
    // Whether the member is present; does not make it known.
    bool has(std::string_view key) const { return object_ != nullptr && json_->contains(key); }

    // A rule across members: when it does not hold, the error names `key`.
    Fields& check(bool holds, std::string_view key, std::string_view message);

    bool failed() const { return error_.has_value(); }
    const Path& path() const { return path_; }

    // The first error, or the first member that nobody asked for.
    Result<void> done();

  private:
    template <typename T, typename... Rules>
    void read(const Json& value, std::string_view key, T& out, const Rules&... rules) {
        if (error_) return;
        if (auto ok = decode(value, Path(path_, key), out, rules...); !ok) error_ = ok.error();
    }
    void missing(std::string_view key);

    const Json* json_;
    const Json::object_t* object_ = nullptr;
    const Path& path_;
    std::array<std::string_view, kMax> known_;
    size_t known_count_ = 0;
    size_t present_ = 0;  // how many of known_ the object has
    std::optional<Error> error_;
};

}  // namespace slash32::rpc
