// SPDX-License-Identifier: Apache-2.0
// The oracle: routes in a std::map, longest prefix match by trying every length.
#pragma once

#include "ctrl/fib/fib.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace slash32::test {

inline IpPrefix cut_prefix(IpAddress address, unsigned length) {
    for (unsigned bit = length; bit < 128; ++bit) {
        address.bytes[bit / 8] =
            static_cast<uint8_t>(address.bytes[bit / 8] & ~(0x80U >> (bit % 8)));
    }
    return {address, static_cast<uint8_t>(length)};
}

inline IpAddress flip_bit(IpAddress address, unsigned bit) {
    address.bytes[bit / 8] = static_cast<uint8_t>(address.bytes[bit / 8] ^ (0x80U >> (bit % 8)));
    return address;
}

// The address with all bits beyond the length set.
inline IpAddress last_of(const IpPrefix& prefix) {
    IpAddress address = prefix.address;
    for (unsigned bit = prefix.length; bit < address.bits(); ++bit)
        address = flip_bit(address, bit);
    return address;
}

class NaiveFib {
  public:
    void add(VrfId vrf, const IpPrefix& prefix, NextHopId id) { routes_[{vrf, prefix}] = id; }
    bool remove(VrfId vrf, const IpPrefix& prefix) { return routes_.erase({vrf, prefix}) != 0; }
    size_t remove_vrf(VrfId vrf) {
        return std::erase_if(routes_,
                             [vrf](const auto& route) { return route.first.first == vrf; });
    }
    std::optional<FibRoute> lookup(VrfId vrf, const IpAddress& address) const {
        for (int length = address.bits(); length >= 0; --length) {
            const IpPrefix prefix = cut_prefix(address, static_cast<unsigned>(length));
            const auto found = routes_.find({vrf, prefix});
            if (found != routes_.end()) return FibRoute{prefix, found->second};
        }
        return std::nullopt;
    }
    const std::map<std::pair<VrfId, IpPrefix>, NextHopId>& routes() const { return routes_; }

  private:
    std::map<std::pair<VrfId, IpPrefix>, NextHopId> routes_;
};

// Prefixes that lie close to each other: few base addresses, a few bits flipped, every length. Many
// nest, share strides and part just before, at and just after stride boundaries.
class CloseAddresses {
  public:
    CloseAddresses(Family family, uint32_t seed) : random_(seed) {
        for (IpAddress& base : bases_) {
            base.family = family;
            for (unsigned i = 0; i < base.bits() / 8U; ++i) {
                base.bytes[i] = static_cast<uint8_t>(random_());
            }
        }
    }
    uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
    IpAddress address() {
        IpAddress address = bases_[random_() % bases_.size()];
        for (uint32_t flips = below(3); flips > 0; --flips) {
            address = flip_bit(address, below(address.bits()));
        }
        return address;
    }
    IpPrefix prefix() {
        const IpAddress of = address();
        return cut_prefix(of, below(of.bits() + 1U));
    }

  private:
    std::mt19937 random_;
    std::array<IpAddress, 4> bases_;
};

}  // namespace slash32::test
