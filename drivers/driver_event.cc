// SPDX-License-Identifier: Apache-2.0
#include "drivers/driver_event.h"

#include <utility>

namespace slash32 {

std::vector<std::string> virtio_feature_names(uint64_t features) {
    // virtio 1.2, sections 5.1.3 and 6, and the bits that vhost-user adds.
    static constexpr std::pair<unsigned, const char*> kNames[] = {
        {0, "VIRTIO_NET_F_CSUM"},
        {1, "VIRTIO_NET_F_GUEST_CSUM"},
        {3, "VIRTIO_NET_F_MTU"},
        {7, "VIRTIO_NET_F_GUEST_TSO4"},
        {8, "VIRTIO_NET_F_GUEST_TSO6"},
        {9, "VIRTIO_NET_F_GUEST_ECN"},
        {10, "VIRTIO_NET_F_GUEST_UFO"},
        {11, "VIRTIO_NET_F_HOST_TSO4"},
        {12, "VIRTIO_NET_F_HOST_TSO6"},
        {13, "VIRTIO_NET_F_HOST_ECN"},
        {14, "VIRTIO_NET_F_HOST_UFO"},
        {15, "VIRTIO_NET_F_MRG_RXBUF"},
        {17, "VIRTIO_NET_F_CTRL_VQ"},
        {18, "VIRTIO_NET_F_CTRL_RX"},
        {21, "VIRTIO_NET_F_GUEST_ANNOUNCE"},
        {22, "VIRTIO_NET_F_MQ"},
        {26, "VHOST_F_LOG_ALL"},
        {27, "VIRTIO_F_ANY_LAYOUT"},
        {28, "VIRTIO_F_INDIRECT_DESC"},
        {29, "VIRTIO_F_EVENT_IDX"},
        {32, "VIRTIO_F_VERSION_1"},
        {33, "VIRTIO_F_ACCESS_PLATFORM"},
        {34, "VIRTIO_F_RING_PACKED"},
        {35, "VIRTIO_F_IN_ORDER"},
    };
    std::vector<std::string> names;
    for (const auto& [bit, name] : kNames) {
        if ((features >> bit & 1) != 0) names.emplace_back(name);
    }
    return names;
}

}  // namespace slash32
