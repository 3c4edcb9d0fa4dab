// SPDX-License-Identifier: Apache-2.0
// The HMAC TLV of segment routing headers (RFC 8754 section 2.1.2): HMAC-SHA-256 of the source, the
// segments and what else of the header does not change on the way.
#pragma once

#include "dp/abi/segment_key.h"
#include "dp/base/net.h"
#include "dp/packet/headers.h"

#include <array>
#include <cstdint>
#include <span>

namespace slash32 {

struct HmacTlv {
    uint8_t type;
    uint8_t length;   // of what follows
    Wire<Be16> bits;  // kHmacNoDestination, and reserved ones
    Wire<Be32> key_id;
    std::array<uint8_t, SHA256_DIGEST_SIZE> hmac;
};
static_assert(sizeof(HmacTlv) == 40 && alignof(HmacTlv) == 1);
inline constexpr uint8_t kTlvHmac = 5;
// The D bit: the destination need not be the segment that is next, since the list is a reduced one.
inline constexpr uint16_t kHmacNoDestination = 0x8000;
// The flag of the header by which the kernel knows that there is an HMAC.
inline constexpr uint8_t kLinuxHmacFlag = 0x08;

// REQUIRES: an id other than 0, 1 to SegmentKey::kMaxSecret bytes.
SegmentKey make_segment_key(uint32_t id, HmacForm form, std::span<const uint8_t> secret);

// Writes the TLV. REQUIRES: `header` has all its segments, flags and length; `tlv` is at its end.
void sign(const SegmentKey& key, const Ip6& source, SegmentRoutingHeader& header, HmacTlv& tlv,
          uint16_t bits);

// nullptr: there is none. REQUIRES: the header is_valid().
const HmacTlv* find_hmac(const SegmentRoutingHeader& header);

// Does the TLV say that one who has a key has made the header, for a packet from `source` which is
// at `destination` now?
bool is_authentic(const SegmentKeys& keys, const Ip6& source, const Ip6& destination,
                  const SegmentRoutingHeader& header, const HmacTlv& tlv);

}  // namespace slash32
