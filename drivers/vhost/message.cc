// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/message.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <rte_build_config.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace slash32 {
namespace {

// The library's message context: the message with the largest of its payloads, then the
// descriptors that came with it, then their number; packed. It is no public type, but the library
// keeps it as it is for the sake of external handlers.
static_assert(RTE_VER_YEAR == 22 && RTE_VER_MONTH == 11, "compare vhu_msg_context of this release");
constexpr size_t kDescriptors = 12 + 632;
constexpr int kMostDescriptors = 8;
constexpr size_t kDescriptorCount = kDescriptors + kMostDescriptors * sizeof(int);

constexpr uint32_t kVersionMask = 0x3;
constexpr uint32_t kVersion = 0x1;
constexpr uint64_t kNoDescriptor = 1u << 8;  // in the payload of kick, call and err

// As on the wire (the vhost-user specification, "Memory regions description").
struct Region {
    uint64_t guest_address;
    uint64_t bytes;
    uint64_t user_address;
    uint64_t offset;
};
constexpr size_t kRegions = 8;  // of the table's number of regions and its padding
constexpr uint32_t kMostRegions = 8;

// What a request's payload must have at least.
uint32_t bytes_needed(VhostRequest request) {
    switch (request) {
        case VhostRequest::kSetFeatures:
        case VhostRequest::kSetMemTable:
        case VhostRequest::kSetLogBase:
        case VhostRequest::kSetVringNum:
        case VhostRequest::kSetVringBase:
        case VhostRequest::kGetVringBase:
        case VhostRequest::kSetVringKick:
        case VhostRequest::kSetVringCall:
        case VhostRequest::kSetVringErr:
        case VhostRequest::kSetProtocolFeatures:
        case VhostRequest::kSetVringEnable:
        case VhostRequest::kSendRarp:
        case VhostRequest::kNetSetMtu:
            return 8;
        case VhostRequest::kSetVringAddr:
            return 40;
        default:
            return 0;
    }
}

bool is_eventfd(int fd) {
    char target[64];
    const std::string link = fmt::format("/proc/self/fd/{}", fd);
    const ssize_t n = readlink(link.c_str(), target, sizeof target);
    return n > 0 && std::string_view(target, static_cast<size_t>(n)) == "anon_inode:[eventfd]";
}

bool overlap(uint64_t a, uint64_t b, uint64_t a_bytes, uint64_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

// Maps the region as the library is about to; it does not survive a failure.
std::string region_objection(const Region& region, int fd) {
    const uint64_t end = region.offset + region.bytes;
    if (region.bytes == 0) return "has no bytes";
    if (end < region.bytes || region.guest_address + region.bytes < region.bytes ||
        region.user_address + region.bytes < region.bytes)
        return "wraps round 64 bits";
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return "is not in a file";
    if (end > static_cast<uint64_t>(status.st_size)) return "is larger than its file";
    const auto block = static_cast<uint64_t>(std::max<blksize_t>(status.st_blksize, 1));
    const uint64_t length = (end + block - 1) / block * block;
    void* at = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return "cannot be mapped";
    munmap(at, length);
    return {};
}

}  // namespace

uint32_t VhostMessage::vring() const {
    switch (request()) {
        case VhostRequest::kSetVringKick:
        case VhostRequest::kSetVringCall:
        case VhostRequest::kSetVringErr:
            return payload() & 0xff;
        case VhostRequest::kSetVringNum:
        case VhostRequest::kSetVringAddr:
        case VhostRequest::kSetVringBase:
        case VhostRequest::kGetVringBase:
        case VhostRequest::kSetVringEnable:
            return static_cast<uint32_t>(payload());
        default:
            return UINT32_MAX;
    }
}

int VhostMessage::descriptor_count() const {
    return std::clamp(read<int>(kDescriptorCount), 0, kMostDescriptors);
}

int VhostMessage::descriptor(int i) const {
    return read<int>(kDescriptors + static_cast<size_t>(i) * sizeof(int));
}

void VhostMessage::close_descriptors() {
    constexpr int kNone = -1;
    for (int i = 0; i < descriptor_count(); ++i) {
        if (descriptor(i) >= 0) close(descriptor(i));
        std::memcpy(data_ + kDescriptors + static_cast<size_t>(i) * sizeof(int), &kNone,
                    sizeof kNone);
    }
}

std::string VhostMessage::objection() const {
    const auto number = static_cast<uint32_t>(request());
    if ((read<uint32_t>(4) & kVersionMask) != kVersion)
        return fmt::format("message {} is of another version of vhost-user", number);
    if (payload_bytes() < bytes_needed(request()))
        return fmt::format("message {} has {} bytes of payload, which is too few", number,
                           payload_bytes());
    switch (request()) {
        case VhostRequest::kSetMemTable:
            return memory_objection();
        case VhostRequest::kSetVringCall:
            if ((payload() & kNoDescriptor) != 0 || descriptor_count() != 1) return {};
            // Workers write to it: to a full pipe, or on a slow filesystem, they would wait.
            if (!is_eventfd(descriptor(0))) return "its call descriptor is not an eventfd";
            fcntl(descriptor(0), F_SETFL, fcntl(descriptor(0), F_GETFL) | O_NONBLOCK);
            return {};
        case VhostRequest::kGetInflightFd:
        case VhostRequest::kSetInflightFd:
            // Not offered; the library would write to wherever the frontend's numbers lead.
            return "it asks for in-flight tracking, which was not offered";
        default:
            return {};
    }
}

std::string VhostMessage::memory_objection() const {
    const uint32_t count = read<uint32_t>(kPayload);
    if (count == 0 || count > kMostRegions)
        return fmt::format("it shares memory in {} regions: 1 to {} are possible", count,
                           kMostRegions);
    if (payload_bytes() < kRegions + count * sizeof(Region) ||
        descriptor_count() != static_cast<int>(count))
        return "its memory table has fewer regions or descriptors than it says";
    for (uint32_t i = 0; i < count; ++i) {
        const auto region = read<Region>(kPayload + kRegions + i * sizeof(Region));
        if (std::string what = region_objection(region, descriptor(static_cast<int>(i)));
            !what.empty())
            return fmt::format("region {} of its memory {}", i, what);
        for (uint32_t j = 0; j < i; ++j) {
            const auto other = read<Region>(kPayload + kRegions + j * sizeof(Region));
            if (overlap(region.guest_address, other.guest_address, region.bytes, other.bytes))
                return fmt::format("regions {} and {} of its memory overlap", j, i);
        }
    }
    return {};
}

}  // namespace slash32
