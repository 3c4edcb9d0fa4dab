// SPDX-License-Identifier: Apache-2.0
// A fixed array of zeroed pages: large tables cost memory only where they are used.
//
// For start-up: the mapping is made once, and touching a page for the first time enters the kernel.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace slash32 {

template <typename T>
class PageArray {
    static_assert(std::is_trivially_destructible_v<T>, "pages are unmapped, not destroyed");

  public:
    PageArray() = default;
    // `size` elements, all bytes zero. empty() afterwards when there is no address space.
    explicit PageArray(size_t size) {
        void* pages = mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pages == MAP_FAILED) return;
        data_ = static_cast<T*>(pages);
        size_ = size;
    }
    PageArray(PageArray&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    PageArray& operator=(PageArray&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~PageArray() {
        if (data_ != nullptr) munmap(data_, size_ * sizeof(T));
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }

  private:
    T* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace slash32
