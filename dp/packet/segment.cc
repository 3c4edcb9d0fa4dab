// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/segment.h"

#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"
#include "dp/packet/transport_checksum.h"

#include <algorithm>
#include <cstring>

namespace slash32 {
namespace {

// Writes what differs between segments. `offset` of this one's payload in the whole, bytes.
void write_headers(rte_mbuf* segment, const PacketMeta& whole, uint32_t offset, uint16_t index,
                   bool last) {
    PacketMeta meta = whole;
    meta.l3 = rte_pktmbuf_mtod_offset(segment, uint8_t*, sizeof(EthernetHeader));
    meta.ip_length = static_cast<uint16_t>(segment->pkt_len - sizeof(EthernetHeader));
    if (meta.kind == PacketKind::kIpv4) {
        auto& ip = *reinterpret_cast<Ipv4Header*>(meta.l3);
        ip.total_length = Be16{meta.ip_length};
        // RFC 6864 section 4.2: each datagram that may be fragmented has an id of its own.
        ip.id = Be16{static_cast<uint16_t>(ip.id.host() + index)};
        set_ipv4_checksum(ip);
    } else {
        auto& ip = *reinterpret_cast<Ipv6Header*>(meta.l3);
        ip.payload_length = Be16{static_cast<uint16_t>(meta.ip_length - sizeof(Ipv6Header))};
    }
    auto& tcp = *reinterpret_cast<TcpHeader*>(meta.l3 + meta.l3_length);
    tcp.sequence = Be32{tcp.sequence.host() + offset};
    // What the sender said of the whole: the end of it, and RFC 3168 section 6.1.2 once.
    if (!last) tcp.flags &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
    if (index != 0) tcp.flags &= static_cast<uint8_t>(~kTcpCwr);
    fill_transport_checksum(segment, meta);
}

}  // namespace

CutResult segment_tcp(const rte_mbuf* packet, const PacketMeta& meta, rte_mempool* pool,
                      PacketList& out) {
    const auto header =
        static_cast<uint32_t>(sizeof(EthernetHeader)) + meta.l3_length + meta.l4_length;
    const uint32_t payload = packet->pkt_len - header;
    const uint32_t size = packet->tso_segsz;
    if (size == 0 || payload > size * kMaxPartsPerPacket) return CutResult::kImpossible;
    const auto* headers = rte_pktmbuf_mtod(packet, const uint8_t*);
    ChainReader reader(packet, header);
    uint16_t index = 0;
    for (uint32_t offset = 0; offset < payload; offset += size, ++index) {
        const uint32_t n = std::min(size, payload - offset);
        rte_mbuf* segment = make_part(pool, headers, header, reader, n);
        if (segment == nullptr) {
            out.free();
            return CutResult::kNoBuffer;
        }
        write_headers(segment, meta, offset, index, offset + n == payload);
        out.append(segment);
    }
    return CutResult::kDone;
}

}  // namespace slash32
