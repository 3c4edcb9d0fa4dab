// SPDX-License-Identifier: Apache-2.0
#include "tests/cases/packet_case.h"

#include <cctype>

namespace slash32::test {

std::string test_name(const testing::TestParamInfo<PacketCase>& info) {
    std::string name;
    bool start = true;
    for (const char c : info.param.shows) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
            start = true;
            continue;
        }
        name += start ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
        start = false;
    }
    return name;
}

namespace {

// The lower 20 bits of the first word of the IPv6 header.
void clear_flow_label(Bytes& frame) {
    constexpr size_t kLabel = 15;
    ASSERT_GT(frame.size(), kLabel + 2);
    EXPECT_NE((frame[kLabel] & 0xf) | frame[kLabel + 1] | frame[kLabel + 2], 0);
    frame[kLabel] &= 0xf0;
    frame[kLabel + 1] = frame[kLabel + 2] = 0;
}

}  // namespace

TEST_P(PacketCases, Holds) {
    const PacketCase& c = GetParam();
    Lab lab;
    if (c.setup) c.setup(lab);
    const RunResult result = lab.run(c.from, {c.input});
    SCOPED_TRACE(describe(result));

    std::map<DropReason, uint64_t> drops;
    if (c.expected.drop) drops[*c.expected.drop] = 1;
    EXPECT_TRUE(result.drops == drops)
        << "expected drop: "
        << (c.expected.drop ? drop_reason_name(*c.expected.drop) : std::string_view("none"));
    ASSERT_EQ(result.outputs.size(), c.expected.outputs.size());
    for (size_t i = 0; i < result.outputs.size(); ++i) {
        EXPECT_EQ(result.outputs[i].port, c.expected.outputs[i].first);
        Bytes sent = result.outputs[i].bytes;
        if (c.expected.any_flow_label) clear_flow_label(sent);
        EXPECT_EQ(hex(sent), hex(c.expected.outputs[i].second));
        EXPECT_EQ(result.outputs[i].tx_flags, 0u);
    }
    EXPECT_EQ(result.consumed, c.expected.consumed);
    EXPECT_EQ(result.injected, c.expected.injected);
    ASSERT_EQ(result.punted.size(), c.expected.punted ? 1u : 0u);
    if (c.expected.punted) {
        EXPECT_EQ(result.punted[0].first.port, c.from);
        EXPECT_EQ(hex(result.punted[0].second), hex(c.input.bytes));
    }
}

}  // namespace slash32::test
