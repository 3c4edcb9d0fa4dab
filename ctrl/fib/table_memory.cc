// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/table_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

namespace slash32 {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kLargePage = size_t{2} << 20;

void* map(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

// Large tables are looked up at random: with large pages, where the kernel has them, a lookup
// misses the TLB less, and a worker meets the fault of a page that nobody has touched 512 times
// less often. They start at a large page's boundary for that.
void* map_pages(size_t bytes, size_t /*align: a page is aligned to 4,096*/) {
    if (bytes < kLargePage) return map(bytes);
    void* memory = map(bytes + kLargePage);
    if (memory == nullptr) return nullptr;
    auto* start = static_cast<std::byte*>(memory);
    const size_t before = -reinterpret_cast<uintptr_t>(start) & (kLargePage - 1);
    const size_t rounded = (bytes + kPage - 1) & ~(kPage - 1);
    if (before != 0) munmap(start, before);
    munmap(start + before + rounded, bytes + kLargePage - before - rounded);
    madvise(start + before, bytes, MADV_HUGEPAGE);  // a wish: failing changes nothing
    return start + before;
}

void unmap_pages(void* memory, size_t bytes) {
    munmap(memory, bytes);
}

}  // namespace

TableMemory mapped_memory() {
    return {.allocate = map_pages, .release = unmap_pages};
}

bool populate(void* memory, size_t bytes) {
    const auto inside = reinterpret_cast<uintptr_t>(memory) % kPage;
    auto* start = static_cast<std::byte*>(memory) - inside;
    return madvise(start, bytes + inside, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

}  // namespace slash32
