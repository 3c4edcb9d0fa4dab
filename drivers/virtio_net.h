// SPDX-License-Identifier: Apache-2.0
// The virtio-net numbers that drivers use (virtio 1.2, sections 5.1.3 and 5.1.6).
//
// The kernel's <linux/virtio_net.h> does not compile as C++.
#pragma once

#include <cstdint>

namespace slash32 {

enum VirtioFeature : uint64_t {
    kVirtioCsum = 1ull << 0,
    kVirtioGuestCsum = 1ull << 1,
    kVirtioGuestTso4 = 1ull << 7,
    kVirtioGuestTso6 = 1ull << 8,
    kVirtioGuestEcn = 1ull << 9,
    kVirtioGuestUfo = 1ull << 10,
    kVirtioHostTso4 = 1ull << 11,
    kVirtioHostTso6 = 1ull << 12,
    kVirtioHostEcn = 1ull << 13,
    kVirtioHostUfo = 1ull << 14,
    kVirtioMergeableBuffers = 1ull << 15,
    kVirtioMultiQueue = 1ull << 22,
    kVhostLogAll = 1ull << 26,  // vhost-user's own: the guest migrates
    kVirtioEventIndex = 1ull << 29,
    kVirtioVersion1 = 1ull << 32,
    kVirtioAccessPlatform = 1ull << 33,
    kVirtioRingPacked = 1ull << 34,
};

// The header before each frame on a TAP queue: little-endian, the short form.
struct VirtioNetHeader {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};
static_assert(sizeof(VirtioNetHeader) == 10);

inline constexpr uint8_t kVirtioNeedsCsum = 1;  // in flags
inline constexpr uint8_t kVirtioDataValid = 2;
inline constexpr uint8_t kVirtioGsoNone = 0;  // in gso_type
inline constexpr uint8_t kVirtioGsoTcp4 = 1;
inline constexpr uint8_t kVirtioGsoTcp6 = 4;
inline constexpr uint8_t kVirtioGsoEcn = 0x80;

}  // namespace slash32
