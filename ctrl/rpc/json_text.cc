// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/json_text.h"

#include <fmt/format.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <charconv>
#include <vector>

namespace slash32::rpc {
namespace {

constexpr unsigned kParseFlags = rapidjson::kParseValidateEncodingFlag |
                                 rapidjson::kParseNumbersAsStringsFlag |
                                 rapidjson::kParseStopWhenDoneFlag;

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Half of a UTF-16 pair, which the reader lets through when it is the second and is escaped.
bool has_surrogate(std::string_view utf8) {
    for (size_t at = utf8.find('\xed'); at < utf8.size() - 1; at = utf8.find('\xed', at + 1)) {
        if (static_cast<unsigned char>(utf8[at + 1]) >= 0xa0) return true;
    }
    return false;
}

// Builds the document from the reader's events, whose names are the reader's. Each of the functions
// returns false to stop. RapidJSON reads several times faster than the document's own parser.
class Builder : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Builder> {
  public:
    // NOLINTBEGIN(readability-identifier-naming)
    bool Null() { return add(nullptr); }
    bool Bool(bool value) { return add(value); }
    // As text: the reader's own conversion makes something small of -5.5e+308.
    bool RawNumber(const char* text, size_t length, bool /*copy*/) {
        const std::string_view number(text, length);
        const bool whole = number.find_first_of(".eE") == number.npos;
        if (whole && number.front() == '-' && add_number<int64_t>(number)) return true;
        if (whole && number.front() != '-' && add_number<uint64_t>(number)) return true;
        return add_number<double>(number) || stop("is not JSON: a number is out of range");
    }
    bool String(const char* text, size_t length, bool /*copy*/) {
        if (has_surrogate({text, length})) return stop("is not JSON: a string is not Unicode");
        return add(std::string(text, length));
    }
    bool StartObject() { return open(Json::value_t::object); }
    bool StartArray() { return open(Json::value_t::array); }
    bool EndObject(size_t /*members*/) { return close(); }
    bool EndArray(size_t /*elements*/) { return close(); }

    bool Key(const char* text, size_t length, bool /*copy*/) {
        if (has_surrogate({text, length})) return stop("is not JSON: a string is not Unicode");
        auto& members = open_.back()->get_ref<Json::object_t&>();
        const auto [at, is_new] = members.emplace(std::string(text, length), nullptr);
        if (!is_new) return stop("an object has a member twice");
        slot_ = &at->second;
        return true;
    }
    // NOLINTEND(readability-identifier-naming)

    Json root;
    std::string problem;

  private:
    bool stop(std::string why) {
        if (problem.empty()) problem = std::move(why);
        return false;
    }

    template <typename T>
    Json* place(T&& value) {
        if (++values_ > kMaxJsonValues) {
            stop("has too many values");
            return nullptr;
        }
        if (slot_ != nullptr) {
            Json* at = std::exchange(slot_, nullptr);
            *at = Json(std::forward<T>(value));
            return at;
        }
        if (open_.empty()) {
            root = Json(std::forward<T>(value));
            return &root;
        }
        auto& elements = open_.back()->get_ref<Json::array_t&>();
        return &elements.emplace_back(std::forward<T>(value));
    }

    template <typename T>
    bool add(T&& value) {
        return place(std::forward<T>(value)) != nullptr;
    }

    template <typename T>
    bool add_number(std::string_view text) {
        T value{};
        const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
        return read.ec == std::errc() && add(value);
    }

    bool open(Json::value_t type) {
        if (open_.size() >= kMaxJsonDepth) return stop("is nested too deep");
        Json* at = place(type);
        if (at == nullptr) return false;
        open_.push_back(at);
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    std::vector<Json*> open_;  // the containers around the present place; the inner ones grow only
    Json* slot_ = nullptr;     // where the value of the last key belongs
    size_t values_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text) {
    rapidjson::MemoryStream stream(text.data(), text.size());
    rapidjson::Reader reader;
    Builder builder;
    size_t end = 0;
    if (reader.Parse<kParseFlags>(stream, builder)) {
        // A NUL ends the input as the reader understands it; here, nothing but the length does.
        while (stream.Tell() < text.size() && is_space(stream.Peek()))
            stream.Take();
        if (stream.Tell() == text.size()) return std::move(builder.root);
        end = stream.Tell();
    } else {
        end = reader.GetErrorOffset();
    }
    if (builder.problem.empty())
        builder.problem = fmt::format("is not JSON: unexpected input at byte {}", end + 1);
    return fail(ErrorCode::kInvalid, "", std::move(builder.problem));
}

std::string dump_json(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace slash32::rpc
