// SPDX-License-Identifier: Apache-2.0
// Which of several equal paths a packet takes: the same one for all packets of a connection.
//
// Addresses, protocol, ports, and the IPv6 flow label (RFC 6438). Parts of a fragmented packet have
// no ports but the first: they go by their addresses, all of them, so that none overtakes another.
#pragma once

#include "dp/packet/burst.h"
#include "dp/packet/headers.h"

#include <cstdint>
#include <cstring>

namespace slash32 {

inline uint64_t mix_path(uint64_t a, uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    // Odd constants: fractions of the golden ratio and of the square root of two.
    const Wide product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15) * (b ^ 0x6a09e667f3bcc909);
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// REQUIRES: meta is of a parsed IP packet.
[[gnu::always_inline]] inline uint32_t path_hash(const PacketMeta& meta) {
    uint64_t words[4];
    uint64_t hash = meta.protocol;
    if (meta.kind == PacketKind::kIpv4) {
        std::memcpy(words, meta.l3 + offsetof(Ipv4Header, source), sizeof words[0]);
        hash = mix_path(hash, words[0]);
    } else {
        std::memcpy(words, meta.l3 + offsetof(Ipv6Header, source), sizeof words);
        constexpr uint32_t kLabel = 0xfffff;
        const auto& ip = *reinterpret_cast<const Ipv6Header*>(meta.l3);
        hash |= uint64_t{ip.version_class_flow.host() & kLabel} << 8;
        hash = mix_path(mix_path(hash, words[0]) ^ words[1], mix_path(words[2], words[3]));
    }
    const bool has_ports =
        meta.protocol == kProtoTcp || meta.protocol == kProtoUdp || meta.protocol == kProtoSctp;
    if (has_ports && meta.l4_length != 0 && !meta.has(kFragment)) {
        uint32_t ports = 0;
        std::memcpy(&ports, meta.l3 + meta.l3_length, sizeof ports);
        hash = mix_path(hash, ports);
    }
    return static_cast<uint32_t>(hash ^ hash >> 32);
}

}  // namespace slash32
