// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/transport_checksum.h"

#include "dp/packet/checksum.h"
#include "dp/packet/headers.h"

#include <rte_mbuf.h>

namespace slash32 {

void fill_transport_checksum(rte_mbuf* packet, const PacketMeta& meta) {
    const uint32_t length = uint32_t{meta.ip_length} - meta.l3_length;
    uint8_t* l4 = meta.l3 + meta.l3_length;
    const bool udp = meta.protocol == kProtoUdp;
    Wire<Be16>& field = udp ? reinterpret_cast<UdpHeader*>(l4)->checksum
                            : reinterpret_cast<TcpHeader*>(l4)->checksum;
    field = Be16{};
    const ChecksumSum pseudo =
        meta.kind == PacketKind::kIpv4
            ? pseudo_header_sum(*reinterpret_cast<Ipv4Header*>(meta.l3), meta.protocol, length)
            : pseudo_header_sum(*reinterpret_cast<Ipv6Header*>(meta.l3), meta.protocol, length);
    Be16 checksum = checksum_finish(
        checksum_add_chain(pseudo, packet, sizeof(EthernetHeader) + meta.l3_length, length));
    // RFC 768: zero would mean "no checksum".
    if (udp && checksum == Be16{}) checksum = Be16{0xffff};
    field = checksum;
}

}  // namespace slash32
