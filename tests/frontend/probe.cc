// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/probe.h"

#include "dp/base/assert.h"

#include <algorithm>
#include <cstring>

namespace slash32::frontend {

namespace {

constexpr uint16_t kMagic = 0x5332;
constexpr size_t kIpAt = 14;
constexpr size_t kUdpAt = kIpAt + 20;
constexpr size_t kProbeAt = kUdpAt + 8;

template <typename T>
void put(uint8_t* at, T host) {
    const BigEndian<T> value(host);
    std::memcpy(at, &value, sizeof(value));
}

template <typename T>
T get(const uint8_t* at) {
    BigEndian<T> value;
    std::memcpy(&value, at, sizeof(value));
    return value.to_host();
}

// The UDP checksum's sum over pseudo header and datagram (RFC 768).
uint16_t udp_sum(std::span<const uint8_t> frame) {
    const uint32_t udp_bytes = static_cast<uint32_t>(frame.size() - kUdpAt);
    uint32_t start = 17 + udp_bytes;
    start += ones_sum(frame.subspan(kIpAt + 12, 8));
    return ones_sum(frame.subspan(kUdpAt), start);
}

}  // namespace

uint16_t ones_sum(std::span<const uint8_t> bytes, uint32_t start) {
    uint64_t sum = start;
    size_t i = 0;
    for (; i + 1 < bytes.size(); i += 2)
        sum += get<uint16_t>(bytes.data() + i);
    if (i < bytes.size()) sum += static_cast<uint32_t>(bytes[i]) << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(sum);
}

Host host_of(uint32_t port) {
    Host host;
    host.mac.bytes = {2, 0, 0, 0, static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)};
    host.ip.value = Be32(0x0a000000u + port + 10);
    return host;
}

void build_probe(const Probe& probe, const Mac& gateway, size_t bytes, std::vector<uint8_t>& out) {
    S32_ASSERT(bytes >= kMinProbeBytes && bytes <= 65535 + kIpAt);
    out.assign(bytes, 0);
    uint8_t* p = out.data();
    const Host from = host_of(probe.source);
    const Host to = host_of(probe.target);
    std::memcpy(p, gateway.bytes.data(), 6);
    std::memcpy(p + 6, from.mac.bytes.data(), 6);
    put<uint16_t>(p + 12, 0x0800);
    uint8_t* ip = p + kIpAt;
    ip[0] = 0x45;
    put<uint16_t>(ip + 2, static_cast<uint16_t>(bytes - kIpAt));
    put<uint16_t>(ip + 6, 0x4000);  // do not fragment
    ip[8] = 64;
    ip[9] = 17;
    std::memcpy(ip + 12, &from.ip, 4);
    std::memcpy(ip + 16, &to.ip, 4);
    put<uint16_t>(ip + 10, static_cast<uint16_t>(~ones_sum({ip, 20})));
    uint8_t* udp = p + kUdpAt;
    put<uint16_t>(udp, kProbePort);
    put<uint16_t>(udp + 2, kProbePort);
    put<uint16_t>(udp + 4, static_cast<uint16_t>(bytes - kUdpAt));
    uint8_t* body = p + kProbeAt;
    put<uint16_t>(body, kMagic);
    put<uint16_t>(body + 2, probe.run);
    put<uint16_t>(body + 4, probe.source);
    put<uint16_t>(body + 6, probe.target);
    put<uint32_t>(body + 8, probe.sequence);
    put<uint64_t>(body + 12, probe.sent_ns);
    // A tail that is not all alike, so that a lost or doubled segment shows in the checksum.
    for (size_t i = kMinProbeBytes; i < bytes; i++)
        p[i] = static_cast<uint8_t>(i * 7 + (i >> 8));
    const uint16_t sum = static_cast<uint16_t>(~udp_sum(out));
    put<uint16_t>(udp + 6, sum == 0 ? uint16_t{0xffff} : sum);
}

std::optional<Probe> parse_probe(std::span<const uint8_t> frame) {
    if (frame.size() < kMinProbeBytes || get<uint16_t>(frame.data() + 12) != 0x0800) return {};
    const uint8_t* ip = frame.data() + kIpAt;
    const size_t total = get<uint16_t>(ip + 2);
    if (ip[0] != 0x45 || ip[9] != 17 || total + kIpAt > frame.size()) return {};
    frame = frame.first(total + kIpAt);  // without Ethernet padding
    if (frame.size() < kMinProbeBytes) return {};
    const uint8_t* udp = frame.data() + kUdpAt;
    const uint8_t* body = frame.data() + kProbeAt;
    if (get<uint16_t>(udp + 2) != kProbePort || get<uint16_t>(body) != kMagic) return {};
    if (ones_sum({ip, 20}) != 0xffff || get<uint16_t>(udp + 4) != frame.size() - kUdpAt) return {};
    if (udp_sum(frame) != 0xffff) return {};
    Probe probe;
    probe.run = get<uint16_t>(body + 2);
    probe.source = get<uint16_t>(body + 4);
    probe.target = get<uint16_t>(body + 6);
    probe.sequence = get<uint32_t>(body + 8);
    probe.sent_ns = get<uint64_t>(body + 12);
    const Host from = host_of(probe.source);
    const Host to = host_of(probe.target);
    if (std::memcmp(ip + 12, &from.ip, 4) != 0 || std::memcmp(ip + 16, &to.ip, 4) != 0) return {};
    return probe;
}

}  // namespace slash32::frontend
