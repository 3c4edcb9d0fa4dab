// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/checksum.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

namespace slash32 {
namespace {

template <typename Word>
uint64_t load(const uint8_t* at) {
    Word word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

}  // namespace

ChecksumSum checksum_add(ChecksumSum sum, const void* data, size_t length) {
    const auto* at = static_cast<const uint8_t*>(data);
    // Two sums of 32-bit words: no carry is lost, and the additions do not wait for each other.
    uint64_t other = 0;
    for (; length >= 16; length -= 16, at += 16) {
        sum += load<uint32_t>(at) + load<uint32_t>(at + 8);
        other += load<uint32_t>(at + 4) + load<uint32_t>(at + 12);
    }
    sum += other;
    for (; length >= 4; length -= 4, at += 4)
        sum += load<uint32_t>(at);
    if (length >= 2) {
        sum += load<uint16_t>(at);
        length -= 2;
        at += 2;
    }
    if (length != 0) sum += *at;
    return sum;
}

ChecksumSum checksum_add_chain(ChecksumSum sum, const rte_mbuf* packet, uint32_t offset,
                               uint32_t length) {
    while (offset >= packet->data_len && packet->next != nullptr) {
        offset -= packet->data_len;
        packet = packet->next;
    }
    bool odd = false;  // an odd number of bytes lies before this segment's part
    while (length != 0) {
        const uint32_t n = std::min(length, packet->data_len - offset);
        const uint16_t part =
            checksum_fold(checksum_add(0, rte_pktmbuf_mtod_offset(packet, uint8_t*, offset), n));
        sum += odd ? __builtin_bswap16(part) : part;
        odd ^= (n & 1) != 0;
        length -= n;
        offset = 0;
        packet = packet->next;
    }
    return sum;
}

ChecksumSum pseudo_header_sum(const Ipv4Header& ip, uint8_t protocol, uint32_t length) {
    const ChecksumSum sum = checksum_add(0, &ip.source, 8);
    return sum + Be16{protocol}.raw() + Be32{length}.raw();
}

ChecksumSum pseudo_header_sum(const Ipv6Header& ip, uint8_t protocol, uint32_t length) {
    const ChecksumSum sum = checksum_add(0, &ip.source, 32);
    return sum + Be16{protocol}.raw() + Be32{length}.raw();
}

}  // namespace slash32
