// SPDX-License-Identifier: Apache-2.0
// Keys by which the nodes of an SR domain authenticate segment routing headers (RFC 8754 section
// 2.1.2). Read at the start, the same for the life of the daemon.
#pragma once

#include <nettle/hmac.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace slash32 {

// What the HMAC is made of.
enum class HmacForm : uint8_t {
    kRfc8754,
    kLinux,  // as the kernel's seg6: of an earlier draft, which has a flag and lacks the D bit
};

struct SegmentKey {
    static constexpr size_t kMaxSecret = 64;  // bytes, as the kernel takes them

    uint32_t id = 0;  // never 0, which says that there is no HMAC
    HmacForm form = HmacForm::kRfc8754;
    hmac_sha256_ctx state{};  // of the secret
};

struct SegmentKeys {
    static constexpr size_t kMax = 4;  // of two or so while one takes the other's place

    std::array<SegmentKey, kMax> list{};
    uint8_t count = 0;      // 0: no HMAC is looked at
    bool required = false;  // what has none is refused

    const SegmentKey* find(uint32_t id) const {
        for (unsigned i = 0; i < count; ++i) {
            if (list[i].id == id) return &list[i];
        }
        return nullptr;
    }
};

}  // namespace slash32
