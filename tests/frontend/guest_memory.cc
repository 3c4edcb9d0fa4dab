// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/guest_memory.h"

#include "dp/base/assert.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace slash32::frontend {

Result<GuestMemory> GuestMemory::create(size_t bytes) {
    constexpr size_t kPage = 4096;
    GuestMemory memory;
    memory.size_ = (bytes + kPage - 1) / kPage * kPage;
    memory.fd_ = memfd_create("slash32-frontend", MFD_CLOEXEC);
    if (memory.fd_ < 0) {
        return fail(ErrorCode::kUnavailable, "",
                    std::string("memfd_create failed: ") + std::strerror(errno));
    }
    if (ftruncate(memory.fd_, static_cast<off_t>(memory.size_)) != 0) {
        return fail(ErrorCode::kUnavailable, "",
                    std::string("guest memory cannot be sized: ") + std::strerror(errno));
    }
    void* base = mmap(nullptr, memory.size_, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd_, 0);
    if (base == MAP_FAILED) {
        return fail(ErrorCode::kUnavailable, "",
                    std::string("guest memory cannot be mapped: ") + std::strerror(errno));
    }
    memory.base_ = static_cast<uint8_t*>(base);
    return memory;
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      base_(std::exchange(other.base_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      next_(std::exchange(other.next_, 0)) {}

GuestMemory& GuestMemory::operator=(GuestMemory&& other) noexcept {
    if (this != &other) {
        release();
        fd_ = std::exchange(other.fd_, -1);
        base_ = std::exchange(other.base_, nullptr);
        size_ = std::exchange(other.size_, 0);
        next_ = std::exchange(other.next_, 0);
    }
    return *this;
}

GuestMemory::~GuestMemory() {
    release();
}

void GuestMemory::release() {
    if (base_ != nullptr) munmap(base_, size_);
    if (fd_ >= 0) close(fd_);
    base_ = nullptr;
    fd_ = -1;
}

size_t GuestMemory::allocate(size_t bytes, size_t alignment) {
    const size_t offset = (next_ + alignment - 1) / alignment * alignment;
    S32_ASSERT(offset + bytes <= size_);
    next_ = offset + bytes;
    return offset;
}

void GuestMemory::truncate() {
    if (fd_ >= 0 && ftruncate(fd_, 0) != 0) {
        // A memfd without seals can always shrink; were it refused, the case would show it.
    }
}

}  // namespace slash32::frontend
