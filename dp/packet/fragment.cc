// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/fragment.h"

#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace slash32 {
namespace {

constexpr uint32_t kL2 = sizeof(EthernetHeader);
constexpr uint32_t kMaxIpv4Header = 60;

struct Header {
    std::array<uint8_t, kL2 + kMaxIpv4Header> bytes;
    uint32_t length = 0;  // with Ethernet

    Ipv4Header& ip() { return *reinterpret_cast<Ipv4Header*>(bytes.data() + kL2); }
    uint32_t ip_length() const { return length - kL2; }
};

// RFC 791 section 3.1: later fragments carry the options that have the "copied" bit.
Header later_header(const Header& first) {
    constexpr uint8_t kEnd = 0;
    constexpr uint8_t kNoOperation = 1;
    constexpr uint8_t kCopied = 0x80;
    Header later = first;
    const uint32_t end = first.length;
    uint32_t to = kL2 + sizeof(Ipv4Header);
    // The parser has proved that the options are well formed.
    for (uint32_t from = to; from < end && first.bytes[from] != kEnd;) {
        const uint8_t type = first.bytes[from];
        const uint32_t size = type == kNoOperation ? 1 : first.bytes[from + 1];
        if ((type & kCopied) != 0) {
            std::memcpy(&later.bytes[to], &first.bytes[from], size);
            to += size;
        }
        from += size;
    }
    while ((to - kL2) % 4 != 0)
        later.bytes[to++] = kEnd;
    later.length = to;
    later.ip().version_ihl = static_cast<uint8_t>(0x40 | later.ip_length() / 4);
    return later;
}

void write_lengths(Header& header, uint32_t payload, uint32_t offset, bool more) {
    Ipv4Header& ip = header.ip();
    ip.total_length = Be16{static_cast<uint16_t>(header.ip_length() + payload)};
    ip.fragment = Be16{static_cast<uint16_t>(offset / 8 | (more ? kIpv4MoreFragments : 0u))};
    set_ipv4_checksum(ip);
}

}  // namespace

CutResult fragment_ipv4(const rte_mbuf* packet, const PacketMeta& meta, uint16_t mtu,
                        rte_mempool* pool, PacketList& out) {
    Header first;
    first.length = kL2 + meta.l3_length;
    std::memcpy(first.bytes.data(), rte_pktmbuf_mtod(packet, const uint8_t*), first.length);
    if (mtu < first.ip_length() + 8) return CutResult::kImpossible;
    Header later = later_header(first);

    const uint16_t whole = first.ip().fragment.host();
    const uint32_t base = (whole & uint32_t{kIpv4OffsetMask}) * 8;
    const bool more_follow = (whole & kIpv4MoreFragments) != 0;
    const uint32_t payload = uint32_t{meta.ip_length} - meta.l3_length;
    ChainReader reader(packet, first.length);
    for (uint32_t offset = 0; offset < payload;) {
        Header& header = offset == 0 ? first : later;
        const uint32_t room = (mtu - header.ip_length()) & ~7u;
        const uint32_t left = payload - offset;
        // The last part need not be a multiple of 8.
        const bool last = left <= mtu - header.ip_length();
        const uint32_t n = last ? left : room;
        write_lengths(header, n, base + offset, !last || more_follow);
        rte_mbuf* part = nullptr;
        if (out.count < kMaxPartsPerPacket) {
            part = make_part(pool, header.bytes.data(), header.length, reader, n);
        }
        if (part == nullptr) {
            const bool full = out.count == kMaxPartsPerPacket;
            out.free();
            return full ? CutResult::kImpossible : CutResult::kNoBuffer;
        }
        out.append(part);
        offset += n;
    }
    return CutResult::kDone;
}

}  // namespace slash32
