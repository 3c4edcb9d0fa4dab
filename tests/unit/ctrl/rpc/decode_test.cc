// SPDX-License-Identifier: Apache-2.0
#include "ctrl/rpc/decode.h"

#include <gtest/gtest.h>

namespace slash32::rpc {

enum class Color { kRed, kBlue };

struct Inner {
    uint16_t vrf = 0;
    std::vector<IpPrefix> prefixes;
};

struct Sample {
    std::string name;
    Mac mac;
    std::vector<Inner> routes;
    Color color = Color::kRed;
    bool force = false;
    std::optional<IpAddress> via;
    std::map<std::string, std::string> labels;
};

Result<void> decode(const Json& json, const Path& path, Inner& out) {
    Fields fields(json, path);
    fields.optional("vrf", out.vrf, Range{0, 4095});
    fields.required("prefixes", out.prefixes, Count{1, 100});
    return fields.done();
}

Result<void> decode(const Json& json, const Path& path, Sample& out) {
    static constexpr OneOf kColors{std::pair{std::string_view("red"), Color::kRed},
                                   std::pair{std::string_view("blue"), Color::kBlue}};
    Fields fields(json, path);
    fields.required("name", out.name, Name{15});
    fields.optional("mac", out.mac);
    fields.optional("routes", out.routes, Count{0, 10});
    fields.optional("color", out.color, kColors);
    fields.optional("force", out.force);
    fields.optional("via", out.via);
    fields.optional("labels", out.labels, Count{0, 2});
    fields.check(!out.via || out.color == Color::kBlue, "via", "needs color blue");
    return fields.done();
}

namespace {

Result<Sample> decode_sample(const char* text) {
    Sample sample;
    const Json json = Json::parse(text);
    if (auto ok = decode(json, Path("$.params"), sample); !ok) {
        return tl::unexpected(ok.error());
    }
    return sample;
}

TEST(Decode, ReadsEveryMember) {
    const auto sample = decode_sample(R"({"name":"vm1","mac":"52:54:00:00:00:01","force":true,
        "color":"blue","via":"fe80::1","labels":{"project":"p"},
        "routes":[{"vrf":4095,"prefixes":["10.0.0.1","2001:db8::/32"]}]})");
    ASSERT_TRUE(sample) << sample.error().path << sample.error().message;
    EXPECT_EQ(sample->name, "vm1");
    EXPECT_EQ(to_string(sample->mac), "52:54:00:00:00:01");
    EXPECT_EQ(sample->routes[0].vrf, 4095);
    EXPECT_EQ(to_string(sample->routes[0].prefixes[1]), "2001:db8::/32");
    EXPECT_EQ(sample->color, Color::kBlue);
    EXPECT_TRUE(sample->force);
    EXPECT_EQ(to_string(*sample->via), "fe80::1");
    EXPECT_EQ(sample->labels.at("project"), "p");
}

TEST(Decode, AbsentOptionalMembersKeepTheirDefaults) {
    const auto sample = decode_sample(R"({"name":"vm1"})");
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->color, Color::kRed);
    EXPECT_FALSE(sample->via);
}

struct Bad {
    const char* what;
    const char* text;
    const char* path;
    const char* message;
};

class DecodeBadTest : public testing::TestWithParam<Bad> {};

TEST_P(DecodeBadTest, NamesTheField) {
    const auto sample = decode_sample(GetParam().text);
    ASSERT_FALSE(sample);
    EXPECT_EQ(sample.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(sample.error().path, GetParam().path);
    EXPECT_EQ(sample.error().message, GetParam().message);
}

const Bad kBad[] = {
    {"NotAnObject", "[]", "$.params", "must be an object"},
    {"Missing", "{}", "$.params.name", "is required"},
    {"Unknown", R"({"name":"a","nmae":"b"})", "$.params.nmae", "is not a known member"},
    {"UnknownStrange", R"({"name":"a","a b\n":1})", "$.params[\"a b\\n\"]",
     "is not a known member"},
    {"NullIsNoAbsence", R"({"name":"a","force":null})", "$.params.force", "must be true or false"},
    {"NameTooLong", R"({"name":"0123456789abcdef"})", "$.params.name",
     "must be a name of 1 to 15 characters A-Z a-z 0-9 _ . -"},
    {"NameDots", R"({"name":".."})", "$.params.name",
     "must be a name of 1 to 15 characters A-Z a-z 0-9 _ . -"},
    {"NameSlash", R"({"name":"a/b"})", "$.params.name",
     "must be a name of 1 to 15 characters A-Z a-z 0-9 _ . -"},
    {"DeepPath",
     R"({"name":"a","routes":[{"prefixes":["10.0.0.1"]},{"prefixes":["10.0.0.1","x"]}]})",
     "$.params.routes[1].prefixes[1]", "must be a prefix such as 10.0.0.0/24, with host bits zero"},
    {"HostBits", R"({"name":"a","routes":[{"prefixes":["10.0.0.1/24"]}]})",
     "$.params.routes[0].prefixes[0]", "must be a prefix such as 10.0.0.0/24, with host bits zero"},
    {"TooMany", R"({"name":"a","routes":[{"prefixes":[]}]})", "$.params.routes[0].prefixes",
     "must have 1 to 100 elements"},
    {"OutOfRange", R"({"name":"a","routes":[{"vrf":4096,"prefixes":["::"]}]})",
     "$.params.routes[0].vrf", "must be an integer from 0 to 4095"},
    {"Float", R"({"name":"a","routes":[{"vrf":1.0,"prefixes":["::"]}]})", "$.params.routes[0].vrf",
     "must be an integer from 0 to 4095"},
    {"Huge", R"({"name":"a","routes":[{"vrf":18446744073709551615,"prefixes":["::"]}]})",
     "$.params.routes[0].vrf", "must be an integer from 0 to 4095"},
    {"Enum", R"({"name":"a","color":"green"})", "$.params.color", "must be one of: red, blue"},
    {"Address", R"({"name":"a","via":"10.0.0.256"})", "$.params.via",
     "must be an IPv4 or IPv6 address"},
    {"Mac", R"({"name":"a","mac":"52-54-00-00-00-01"})", "$.params.mac",
     "must be a MAC address such as 52:54:00:00:00:01"},
    {"Rule", R"({"name":"a","via":"10.0.0.1"})", "$.params.via", "needs color blue"},
    {"LabelType", R"({"name":"a","labels":{"x":1}})", "$.params.labels.x", "must be a string"},
    {"LabelControl", R"({"name":"a","labels":{"x":"a\u0000b"}})", "$.params.labels.x",
     "must not hold control characters"},
    {"LabelCount", R"({"name":"a","labels":{"x":"","y":"","z":""}})", "$.params.labels",
     "must have 0 to 2 members"},
};

INSTANTIATE_TEST_SUITE_P(Decode, DecodeBadTest, testing::ValuesIn(kBad),
                         [](const auto& test) { return std::string(test.param.what); });

}  // namespace
}  // namespace slash32::rpc
