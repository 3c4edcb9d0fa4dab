// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/view.h"

#include <algorithm>
#include <cstring>

namespace slash32 {

void pull_headers(rte_mbuf* packet, uint32_t length) {
    const uint32_t wanted = std::min(length, packet->pkt_len);
    for (;;) {
        rte_mbuf* second = packet->next;
        if (second == nullptr) return;
        if (packet->data_len >= wanted && second->data_len != 0) return;
        const uint32_t room = rte_pktmbuf_tailroom(packet);
        const auto n = static_cast<uint16_t>(
            std::min({wanted - packet->data_len, uint32_t{second->data_len}, room}));
        if (n == 0 && second->data_len != 0) return;
        std::memcpy(rte_pktmbuf_mtod_offset(packet, uint8_t*, packet->data_len),
                    rte_pktmbuf_mtod(second, const uint8_t*), n);
        packet->data_len = static_cast<uint16_t>(packet->data_len + n);
        second->data_len = static_cast<uint16_t>(second->data_len - n);
        second->data_off = static_cast<uint16_t>(second->data_off + n);
        if (second->data_len == 0) {
            packet->next = second->next;
            packet->nb_segs = static_cast<uint16_t>(packet->nb_segs - 1);
            rte_pktmbuf_free_seg(second);
        }
    }
}

void trim_packet(rte_mbuf* packet, uint32_t length) {
    if (length == packet->pkt_len) return;
    rte_mbuf* segment = packet;
    uint16_t segments = 1;
    uint32_t left = length;
    while (left > segment->data_len) {
        left -= segment->data_len;
        segment = segment->next;
        ++segments;
    }
    segment->data_len = static_cast<uint16_t>(left);
    rte_mbuf* rest = segment->next;
    segment->next = nullptr;
    packet->nb_segs = segments;
    packet->pkt_len = length;
    while (rest != nullptr) {
        rte_mbuf* next = rest->next;
        rte_pktmbuf_free_seg(rest);
        rest = next;
    }
}

bool resize_to_single(rte_mbuf* packet, uint32_t length) {
    if (uint32_t{packet->data_off} + length > packet->buf_len) return false;
    rte_mbuf* rest = packet->next;
    packet->next = nullptr;
    packet->nb_segs = 1;
    packet->data_len = static_cast<uint16_t>(length);
    packet->pkt_len = length;
    while (rest != nullptr) {
        rte_mbuf* next = rest->next;
        rte_pktmbuf_free_seg(rest);
        rest = next;
    }
    return true;
}

void ChainReader::read(uint8_t* out, uint32_t length) {
    while (length != 0) {
        while (offset_ >= segment_->data_len) {
            offset_ -= segment_->data_len;
            segment_ = segment_->next;
        }
        const uint32_t n = std::min(length, segment_->data_len - offset_);
        std::memcpy(out, rte_pktmbuf_mtod_offset(segment_, const uint8_t*, offset_), n);
        out += n;
        offset_ += n;
        length -= n;
    }
}

}  // namespace slash32
