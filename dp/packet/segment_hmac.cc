// SPDX-License-Identifier: Apache-2.0
#include "dp/packet/segment_hmac.h"

#include <nettle/memops.h>

namespace slash32 {
namespace {

constexpr uint8_t kTlvPad1 = 0;
constexpr uint8_t kHmacLength = sizeof(HmacTlv) - 2;

std::array<uint8_t, SHA256_DIGEST_SIZE> digest(const SegmentKey& key, const Ip6& source,
                                               const SegmentRoutingHeader& header,
                                               const HmacTlv& tlv) {
    hmac_sha256_ctx state = key.state;
    const auto add = [&state](const auto& what, size_t bytes) {
        hmac_sha256_update(&state, bytes, reinterpret_cast<const uint8_t*>(&what));
    };
    add(source, sizeof source);
    add(header.last_entry, sizeof header.last_entry);
    add(header.flags, sizeof header.flags);
    if (key.form == HmacForm::kRfc8754) add(tlv.bits, sizeof tlv.bits);
    add(tlv.key_id, sizeof tlv.key_id);
    add(*header.segments(), (header.last_entry + size_t{1}) * sizeof(Ip6));
    std::array<uint8_t, SHA256_DIGEST_SIZE> out;
    hmac_sha256_digest(&state, out.size(), out.data());
    return out;
}

}  // namespace

SegmentKey make_segment_key(uint32_t id, HmacForm form, std::span<const uint8_t> secret) {
    SegmentKey key{.id = id, .form = form};
    hmac_sha256_set_key(&key.state, secret.size(), secret.data());
    return key;
}

void sign(const SegmentKey& key, const Ip6& source, SegmentRoutingHeader& header, HmacTlv& tlv,
          uint16_t bits) {
    if (key.form == HmacForm::kLinux) {
        header.flags |= kLinuxHmacFlag;
        bits = 0;
    }
    tlv.type = kTlvHmac;
    tlv.length = kHmacLength;
    tlv.bits = Be16{bits};
    tlv.key_id = Be32{key.id};
    tlv.hmac = digest(key, source, header, tlv);
}

const HmacTlv* find_hmac(const SegmentRoutingHeader& header) {
    const auto* at = reinterpret_cast<const uint8_t*>(header.segments() + header.last_entry + 1);
    const auto* end = reinterpret_cast<const uint8_t*>(&header) + header.bytes();
    while (at < end) {
        if (*at == kTlvPad1) {
            ++at;
            continue;
        }
        const auto* tlv = reinterpret_cast<const HmacTlv*>(at);
        if (tlv->type == kTlvHmac && tlv->length == kHmacLength) return tlv;
        at += 2 + at[1];
    }
    return nullptr;
}

bool is_authentic(const SegmentKeys& keys, const Ip6& source, const Ip6& destination,
                  const SegmentRoutingHeader& header, const HmacTlv& tlv) {
    const SegmentKey* key = keys.find(tlv.key_id.host());
    if (key == nullptr) return false;
    const bool may_be_elsewhere =
        key->form == HmacForm::kLinux || (tlv.bits.host() & kHmacNoDestination) != 0;
    if (!may_be_elsewhere && (header.segments_left > header.last_entry ||
                              header.segments()[header.segments_left] != destination)) {
        return false;
    }
    const auto expected = digest(*key, source, header, tlv);
    return memeql_sec(expected.data(), tlv.hmac.data(), expected.size()) != 0;
}

}  // namespace slash32
