// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/segments.h"

#include "dp/packet/checksum.h"
#include "dp/packet/ipv6_extensions.h"

#include <rte_mbuf.h>

#include <cstring>

namespace slash32 {
namespace {

__extension__ using Bits = unsigned __int128;

Bits load(const Ip6& address) {
    Be64 half[2];
    std::memcpy(half, address.bytes.data(), sizeof half);
    return Bits{half[0].to_host()} << 64 | half[1].to_host();
}

Ip6 store(Bits bits) {
    const Be64 half[2] = {Be64{static_cast<uint64_t>(bits >> 64)},
                          Be64{static_cast<uint64_t>(bits)}};
    Ip6 address;
    std::memcpy(address.bytes.data(), half, sizeof half);
    return address;
}

// RFC 8754 section 2.1: type, length, value; Pad1 alone has no length.
bool are_valid_tlvs(const uint8_t* tlvs, uint32_t length) {
    constexpr uint8_t kPad1 = 0;
    for (uint32_t i = 0; i < length;) {
        if (tlvs[i] == kPad1) {
            ++i;
            continue;
        }
        if (i + 2 > length || i + 2 + tlvs[i + 1] > length) return false;
        i += 2u + tlvs[i + 1];
    }
    return true;
}

}  // namespace

SegmentRoutingPlace find_segment_routing(const PacketMeta& meta) {
    if (!meta.has(kSegmentRoutingHeader)) return {};
    auto& ip = *reinterpret_cast<Ipv6Header*>(meta.l3);
    uint8_t* next = &ip.next_header;
    for (uint32_t at = sizeof ip; at < meta.l3_length;) {
        auto& header = *reinterpret_cast<Ipv6Extension*>(meta.l3 + at);
        if (*next == kProtoRouting && header.routing_type == kSegmentRoutingType) {
            return {reinterpret_cast<SegmentRoutingHeader*>(&header), next};
        }
        uint32_t size = (header.length + 1u) * 8;
        if (*next == kProtoFragment) size = sizeof(Ipv6Fragment);
        if (*next == kProtoAh) size = (header.length + 2u) * 4;
        next = &header.next_header;
        at += size;
    }
    return {};
}

bool is_valid(const SegmentRoutingHeader& header) {
    const uint32_t segments = header.last_entry + 1u;
    const uint32_t listed = sizeof header + segments * static_cast<uint32_t>(sizeof(Ip6));
    if (listed > header.bytes() || header.segments_left > segments) return false;
    return are_valid_tlvs(reinterpret_cast<const uint8_t*>(&header) + listed,
                          header.bytes() - listed);
}

void remove_segment_routing(rte_mbuf* packet, PacketMeta& meta, const SegmentRoutingPlace& place) {
    const uint32_t bytes = place.header->bytes();
    *place.next_header = place.header->next_header;
    auto& ip = *reinterpret_cast<Ipv6Header*>(meta.l3);
    ip.payload_length = Be16{static_cast<uint16_t>(ip.payload_length.host() - bytes)};
    auto* begin = rte_pktmbuf_mtod(packet, uint8_t*);
    const auto before = reinterpret_cast<uint8_t*>(place.header) - begin;
    std::memmove(begin + bytes, begin, static_cast<size_t>(before));
    rte_pktmbuf_adj(packet, static_cast<uint16_t>(bytes));
    meta.l3 += bytes;
    meta.l3_length = static_cast<uint16_t>(meta.l3_length - bytes);
    meta.ip_length = static_cast<uint16_t>(meta.ip_length - bytes);
    meta.flags &= static_cast<uint16_t>(~(kSegmentRoutingHeader | kRoutingHeader));
}

bool shift_csid(Ip6& destination, const LocalSid& sid) {
    const unsigned block = sid.block_bits;
    const unsigned used = block + sid.csid_bits;
    if (block == 0 || sid.csid_bits == 0 || used >= 128) return false;
    const Bits bits = load(destination);
    const Bits argument = bits << used;
    if (argument == 0) return false;
    const Bits kept = bits >> (128 - block) << (128 - block);
    destination = store(kept | argument >> block);
    return true;
}

std::optional<uint8_t> ecn_out_of_tunnel(uint8_t outer, uint8_t inner) {
    enum : uint8_t { kNotCapable = 0, kCapable1 = 1, kCapable0 = 2, kCongestion = 3 };
    if (outer == kCongestion) {
        if (inner == kNotCapable) return std::nullopt;
        return kCongestion;
    }
    if (outer == kCapable1 && inner == kCapable0) return kCapable1;
    return inner;
}

void set_ecn(PacketKind kind, uint8_t* l3, uint8_t ecn) {
    if (kind == PacketKind::kIpv4) {
        auto& ip = *reinterpret_cast<Ipv4Header*>(l3);
        const auto tos = static_cast<uint8_t>((ip.tos & ~kEcnMask) | ecn);
        const auto word = [&ip](uint8_t low) {
            return Be16{static_cast<uint16_t>(ip.version_ihl << 8 | low)};
        };
        ip.checksum = checksum_adjust(ip.checksum.get(), word(ip.tos), word(tos));
        ip.tos = tos;
        return;
    }
    auto& ip = *reinterpret_cast<Ipv6Header*>(l3);
    constexpr unsigned kShift = 20;
    const uint32_t rest = ip.version_class_flow.host() & ~(uint32_t{kEcnMask} << kShift);
    ip.version_class_flow = Be32{rest | uint32_t{ecn} << kShift};
}

}  // namespace slash32
