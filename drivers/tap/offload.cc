// SPDX-License-Identifier: Apache-2.0
#include "drivers/tap/offload.h"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <cstddef>
#include <cstring>

namespace slash32 {
namespace {

constexpr uint16_t kTcpChecksum = offsetof(rte_tcp_hdr, cksum);
constexpr uint16_t kUdpChecksum = offsetof(rte_udp_hdr, dgram_cksum);

void fill_checksum(rte_mbuf& m, uint16_t start, uint16_t offset) {
    const uint32_t at = uint32_t{start} + offset;
    uint16_t sum = 0;
    if (start >= m.pkt_len || at + sizeof sum > m.data_len) return;
    if (rte_raw_cksum_mbuf(&m, start, m.pkt_len - start, &sum) != 0) return;
    if (sum != 0xffff) sum = static_cast<uint16_t>(~sum);
    std::memcpy(rte_pktmbuf_mtod_offset(&m, void*, at), &sum, sizeof sum);
}

}  // namespace

void flags_from_header(rte_mbuf& m, const VirtioNetHeader& header) {
    if ((header.flags & kVirtioNeedsCsum) == 0 && header.gso_type == kVirtioGsoNone) return;
    rte_net_hdr_lens lengths{};
    const uint32_t type = rte_net_get_ptype(&m, &lengths, RTE_PTYPE_ALL_MASK) & RTE_PTYPE_L4_MASK;
    const bool tcp = type == RTE_PTYPE_L4_TCP;
    const bool udp = type == RTE_PTYPE_L4_UDP;
    if ((header.flags & kVirtioNeedsCsum) != 0) {
        const bool ours = header.csum_start == lengths.l2_len + lengths.l3_len &&
                          ((tcp && header.csum_offset == kTcpChecksum) ||
                           (udp && header.csum_offset == kUdpChecksum));
        if (ours)
            m.ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
        else
            fill_checksum(m, header.csum_start, header.csum_offset);
    }
    const uint8_t gso = header.gso_type & static_cast<uint8_t>(~kVirtioGsoEcn);
    if (tcp && header.gso_size != 0 && (gso == kVirtioGsoTcp4 || gso == kVirtioGsoTcp6)) {
        m.ol_flags |= RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
        m.tso_segsz = header.gso_size;
    }
}

VirtioNetHeader header_from_flags(rte_mbuf& m) {
    VirtioNetHeader header{};
    if ((m.ol_flags & RTE_MBUF_F_TX_IP_CKSUM) != 0) {
        auto* ip = rte_pktmbuf_mtod_offset(&m, rte_ipv4_hdr*, m.l2_len);
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
    const bool segment = (m.ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
    const uint64_t l4 = m.ol_flags & RTE_MBUF_F_TX_L4_MASK;
    if (!segment && l4 != RTE_MBUF_F_TX_TCP_CKSUM && l4 != RTE_MBUF_F_TX_UDP_CKSUM) return header;
    header.flags = kVirtioNeedsCsum;
    header.csum_start = static_cast<uint16_t>(m.l2_len + m.l3_len);
    header.csum_offset = l4 == RTE_MBUF_F_TX_UDP_CKSUM ? kUdpChecksum : kTcpChecksum;
    if (segment) {
        header.gso_type = (m.ol_flags & RTE_MBUF_F_TX_IPV4) != 0 ? kVirtioGsoTcp4 : kVirtioGsoTcp6;
        header.gso_size = m.tso_segsz;
        header.hdr_len = static_cast<uint16_t>(m.l2_len + m.l3_len + m.l4_len);
    }
    return header;
}

}  // namespace slash32
