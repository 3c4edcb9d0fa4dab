// SPDX-License-Identifier: Apache-2.0
// What cutting a packet into parts has in common, for segments and fragments alike.
#pragma once

#include "dp/packet/view.h"

#include <rte_mbuf.h>

#include <cstdint>

namespace slash32 {

enum class CutResult : uint8_t {
    kDone,
    kNoBuffer,    // the pool is empty: nothing is left behind
    kImpossible,  // no room for any payload, or too many parts
};

// A new packet: `header_length` bytes of header, then the next `payload_length` bytes of `payload`,
// in as many segments as the pool's buffers make it. nullptr when the pool is empty.
// REQUIRES: the header fits one buffer.
rte_mbuf* make_part(rte_mempool* pool, const uint8_t* header, uint32_t header_length,
                    ChainReader& payload, uint32_t payload_length);

}  // namespace slash32
