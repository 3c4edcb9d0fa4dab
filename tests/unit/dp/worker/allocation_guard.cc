// SPDX-License-Identifier: Apache-2.0
// Replaces the allocator of this test program: a thread that has set `forbid_allocation` aborts on
// any allocation, so that the packet path can be shown to have none.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace slash32::test {
thread_local bool forbid_allocation = false;
}

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);

static void check() {
    if (!slash32::test::forbid_allocation) return;
    slash32::test::forbid_allocation = false;
    std::fputs("allocation on a worker thread\n", stderr);
    std::abort();
}

void* malloc(size_t size) {
    check();
    return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
    check();
    return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
    check();
    return __libc_realloc(memory, size);
}
}
