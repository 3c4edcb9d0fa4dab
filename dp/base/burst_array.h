// SPDX-License-Identifier: Apache-2.0
// An array with a place for each packet of a burst, with nothing in it at first.
//
// The types that fill it have constructors, which std::array calls for every place: for 32
// addresses that takes as long as the lookup of one, whether the burst has 32 packets or one.
#pragma once

#include "dp/base/limits.h"

#include <cstddef>
#include <new>
#include <type_traits>

namespace slash32 {

// A place is written before it is read: by assignment, which begins the life of what is in it.
template <typename T>
requires std::is_trivially_copyable_v<T>
class BurstArray {
  public:
    T& operator[](size_t i) { return data()[i]; }
    const T& operator[](size_t i) const { return data()[i]; }
    T* data() { return std::launder(reinterpret_cast<T*>(memory_)); }
    const T* data() const { return std::launder(reinterpret_cast<const T*>(memory_)); }

  private:
    alignas(T) std::byte memory_[kBurstSize * sizeof(T)];
};

}  // namespace slash32
