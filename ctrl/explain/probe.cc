// SPDX-License-Identifier: Apache-2.0
#include "ctrl/explain/probe.h"

#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"

#include <fmt/format.h>
#include <rte_mbuf.h>

#include <cstring>

namespace slash32 {
namespace {

bool has_ports(uint8_t protocol) {
    return protocol == kProtoTcp || protocol == kProtoUdp || protocol == kProtoSctp;
}
bool is_icmp(uint8_t protocol) {
    return protocol == kProtoIcmp || protocol == kProtoIcmp6;
}

// The chunk's header and the tag that it chooses (RFC 9260 section 3.3.2).
constexpr unsigned kSctpInitStart = 8;

uint16_t transport_length_min(uint8_t protocol) {
    if (protocol == kProtoTcp) return 20;
    if (protocol == kProtoSctp) return kSctpHeaderLength + kSctpInitStart;
    return protocol == kProtoUdp || is_icmp(protocol) ? 8 : 0;
}

// Fills a zeroed transport header; returns where its checksum stands, or -1.
int fill_transport(const Probe& probe, uint8_t* l4, uint16_t length) {
    const auto put16 = [l4](size_t at, uint16_t value) {
        l4[at] = static_cast<uint8_t>(value >> 8);
        l4[at + 1] = static_cast<uint8_t>(value);
    };
    if (has_ports(probe.protocol)) {
        put16(0, probe.source_port);
        put16(2, probe.destination_port);
    }
    if (probe.protocol == kProtoTcp) {
        l4[12] = 5 << 4;  // data offset
        l4[13] = 0x02;    // SYN: the packet that opens a connection
        return 16;
    }
    if (probe.protocol == kProtoUdp) {
        put16(4, length);
        return 6;
    }
    if (probe.protocol == kProtoSctp) {
        uint8_t* chunk = l4 + kSctpHeaderLength;  // INIT: the one that opens an association
        chunk[0] = 1;
        chunk[3] = static_cast<uint8_t>(length - kSctpHeaderLength);
        chunk[kSctpInitStart - 1] = 1;  // the tag, which is not zero
        return -1;
    }
    if (is_icmp(probe.protocol)) {
        l4[0] = probe.icmp_type;
        l4[1] = probe.icmp_code;
        return 2;
    }
    return -1;
}

template <typename Ip>
void fill_checksum(const Probe& probe, const Ip& ip, uint8_t* l4, uint16_t length, int at) {
    if (at < 0) return;
    ChecksumSum sum =
        probe.protocol == kProtoIcmp ? 0 : pseudo_header_sum(ip, probe.protocol, length);
    sum = checksum_add(sum, l4, length);
    const Be16 checksum = checksum_finish(sum);
    std::memcpy(l4 + at, &checksum, sizeof checksum);
}

void fill_ipv4(const Probe& probe, uint8_t* l3) {
    auto& ip = *reinterpret_cast<Ipv4Header*>(l3);
    ip.version_ihl = 0x45;
    ip.total_length = Be16(probe.length);
    ip.fragment = Be16(0x4000);  // don't fragment: the path's MTU shows
    ip.ttl = probe.hop_limit;
    ip.protocol = probe.protocol;
    ip.source = probe.source.ipv4();
    ip.destination = probe.destination.ipv4();
    set_ipv4_checksum(ip);
    const auto length = static_cast<uint16_t>(probe.length - sizeof ip);
    uint8_t* l4 = l3 + sizeof ip;
    fill_checksum(probe, ip, l4, length, fill_transport(probe, l4, length));
}

void fill_ipv6(const Probe& probe, uint8_t* l3) {
    auto& ip = *reinterpret_cast<Ipv6Header*>(l3);
    const auto length = static_cast<uint16_t>(probe.length - sizeof ip);
    l3[0] = 0x60;
    ip.payload_length = Be16(length);
    ip.next_header = probe.protocol;
    ip.hop_limit = probe.hop_limit;
    ip.source = probe.source.ipv6();
    ip.destination = probe.destination.ipv6();
    uint8_t* l4 = l3 + sizeof ip;
    fill_checksum(probe, ip, l4, length, fill_transport(probe, l4, length));
}

}  // namespace

Result<rte_mbuf*> make_probe(const Probe& probe, rte_mempool* pool) {
    const bool ipv4 = probe.source.is_ipv4();
    const size_t headers =
        (ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header)) + transport_length_min(probe.protocol);
    if (probe.length < headers)
        return fail(ErrorCode::kInvalid, "length",
                    fmt::format("a packet of this kind has at least {} bytes", headers));
    rte_mbuf* packet = rte_pktmbuf_alloc(pool);
    if (packet == nullptr) return fail(ErrorCode::kUnavailable, "", "no packet buffer is free");
    const size_t size = sizeof(EthernetHeader) + probe.length;
    auto* frame = reinterpret_cast<uint8_t*>(
        rte_pktmbuf_append(packet, static_cast<uint16_t>(std::min<size_t>(size, UINT16_MAX))));
    if (frame == nullptr || size > UINT16_MAX) {
        rte_pktmbuf_free(packet);
        return fail(ErrorCode::kInvalid, "length", "larger than one packet buffer");
    }
    std::memset(frame, 0, size);
    auto& ethernet = *reinterpret_cast<EthernetHeader*>(frame);
    ethernet.destination = probe.destination_mac;
    ethernet.source = probe.source_mac;
    ethernet.type = ipv4 ? kEtherIpv4 : kEtherIpv6;
    uint8_t* l3 = frame + sizeof ethernet;
    if (ipv4)
        fill_ipv4(probe, l3);
    else
        fill_ipv6(probe, l3);
    return packet;
}

}  // namespace slash32
