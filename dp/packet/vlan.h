// SPDX-License-Identifier: Apache-2.0
// 802.1Q tags of Ethernet frames: IEEE 802.1Q-2018 section 9.6.
#pragma once

#include "dp/packet/headers.h"

#include <rte_mbuf.h>

#include <cstdint>
#include <cstring>
#include <optional>

namespace slash32 {

inline constexpr uint16_t kVlanIdMask = 0x0fff;  // of the tag; the rest is priority
inline constexpr uint16_t kVlanTagBytes = 4;

// The VLAN id of a frame: of a tag that the device has taken off, or of one still there.
inline std::optional<uint16_t> vlan_of(const rte_mbuf* packet) {
    if ((packet->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0)
        return packet->vlan_tci & kVlanIdMask;
    if (packet->data_len < sizeof(EthernetHeader) + kVlanTagBytes) return {};
    const auto* ethernet = rte_pktmbuf_mtod(packet, const EthernetHeader*);
    if (ethernet->type.get() != kEtherVlan) return {};
    const auto* tag = reinterpret_cast<const Wire<Be16>*>(ethernet + 1);
    return tag->host() & kVlanIdMask;
}

// REQUIRES: vlan_of() gave an id, or insert_vlan_tag() put the tag there.
inline void remove_vlan_tag(rte_mbuf* packet) {
    const bool stripped = (packet->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
    packet->ol_flags &= ~(RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
    if (stripped) return;
    auto* frame = rte_pktmbuf_mtod(packet, uint8_t*);
    std::memmove(frame + kVlanTagBytes, frame, 2 * sizeof(Mac));
    rte_pktmbuf_adj(packet, kVlanTagBytes);
}

// False, and nothing is changed, where the buffer has no room before the frame.
inline bool insert_vlan_tag(rte_mbuf* packet, uint16_t vlan) {
    auto* frame = reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(packet, kVlanTagBytes));
    if (frame == nullptr) return false;
    std::memmove(frame, frame + kVlanTagBytes, 2 * sizeof(Mac));
    const uint8_t tag[kVlanTagBytes] = {0x81, 0x00, static_cast<uint8_t>(vlan >> 8),
                                        static_cast<uint8_t>(vlan)};
    std::memcpy(frame + 2 * sizeof(Mac), tag, sizeof tag);
    packet->l2_len = sizeof(EthernetHeader) + kVlanTagBytes;
    return true;
}

}  // namespace slash32
