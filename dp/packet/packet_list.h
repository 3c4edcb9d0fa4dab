// SPDX-License-Identifier: Apache-2.0
// The packets that one packet was cut into, linked through the private areas of their mbufs.
//
// A list hangs in one slot of a burst and is walked once, by the transmit stage. Every packet of a
// list but the last has a next one; the private area has room for PuntInfo, so for a pointer too.
#pragma once

#include "dp/abi/punt.h"

#include <rte_mbuf.h>

#include <cstdint>
#include <cstring>

namespace slash32 {

static_assert(sizeof(PuntInfo) >= sizeof(rte_mbuf*));

inline void set_next_packet(rte_mbuf* packet, rte_mbuf* next) {
    std::memcpy(rte_mbuf_to_priv(packet), &next, sizeof next);
}
inline rte_mbuf* next_packet(rte_mbuf* packet) {
    rte_mbuf* next;
    std::memcpy(&next, rte_mbuf_to_priv(packet), sizeof next);
    return next;
}

struct PacketList {
    rte_mbuf* first = nullptr;
    rte_mbuf* last = nullptr;
    uint16_t count = 0;

    void append(rte_mbuf* packet) {
        set_next_packet(packet, nullptr);
        if (last != nullptr) set_next_packet(last, packet);
        if (first == nullptr) first = packet;
        last = packet;
        ++count;
    }
    void free() {
        while (first != nullptr) {
            rte_mbuf* next = next_packet(first);
            rte_pktmbuf_free(first);
            first = next;
        }
        *this = {};
    }
};

}  // namespace slash32
