// SPDX-License-Identifier: Apache-2.0
#include "drivers/driver_event.h"

#include <utility>

namespace slash32 {

std::vector<std::string> virtio_feature_names(uint64_t features) {
    // virtio 1.2, sections 5.1.3 and 6, and the bits that vhost-user adds.
    static constexpr std::pair<unsigned, const char*> kNames[] = {
        {0, "csum"},
        {1, "guest_csum"},
        {3, "mtu"},
        {7, "guest_tso4"},
        {8, "guest_tso6"},
        {9, "guest_ecn"},
        {10, "guest_ufo"},
        {11, "host_tso4"},
        {12, "host_tso6"},
        {13, "host_ecn"},
        {14, "host_ufo"},
        {15, "mrg_rxbuf"},
        {17, "ctrl_vq"},
        {18, "ctrl_rx"},
        {21, "guest_announce"},
        {22, "mq"},
        {26, "log_all"},
        {27, "any_layout"},
        {28, "indirect_desc"},
        {29, "event_idx"},
        {32, "version_1"},
        {33, "iommu_platform"},
        {34, "ring_packed"},
        {35, "in_order"},
    };
    std::vector<std::string> names;
    for (const auto& [bit, name] : kNames) {
        if ((features >> bit & 1) != 0) names.emplace_back(name);
    }
    return names;
}

}  // namespace slash32
