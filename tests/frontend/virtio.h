// SPDX-License-Identifier: Apache-2.0
// What the virtio 1.1 specification lays down for split rings and network headers, as far as this
// frontend uses it. (The kernel's headers say the same, but do not compile as C++.)
#pragma once

#include <cstddef>
#include <cstdint>

namespace slash32::frontend {

// Section 2.6.5.
struct Descriptor {
    uint64_t address;  // a guest address
    uint32_t bytes;
    uint16_t flags;
    uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
inline constexpr uint16_t kDescNext = 1;
inline constexpr uint16_t kDescWrite = 2;  // the device writes it
inline constexpr uint16_t kDescIndirect = 4;

// Sections 2.6.6 and 2.6.8.
struct UsedElement {
    uint32_t head;
    uint32_t bytes;
};
inline constexpr uint16_t kAvailableNoInterrupt = 1;
inline constexpr uint16_t kUsedNoNotify = 1;

// Section 5.1.6; the legacy header lacks the last field.
struct NetHeader {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_bytes;
    uint16_t gso_bytes;  // of payload in each segment
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;  // set by the device, in received frames
};
static_assert(sizeof(NetHeader) == 12);
inline constexpr size_t kLegacyHeaderBytes = 10;
inline constexpr uint8_t kNetNeedsCsum = 1;
inline constexpr uint8_t kNetDataValid = 2;
inline constexpr uint8_t kGsoNone = 0;
inline constexpr uint8_t kGsoTcp4 = 1;
inline constexpr uint8_t kGsoUdp = 3;
inline constexpr uint8_t kGsoTcp6 = 4;
inline constexpr uint8_t kGsoEcn = 0x80;

// Feature bits: section 5.1.3 and chapter 6.
inline constexpr uint64_t kFeatureCsum = 1ULL << 0;
inline constexpr uint64_t kFeatureGuestCsum = 1ULL << 1;
inline constexpr uint64_t kFeatureMtu = 1ULL << 3;
inline constexpr uint64_t kFeatureGuestTso4 = 1ULL << 7;
inline constexpr uint64_t kFeatureGuestTso6 = 1ULL << 8;
inline constexpr uint64_t kFeatureHostTso4 = 1ULL << 11;
inline constexpr uint64_t kFeatureHostTso6 = 1ULL << 12;
inline constexpr uint64_t kFeatureMergeable = 1ULL << 15;
inline constexpr uint64_t kFeatureControlQueue = 1ULL << 17;
inline constexpr uint64_t kFeatureMultiQueue = 1ULL << 22;
inline constexpr uint64_t kFeatureIndirect = 1ULL << 28;
inline constexpr uint64_t kFeatureEventIndex = 1ULL << 29;
inline constexpr uint64_t kFeatureVersion1 = 1ULL << 32;
inline constexpr uint64_t kFeaturePackedRing = 1ULL << 34;

// Section 2.1: the status of a driver that has finished.
inline constexpr uint64_t kStatusDriverOk = 1 | 2 | 8 | 4;  // acknowledge, driver, features, ok

}  // namespace slash32::frontend
