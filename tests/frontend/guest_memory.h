// SPDX-License-Identifier: Apache-2.0
// The memory of a pretended VM: one memfd region, shared with the backend by SET_MEM_TABLE.
//
// Everything a device needs (rings, indirect tables, buffers) is carved out of it once, in order;
// nothing is given back before the whole goes. Pages are backed when first touched, so a thousand
// of these are cheap. Not thread-safe. Guest addresses start well above zero, and differ from the
// frontend's virtual addresses, so that a backend that mixes the kinds up is caught.
#pragma once

#include "dp/base/result.h"

#include <cstddef>
#include <cstdint>

namespace slash32::frontend {

inline constexpr uint64_t kGuestBase = 0x1'0000'0000ULL;

class GuestMemory {
  public:
    // `bytes` is rounded up to pages. Fails with kUnavailable when the kernel refuses.
    static Result<GuestMemory> create(size_t bytes);
    GuestMemory() = default;
    GuestMemory(GuestMemory&& other) noexcept;
    GuestMemory& operator=(GuestMemory&& other) noexcept;
    ~GuestMemory();

    // Offset of `bytes` fresh, zeroed bytes. REQUIRES: they fit (sizes are planned beforehand).
    size_t allocate(size_t bytes, size_t alignment);

    uint8_t* at(size_t offset) const { return base_ + offset; }
    uint64_t guest_address(size_t offset) const { return kGuestBase + offset; }
    uint64_t user_address(size_t offset) const { return reinterpret_cast<uintptr_t>(at(offset)); }
    int fd() const { return fd_; }
    size_t size() const { return size_; }
    size_t used() const { return next_; }
    bool valid() const { return fd_ >= 0; }

    // Hostile: the file shrinks to nothing under the backend's mapping. Touching the memory on our
    // side afterwards is fatal, too: the device must be discarded next.
    void truncate();

  private:
    void release();

    int fd_ = -1;
    uint8_t* base_ = nullptr;
    size_t size_ = 0;
    size_t next_ = 0;
};

}  // namespace slash32::frontend
