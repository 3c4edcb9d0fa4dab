// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/cut.h"

#include "dp/abi/srv6.h"

#include <algorithm>
#include <cstring>

namespace slash32 {
namespace {

constexpr uint16_t kPartHeadroom = 256;
static_assert(kPartHeadroom >= Encapsulation::kMaxBytes);

}  // namespace

rte_mbuf* make_part(rte_mempool* pool, const uint8_t* header, uint32_t header_length,
                    ChainReader& payload, uint32_t payload_length) {
    rte_mbuf* part = rte_pktmbuf_alloc(pool);
    if (part == nullptr) return nullptr;
    // It may enter a tunnel yet.
    if (part->buf_len >= 4 * kPartHeadroom) part->data_off = kPartHeadroom;
    std::memcpy(rte_pktmbuf_mtod(part, uint8_t*), header, header_length);
    part->data_len = static_cast<uint16_t>(header_length);
    part->pkt_len = header_length + payload_length;
    rte_mbuf* last = part;
    for (;;) {
        const uint32_t n = std::min<uint32_t>(payload_length, rte_pktmbuf_tailroom(last));
        payload.read(rte_pktmbuf_mtod_offset(last, uint8_t*, last->data_len), n);
        last->data_len = static_cast<uint16_t>(last->data_len + n);
        payload_length -= n;
        if (payload_length == 0) return part;
        rte_mbuf* next = rte_pktmbuf_alloc(pool);
        if (next == nullptr) {
            rte_pktmbuf_free(part);
            return nullptr;
        }
        last->next = next;
        last = next;
        ++part->nb_segs;
    }
}

}  // namespace slash32
