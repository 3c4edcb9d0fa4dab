// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/json_text.h"

#include <fmt/format.h>

#include <vector>

namespace slash32::rpc {
namespace {

// Builds the document from the parser's events. Each of the functions returns false to stop.
class Builder : public nlohmann::json_sax<Json> {
  public:
    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t& /*text*/) override {
        return add(value);
    }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t& /*value*/) override { return false; }

    bool start_object(std::size_t /*size*/) override { return open(Json::value_t::object); }
    bool start_array(std::size_t /*size*/) override { return open(Json::value_t::array); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(string_t& name) override {
        auto& members = open_.back()->get_ref<Json::object_t&>();
        const auto [at, is_new] = members.emplace(std::move(name), nullptr);
        if (!is_new) return stop("an object has a member twice");
        slot_ = &at->second;
        return true;
    }

    bool parse_error(std::size_t position, const std::string& /*token*/,
                     const nlohmann::detail::exception& /*why*/) override {
        return stop(fmt::format("is not JSON: unexpected input at byte {}", position));
    }

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
    Builder builder;
    if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
        return fail(ErrorCode::kInvalid, "", std::move(builder.problem));
    }
    return std::move(builder.root);
}

std::string dump_json(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace slash32::rpc
