// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/envelope.h"

#include "ctrl/rpc/clock_text.h"
#include "ctrl/rpc/frame.h"
#include "ctrl/rpc/json_text.h"

#include <gtest/gtest.h>

namespace slash32::rpc {
namespace {

Json body_of(const std::string& frame) {
    return Json::parse(frame.substr(kFrameHeaderBytes));
}

struct BadRequest {
    const char* what;
    std::string text;
    int code;
    const char* path;
    Json id;
};

class BadRequestTest : public testing::TestWithParam<BadRequest> {};

TEST_P(BadRequestTest, IsRefusedWithItsCodeAndPath) {
    const BadRequest& bad = GetParam();
    const auto parsed = parse_request(bad.text);
    const auto* refusal = std::get_if<Refusal>(&parsed);
    ASSERT_NE(refusal, nullptr) << bad.text;
    EXPECT_EQ(refusal->error.code, bad.code);
    EXPECT_EQ(refusal->error.path, bad.path);
    EXPECT_EQ(refusal->id, bad.id);
    EXPECT_FALSE(refusal->error.message.empty());
}

const BadRequest kBadRequests[] = {
    {"Empty", "", kParseError, "", nullptr},
    {"Truncated", R"({"jsonrpc":"2.0","id":1)", kParseError, "", nullptr},
    {"TrailingBytes", R"({"jsonrpc":"2.0","id":1,"method":"hello"} x)", kParseError, "", nullptr},
    {"NotUtf8", "{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"hello\"}", kParseError, "",
     nullptr},
    {"TooDeep", std::string(33, '[') + std::string(33, ']'), kParseError, "", nullptr},
    {"VeryDeep", std::string(1'000'000, '['), kParseError, "", nullptr},
    {"MemberTwice", R"({"jsonrpc":"2.0","id":1,"id":2,"method":"hello"})", kParseError, "",
     nullptr},
    {"MemberTwiceInside", R"({"jsonrpc":"2.0","id":1,"method":"hello","params":{"a":1,"a":1}})",
     kParseError, "", nullptr},
    {"Batch", R"([{"jsonrpc":"2.0","id":1,"method":"hello"}])", kInvalidRequest, "$", nullptr},
    {"Scalar", "1", kInvalidRequest, "$", nullptr},
    {"NoVersion", R"({"id":1,"method":"hello"})", kInvalidRequest, "$.jsonrpc", 1},
    {"OldVersion", R"({"jsonrpc":"1.0","id":1,"method":"hello"})", kInvalidRequest, "$.jsonrpc", 1},
    {"NoId", R"({"jsonrpc":"2.0","method":"hello"})", kInvalidRequest, "$.id", nullptr},
    {"NullId", R"({"jsonrpc":"2.0","id":null,"method":"hello"})", kInvalidRequest, "$.id", nullptr},
    {"FloatId", R"({"jsonrpc":"2.0","id":1.5,"method":"hello"})", kInvalidRequest, "$.id", nullptr},
    {"LongId", R"({"jsonrpc":"2.0","id":")" + std::string(129, 'x') + R"(","method":"hello"})",
     kInvalidRequest, "$.id", nullptr},
    {"NoMethod", R"({"jsonrpc":"2.0","id":1})", kInvalidRequest, "$.method", 1},
    {"NumberMethod", R"({"jsonrpc":"2.0","id":1,"method":1})", kInvalidRequest, "$.method", 1},
    {"UnknownMethod", R"({"jsonrpc":"2.0","id":"a","method":"port.aply"})", kMethodNotFound,
     "$.method", "a"},
    {"UnknownMember", R"({"jsonrpc":"2.0","id":1,"method":"hello","extra":1})", kInvalidRequest,
     "$.extra", 1},
    {"PositionalParams", R"({"jsonrpc":"2.0","id":1,"method":"hello","params":[1]})",
     kInvalidRequest, "$.params", 1},
    {"NullParams", R"({"jsonrpc":"2.0","id":1,"method":"hello","params":null})", kInvalidRequest,
     "$.params", 1},
    {"BadInstance", R"({"jsonrpc":"2.0","id":1,"method":"hello","params":{"instance":7}})",
     kInvalidParams, "$.params.instance", 1},
};

INSTANTIATE_TEST_SUITE_P(Envelope, BadRequestTest, testing::ValuesIn(kBadRequests),
                         [](const auto& test) { return std::string(test.param.what); });

TEST(Envelope, RequestIsTakenApart) {
    const auto parsed = parse_request(
        R"({"jsonrpc":"2.0","id":"x","method":"port.get","params":{"name":"vm1","instance":"ab"}})");
    const auto& request = std::get<Request>(parsed);
    EXPECT_EQ(request.id, "x");
    EXPECT_EQ(request.method, "port.get");
    EXPECT_EQ(request.access, Access::kRead);
    EXPECT_EQ(request.instance, "ab");
    EXPECT_EQ(request.params, (Json{{"name", "vm1"}}));
}

TEST(Envelope, AbsentParamsAreAnEmptyObject) {
    const auto parsed = parse_request(R"({"jsonrpc":"2.0","id":-5,"method":"status"})");
    EXPECT_EQ(std::get<Request>(parsed).params, Json::object());
}

TEST(Envelope, WatchKeepsItsInstance) {
    const auto parsed = parse_request(
        R"({"jsonrpc":"2.0","id":1,"method":"watch","params":{"instance":"ab","since":3}})");
    EXPECT_EQ(std::get<Request>(parsed).params, (Json{{"instance", "ab"}, {"since", 3}}));
}

TEST(Envelope, DepthOf32Passes) {
    EXPECT_TRUE(parse_json(std::string(32, '[') + std::string(32, ']')));
}

TEST(Envelope, TooManyValuesAreRefused) {
    std::string text = "[0";
    for (size_t i = 0; i < kMaxJsonValues; ++i)
        text += ",0";
    const auto parsed = parse_json(text + "]");
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().message, "has too many values");
}

TEST(Envelope, DocumentIsWhatPlainParsingMakes) {
    const std::string text =
        R"({"a":[1,-2,3.5,true,false,null,"x\u00e4\"y",{}],"b":{"c":[[],[1,[2]]]},"d":18446744073709551615})";
    const auto parsed = parse_json(text);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(*parsed, Json::parse(text));
}

// The document's own parser is the oracle of what is JSON.
class JsonTextTest : public testing::TestWithParam<std::string> {};

TEST_P(JsonTextTest, IsTakenAsPlainParsingTakesIt) {
    const auto parsed = parse_json(GetParam());
    ASSERT_EQ(parsed.has_value(), Json::accept(GetParam()));
    if (parsed) {
        EXPECT_EQ(*parsed, Json::parse(GetParam()));
        EXPECT_EQ(parsed->type(), Json::parse(GetParam()).type());
    } else {
        EXPECT_TRUE(parsed.error().message.starts_with("is not JSON: ")) << parsed.error().message;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Texts, JsonTextTest,
    testing::Values("", " ", "{}", " {} \r\n\t", "{}x", "{} {}", "[1,]", "[,1]", "{\"a\":1,}",
                    "{\"a\"}", "{a:1}", "[", "{", "]", "nul", "nulll", "true", "\"", "\"a", "'a'",
                    "0", "-0", "01", "-", "-1", "+1", ".5", "1.", "1.5e3", "1e", "1e999",
                    "-2.5e+308", "-5.5e+308", "9e308", "1.7976931348623157e308", "NaN", "Infinity",
                    "0.1", "123456789.123456789", "4294967295", "4294967296", "-2147483649",
                    "9223372036854775807", "-9223372036854775808", "18446744073709551615",
                    "18446744073709551616", "0x10", "/*a*/1", "\"a\tb\"", "\"a\\tb\"", "\"\\x\"",
                    "\"\\u12\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"", "{\"\\udfff\":1}",
                    "\"\\ud83d\\ude00\"", "\"\\ud83d\\u0041\"", "\"\xed\x9f\xbf\"",
                    "\"\xed\xa0\x80\"", "\"\xc0\xaf\"", "\"\xff\"", "\"\xe4\"",
                    "\"\xf0\x9f\x98\x80\"", "\"\xf4\x90\x80\x80\"", std::string("[\0]", 3),
                    std::string("\0", 1), std::string("\"a\0b\"", 5)));

TEST(Envelope, NotJsonNamesTheByte) {
    EXPECT_EQ(parse_json("[1,x]").error().message, "is not JSON: unexpected input at byte 4");
    EXPECT_EQ(parse_json("{} x").error().message, "is not JSON: unexpected input at byte 4");
    EXPECT_EQ(parse_json("[1").error().message, "is not JSON: unexpected input at byte 3");
    // Not the end of the text, as a parser of C strings would have it.
    EXPECT_EQ(parse_json({"{}\0", 3}).error().message, "is not JSON: unexpected input at byte 3");
}

TEST(Envelope, ErrorCodesAreStable) {
    const std::pair<ErrorCode, std::pair<int, const char*>> codes[] = {
        {ErrorCode::kInvalid, {-32602, "invalid"}},
        {ErrorCode::kNotFound, {2, "not_found"}},
        {ErrorCode::kConflict, {3, "conflict"}},
        {ErrorCode::kNotOwner, {4, "not_owner"}},
        {ErrorCode::kLimit, {5, "limit"}},
        {ErrorCode::kStorage, {6, "storage"}},
        {ErrorCode::kForbidden, {7, "forbidden"}},
        {ErrorCode::kWrongInstance, {8, "wrong_instance"}},
        {ErrorCode::kUnavailable, {9, "unavailable"}},
        {ErrorCode::kInternal, {10, "internal"}},
    };
    for (const auto& [code, wire] : codes) {
        const Json reply = body_of(make_result(1, Error{code, "$.params.x", "m"}));
        EXPECT_EQ(reply["error"]["code"], wire.first);
        EXPECT_EQ(reply["error"]["data"]["kind"], wire.second);
        EXPECT_EQ(reply["error"]["data"]["path"], "$.params.x");
    }
}

TEST(Envelope, ResultsCarryTheId) {
    EXPECT_EQ(body_of(make_result("a\"b", Json{{"x", 1}})),
              Json::parse(R"({"jsonrpc":"2.0","id":"a\"b","result":{"x":1}})"));
    EXPECT_EQ(body_of(make_result(7, RawJson{"[1,2]"})),
              Json::parse(R"({"jsonrpc":"2.0","id":7,"result":[1,2]})"));
}

TEST(Envelope, ErrorWithoutPathHasNone) {
    const Json reply = body_of(make_result(1, Error{ErrorCode::kStorage, "", "The disk is full."}));
    EXPECT_EQ(reply["error"]["data"], (Json{{"kind", "storage"}}));
}

TEST(Envelope, TimesAreRfc3339WithMilliseconds) {
    using std::chrono::milliseconds;
    EXPECT_EQ(time_text(std::chrono::system_clock::time_point(milliseconds(1'769'850'000'007))),
              "2026-01-31T09:00:00.007Z");
}

}  // namespace
}  // namespace slash32::rpc
