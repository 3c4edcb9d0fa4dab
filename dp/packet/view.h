// SPDX-License-Identifier: Apache-2.0
// A bounds-checked view of a packet's headers, and the mbuf operations that need care with chains.
//
// A HeaderView is made from the first segment. at<T>() proves that a header stands in it; where it
// does not, missing() tells a header that is cut short from one that lies in a later segment.
// pull_headers() moves headers that are split over segments into the first one beforehand.
// Thread safety: an mbuf belongs to one worker. All lengths are bytes.
#pragma once

#include "dp/abi/drop_reason.h"
#include "dp/base/limits.h"

#include <rte_mbuf.h>

#include <cstdint>

namespace slash32 {

class HeaderView {
  public:
    explicit HeaderView(rte_mbuf* packet)
        : begin_(rte_pktmbuf_mtod(packet, uint8_t*)),
          contiguous_(rte_pktmbuf_data_len(packet)),
          total_(rte_pktmbuf_pkt_len(packet)) {}

    bool holds(uint32_t offset, uint32_t size) const {
        return uint64_t{offset} + size <= contiguous_;
    }
    // The header at `offset`, nullptr when it is not wholly in the first segment.
    template <typename T>
    T* at(uint32_t offset) const {
        static_assert(alignof(T) == 1);
        return holds(offset, sizeof(T)) ? reinterpret_cast<T*>(begin_ + offset) : nullptr;
    }
    // Why `size` bytes at `offset` are not held. REQUIRES: !holds(offset, size).
    DropReason missing(uint32_t offset, uint32_t size, DropReason truncated) const {
        return uint64_t{offset} + size <= total_ ? DropReason::kSplitHeader : truncated;
    }
    uint32_t total() const { return total_; }

  private:
    uint8_t* begin_;
    uint32_t contiguous_;  // bytes in the first segment
    uint32_t total_;       // bytes in all segments
};

// Makes the first min(length, packet length) bytes stand in the first segment, as far as its
// tailroom reaches; segments that this empties are freed.
void pull_headers(rte_mbuf* packet, uint32_t length);

// Cuts the packet to its first `length` bytes and frees the segments behind them.
// REQUIRES: length <= packet length, length > 0.
void trim_packet(rte_mbuf* packet, uint32_t length);

// Makes the packet one segment of `length` bytes that are the caller's to write; what was in the
// first segment stays. False, and nothing changed, when the first segment's buffer is too small.
bool resize_to_single(rte_mbuf* packet, uint32_t length);

// Reads a chain from front to back.
class ChainReader {
  public:
    // REQUIRES: offset <= packet length.
    ChainReader(const rte_mbuf* packet, uint32_t offset) : segment_(packet), offset_(offset) {}
    // Copies the next `length` bytes. REQUIRES: they exist.
    void read(uint8_t* out, uint32_t length);

  private:
    const rte_mbuf* segment_;
    uint32_t offset_;  // into the segment, or beyond it: then the byte is in a later one
};

}  // namespace slash32
