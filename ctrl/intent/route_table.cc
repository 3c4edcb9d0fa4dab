// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/route_table.h"

#include <cstring>

namespace slash32 {
namespace {

constexpr unsigned kLengthBits4 = 6;

uint64_t load_be64(const uint8_t* bytes) {
    uint64_t raw = 0;
    std::memcpy(&raw, bytes, sizeof raw);
    return __builtin_bswap64(raw);
}

void store_be64(uint8_t* bytes, uint64_t value) {
    const uint64_t raw = __builtin_bswap64(value);
    std::memcpy(bytes, &raw, sizeof raw);
}

IpAddress masked(const IpAddress& address, unsigned length) {
    IpAddress out = address;
    for (unsigned i = 0; i < out.bytes.size(); ++i) {
        if (length >= (i + 1) * 8) continue;
        const unsigned keep = length > i * 8 ? length - i * 8 : 0;
        out.bytes[i] = static_cast<uint8_t>(out.bytes[i] & (0xff00u >> keep));
    }
    return out;
}

}  // namespace

bool RouteKey::operator<(const RouteKey& other) const {
    const IpAddress& a = prefix.address;
    const IpAddress& b = other.prefix.address;
    if (a.family != b.family) return a.family < b.family;
    if (vrf != other.vrf) return vrf < other.vrf;
    const int order = std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size());
    return order != 0 ? order < 0 : prefix.length < other.prefix.length;
}

RouteTable::Key4 RouteTable::pack4(const RouteKey& key) {
    return (uint64_t{key.vrf.value()} << (32 + kLengthBits4)) |
           (uint64_t{key.prefix.address.ipv4().value.to_host()} << kLengthBits4) |
           key.prefix.length;
}

RouteKey RouteTable::unpack(Key4 key) {
    const auto address = static_cast<uint32_t>(key >> kLengthBits4);
    return {VrfId{static_cast<uint16_t>(key >> (32 + kLengthBits4))},
            {Ip4{Be32(address)}, static_cast<uint8_t>(key & ((1u << kLengthBits4) - 1))}};
}

RouteTable::Key6 RouteTable::pack6(const RouteKey& key) {
    const uint64_t high = load_be64(key.prefix.address.bytes.data());
    const uint64_t low = load_be64(key.prefix.address.bytes.data() + 8);
    return {{(uint64_t{key.vrf.value()} << 48) | (high >> 16), (high << 48) | (low >> 16),
             (low << 48) | key.prefix.length}};
}

RouteKey RouteTable::unpack(const Key6& key) {
    RouteKey out;
    out.vrf = VrfId{static_cast<uint16_t>(key.words[0] >> 48)};
    out.prefix.address.family = Family::kIpv6;
    store_be64(out.prefix.address.bytes.data(), (key.words[0] << 16) | (key.words[1] >> 48));
    store_be64(out.prefix.address.bytes.data() + 8, (key.words[1] << 16) | (key.words[2] >> 48));
    out.prefix.length = static_cast<uint8_t>(key.words[2] & 0xff);
    return out;
}

const RouteValue* RouteTable::find(const RouteKey& key) const {
    return key.prefix.address.is_ipv4() ? ipv4_.find(pack4(key)) : ipv6_.find(pack6(key));
}

RouteValue* RouteTable::find(const RouteKey& key) {
    return key.prefix.address.is_ipv4() ? ipv4_.find(pack4(key)) : ipv6_.find(pack6(key));
}

void RouteTable::set(const RouteKey& key, RouteValue value) {
    if (key.prefix.address.is_ipv4()) {
        ipv4_.set(pack4(key), value);
    } else {
        ipv6_.set(pack6(key), value);
    }
}

bool RouteTable::erase(const RouteKey& key) {
    return key.prefix.address.is_ipv4() ? ipv4_.erase(pack4(key)) : ipv6_.erase(pack6(key));
}

void RouteTable::clear() {
    ipv4_.clear();
    ipv6_.clear();
}

std::optional<RouteKey> RouteTable::longest_match(VrfId vrf, const IpAddress& address) const {
    for (int length = address.bits(); length >= 0; --length) {
        const auto bits = static_cast<uint8_t>(length);
        const RouteKey key{vrf, {masked(address, bits), bits}};
        if (find(key) != nullptr) return key;
    }
    return std::nullopt;
}

}  // namespace slash32
