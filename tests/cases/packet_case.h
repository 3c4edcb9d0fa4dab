// SPDX-License-Identifier: Apache-2.0
// A packet case: a packet into a port of the Lab (tests/support/lab.h), and what must come of it.
//
// Every case is one line of a table: what it shows, which port, the packet, the outcome, and where
// the Lab is to be changed before, a setup. The runner compares outgoing packets byte by byte; that
// each packet leaves exactly once and no buffer leaks is checked for all.
#pragma once

#include "tests/support/lab.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace slash32::test {

struct Expectation {
    std::vector<std::pair<PortId, Bytes>> outputs = {};
    std::optional<DropReason> drop = {};
    uint64_t consumed = 0;
    uint64_t injected = 0;
    bool punted = false;
    // Of an outgoing IPv6 packet: it is there, and whatever it is.
    bool any_flow_label = false;
};

struct PacketCase {
    std::string shows;
    PortId from;
    Input input;
    Expectation expected;
    std::function<void(Lab&)> setup = nullptr;
};

inline void PrintTo(const PacketCase& c, std::ostream* out) {
    *out << c.shows;
}

inline Input in(const Packet& packet) {
    return Input{.bytes = packet.bytes()};
}
inline Input in(Bytes bytes) {
    return Input{.bytes = std::move(bytes)};
}

// Leaves through another port.
inline Expectation sent(PortId port, const Packet& packet) {
    return {.outputs = {{port, packet.bytes()}}};
}
inline Expectation dropped(DropReason reason) {
    return {.drop = reason};
}
// Turned into its own answer.
inline Expectation answered(PortId port, const Packet& packet) {
    return {.outputs = {{port, packet.bytes()}}, .consumed = 1, .injected = 1};
}
// Into a tunnel: the flow label is the router's choice.
inline Expectation tunnelled(PortId port, const Packet& packet) {
    return {.outputs = {{port, packet.bytes()}}, .any_flow_label = true};
}
// Dropped, and an ICMP error sent.
inline Expectation refused(DropReason reason, PortId port, const Packet& packet) {
    return {.outputs = {{port, packet.bytes()}}, .drop = reason, .injected = 1};
}
inline Expectation consumed() {
    return {.consumed = 1};
}
inline Expectation punted() {
    return {.punted = true};
}

// The first `n` bytes.
inline Bytes first(size_t n, const Bytes& bytes) {
    return Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(std::min(n, bytes.size())));
}

class PacketCases : public testing::TestWithParam<PacketCase> {};

// "answers a probe" -> AnswersAProbe
std::string test_name(const testing::TestParamInfo<PacketCase>& info);

#define S32_PACKET_CASES(name, cases) \
    INSTANTIATE_TEST_SUITE_P(name, PacketCases, testing::ValuesIn(cases), test_name)

}  // namespace slash32::test
