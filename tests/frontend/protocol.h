// SPDX-License-Identifier: Apache-2.0
// The vhost-user wire protocol as a frontend speaks it: requests, flags and payload layouts.
//
// Own definitions of what the vhost-user specification lays down; all integers are in host order.
// Only the requests that a network device uses are named; hostile cases send any number they like.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slash32::frontend {

enum class Request : uint32_t {
    kGetFeatures = 1,
    kSetFeatures = 2,
    kSetOwner = 3,
    kResetOwner = 4,
    kSetMemTable = 5,
    kSetLogBase = 6,
    kSetLogFd = 7,
    kSetVringNum = 8,
    kSetVringAddr = 9,
    kSetVringBase = 10,
    kGetVringBase = 11,
    kSetVringKick = 12,
    kSetVringCall = 13,
    kSetVringErr = 14,
    kGetProtocolFeatures = 15,
    kSetProtocolFeatures = 16,
    kGetQueueNum = 17,
    kSetVringEnable = 18,
    kSendRarp = 19,
    kNetSetMtu = 20,
    kSetBackendReqFd = 21,
    kIotlbMsg = 22,
    kPostcopyAdvise = 28,
    kGetInflightFd = 31,
    kSetInflightFd = 32,
    kSetStatus = 39,
};

// Feature bit 30: the protocol-features exchange exists, and rings start disabled.
inline constexpr uint64_t kFeatureProtocolFeatures = 1ULL << 30;

inline constexpr uint64_t kProtocolMq = 1ULL << 0;
inline constexpr uint64_t kProtocolReplyAck = 1ULL << 3;
inline constexpr uint64_t kProtocolNetMtu = 1ULL << 4;
inline constexpr uint64_t kProtocolStatus = 1ULL << 16;

inline constexpr uint32_t kFlagVersion1 = 0x1;
inline constexpr uint32_t kFlagVersionMask = 0x3;
inline constexpr uint32_t kFlagReply = 0x4;
inline constexpr uint32_t kFlagNeedReply = 0x8;

// In the u64 payload of kick, call and err: no descriptor comes with the message.
inline constexpr uint64_t kVringNoFd = 0x100;

inline constexpr size_t kMaxMemoryRegions = 8;
inline constexpr size_t kMaxMessageFds = 32;       // sent with one message, by hostile cases
inline constexpr size_t kMaxPayloadBytes = 65536;  // of a reply; longer means framing is lost

struct MessageHeader {
    uint32_t request;
    uint32_t flags;
    uint32_t size;  // of the payload that follows
};
static_assert(sizeof(MessageHeader) == 12);

struct VringState {
    uint32_t index;
    uint32_t num;
};

struct VringAddr {
    uint32_t index;
    uint32_t flags;
    uint64_t descriptors;  // the three ring addresses are the frontend's virtual addresses
    uint64_t used;
    uint64_t available;
    uint64_t log;
};
static_assert(sizeof(VringAddr) == 40);

struct MemoryRegion {
    uint64_t guest_address;
    uint64_t size;
    uint64_t user_address;
    uint64_t mmap_offset;
};

struct MemoryTable {
    uint32_t regions;
    uint32_t padding;
    MemoryRegion region[kMaxMemoryRegions];
};
// Bytes of a table of n regions as it is sent.
constexpr size_t memory_table_bytes(size_t n) {
    return offsetof(MemoryTable, region) + n * sizeof(MemoryRegion);
}

}  // namespace slash32::frontend
