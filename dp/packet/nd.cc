// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/nd.h"

#include "dp/packet/checksum.h"

#include <rte_mbuf.h>

namespace slash32 {

NdOptions read_nd_options(const rte_mbuf* packet, const PacketMeta& meta, uint32_t fixed) {
    NdOptions options;
    const uint32_t length = uint32_t{meta.ip_length} - meta.l3_length;
    const uint32_t l4 = sizeof(EthernetHeader) + meta.l3_length;
    if (length < fixed || l4 + length > packet->data_len) return options;
    const uint8_t* message = meta.l3 + meta.l3_length;
    for (uint32_t at = fixed; at < length;) {
        if (at + 8 > length) return options;
        const auto& option = *reinterpret_cast<const NdOption*>(message + at);
        const uint32_t size = option.length * 8u;
        if (size == 0 || at + size > length) return options;  // RFC 4861 section 4.6
        if (option.type == kNdSourceLinkLayer || option.type == kNdTargetLinkLayer) {
            if (size != sizeof(NdLinkLayerOption)) return options;
            const Mac* mac = &reinterpret_cast<const NdLinkLayerOption*>(message + at)->mac;
            const bool is_source = option.type == kNdSourceLinkLayer;
            (is_source ? options.source_link_layer : options.target_link_layer) = mac;
        }
        at += size;
    }
    options.valid = true;
    return options;
}

bool is_valid_nd(const rte_mbuf* packet, const PacketMeta& meta) {
    const Ipv6Header& ip = ipv6_of(meta);
    if (ip.hop_limit != 255 || icmp_of(meta).code != 0 || meta.has(kFragment)) return false;
    const uint32_t length = uint32_t{meta.ip_length} - meta.l3_length;
    const ChecksumSum sum = pseudo_header_sum(ip, kProtoIcmp6, length);
    return checksum_fold(checksum_add_chain(sum, packet, sizeof(EthernetHeader) + meta.l3_length,
                                            length)) == 0xffff;
}

}  // namespace slash32
