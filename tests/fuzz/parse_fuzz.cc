// SPDX-License-Identifier: Apache-2.0
// Fuzzes the whole pipeline: whatever a device hands over must leave exactly once, leak nothing,
// and come to the same whatever else stands in its buffers. What control reads of such packets, it
// reads within their bounds.
//
// Input: a byte that picks the port, then up to 32 packets, each with a header of 8 bytes: RX
// flags, repairs, tso_segsz (2), the lengths of the first two buffers (1 + 1), the packet's length
// (2).
#include "ctrl/punt/denied.h"
#include "ctrl/punt/tunnel_error.h"
#include "tests/support/lab.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace slash32::test {
namespace {

enum RxBit : uint8_t { kPartial = 1, kLarge = 2, kGoodIpv4 = 4, kTagged = 8 };
enum Repair : uint8_t { kIcmp6Checksum = 1, kSplitTwice = 2, kSplit = 4 };

uint64_t rx_flags(uint8_t bits) {
    uint64_t flags = 0;
    if ((bits & kPartial) != 0) flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
    if ((bits & kLarge) != 0) flags |= RTE_MBUF_F_RX_LRO;
    if ((bits & kGoodIpv4) != 0) flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    if ((bits & kTagged) != 0) flags |= RTE_MBUF_F_RX_VLAN;
    return flags;
}

// A right checksum is more than a mutation finds: ND without it is refused at once.
void repair_icmp6(Bytes& frame) {
    constexpr size_t kIcmp = 54;
    if (frame.size() < kIcmp + 4 || frame[20] != 58) return;
    const size_t end = std::min(frame.size(), kIcmp + (frame[18] << 8 | frame[19]));
    if (end < kIcmp + 4) return;
    frame[kIcmp + 2] = frame[kIcmp + 3] = 0;
    const Bytes message(frame.begin() + kIcmp, frame.begin() + static_cast<ptrdiff_t>(end));
    const Bytes addresses(frame.begin() + 22, frame.begin() + 54);
    const auto sum = static_cast<uint16_t>(~naive_sum(
        addresses + be32(static_cast<uint32_t>(message.size())) + Bytes{0, 0, 0, 58} + message));
    frame[kIcmp + 2] = static_cast<uint8_t>(sum >> 8);
    frame[kIcmp + 3] = static_cast<uint8_t>(sum);
}

// Segments of every kind, and tunnels for what the VMs send to documentation addresses.
void add_segments(Lab& lab) {
    lab.open_domain();
    const std::pair<const char*, LocalSid> sids[] = {
        {"fc00:0:1::/48", {.flavors = kSidNextCsid | kSidPsp, .block_bits = 32, .csid_bits = 16}},
        {"fc00:0:1:1::/128", {.flavors = kSidPsp | kSidUsp | kSidUsd}},
        {"fc00:0:1:2::/128", {.behavior = SidBehavior::kEndX, .next_hop = kHopUplink}},
        {"fc00:0:1:4::/128", {.behavior = SidBehavior::kEndDt4}},
        {"fc00:0:1:6::/128", {.behavior = SidBehavior::kEndDt6}},
        {"fc00:0:1:7::/128", {.behavior = SidBehavior::kEndDt46}},
        {"fc00:0:1:8::/128", {.behavior = SidBehavior::kEndDx4, .next_hop = kHopVm1}},
        {"fc00:0:1:9::/128", {.behavior = SidBehavior::kEndDx6, .next_hop = kHopVm1}},
    };
    uint32_t hop = 30;
    for (auto [prefix, sid] : sids) {
        if (sid.behavior == SidBehavior::kUnknown) sid.behavior = SidBehavior::kEnd;
        lab.add_sid(NextHopId{hop++}, prefix, sid);
    }
    const TunnelSettings settings{.source = parse_ip("fc00:0:1::")->ipv6(), .dscp = {}};
    SegmentPath path{.segments = {parse_ip("fc00:0:2::")->ipv6()}};
    lab.add_tunnel(NextHopId{20}, path, settings);
    path.segments.resize(kMaxSegments, path.segments[0]);
    path.reduced = false;
    lab.add_tunnel(NextHopId{21}, path, settings);
    lab.add_route("192.0.2.128/25", NextHopId{20});
    lab.add_route("2001:db8:e000::/36", NextHopId{21});
}

Lab& fuzzed_lab() {
    static Lab lab;
    static const bool ready = (add_segments(lab), true);
    static_cast<void>(ready);
    return lab;
}

// What it gets of refused packets and of errors about tunnels, cut anywhere.
void read_as_control(const Bytes& frame) {
    read_denied(frame, PuntInfo{});
    if (const auto error = read_tunnel_error(frame)) translate(*error, frame);
}

void run(const uint8_t* data, size_t size) {
    if (size == 0) return;
    constexpr PortId kPorts[] = {kVm1, kVm2, kVm3, kVm4, kUplink};
    const PortId from = kPorts[data[0] % std::size(kPorts)];
    size_t at = 1;
    std::vector<Input> inputs;
    while (at + 8 <= size && inputs.size() < kBurstSize) {
        const uint8_t* header = data + at;
        at += 8;
        const size_t length = std::min<size_t>(header[6] << 8 | header[7], size - at);
        Input input{.bytes = Bytes(data + at, data + at + length),
                    .rx_flags = rx_flags(header[0]),
                    .tso_segsz = static_cast<uint16_t>(header[2] << 8 | header[3])};
        at += length;
        if ((header[1] & kSplit) != 0) input.segments.push_back(header[4]);
        if ((header[1] & kSplitTwice) != 0) input.segments.push_back(header[5]);
        if ((header[1] & kIcmp6Checksum) != 0) repair_icmp6(input.bytes);
        read_as_control(input.bytes);
        inputs.push_back(std::move(input));
    }
    // What lies around the packets in their buffers must not show in what comes out.
    Lab& lab = fuzzed_lab();
    lab.fill_buffers_with(0x00);
    lab.advance_seconds(1);
    const std::string first = describe(lab.run(from, inputs));
    lab.fill_buffers_with(0xff);
    lab.advance_seconds(1);
    const std::string second = describe(lab.run(from, inputs));
    if (second == first) return;
    std::fprintf(stderr, "before:\n%s\nthen:\n%s\n", first.c_str(), second.c_str());
    std::abort();
}

}  // namespace
}  // namespace slash32::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    slash32::test::run(data, size);
    return 0;
}
