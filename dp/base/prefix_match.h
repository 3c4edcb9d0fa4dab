// SPDX-License-Identifier: Apache-2.0
// Does a prefix cover an address? In a few comparisons of words.
#pragma once

#include "dp/base/net.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace slash32 {

// A prefix as words, of which many addresses are asked. REQUIRES: it is of the address's family.
template <typename Address>
class PrefixMatch;

template <>
class PrefixMatch<Ip4> {
  public:
    explicit PrefixMatch(const IpPrefix& prefix)
        : network_(prefix.address.ipv4().value.raw()),
          mask_(prefix.length == 0 ? 0 : Be32{UINT32_MAX << (32 - prefix.length)}.raw()) {}
    bool covers(const Ip4& address) const {
        return ((address.value.raw() ^ network_) & mask_) == 0;
    }

  private:
    uint32_t network_;
    uint32_t mask_;
};

template <>
class PrefixMatch<Ip6> {
  public:
    PrefixMatch() = default;  // covers everything
    explicit PrefixMatch(const IpPrefix& prefix) {
        std::memcpy(network_.data(), prefix.address.bytes.data(), sizeof network_);
        const auto mask = [](unsigned length) {
            return length == 0 ? 0 : Be64{UINT64_MAX << (64 - length)}.raw();
        };
        mask_ = {mask(std::min<unsigned>(prefix.length, 64)),
                 mask(prefix.length > 64 ? prefix.length - 64u : 0)};
    }
    bool covers(const Ip6& address) const {
        std::array<uint64_t, 2> words;
        std::memcpy(words.data(), address.bytes.data(), sizeof words);
        return (((words[0] ^ network_[0]) & mask_[0]) | ((words[1] ^ network_[1]) & mask_[1])) == 0;
    }

  private:
    std::array<uint64_t, 2> network_{};
    std::array<uint64_t, 2> mask_{};
};

}  // namespace slash32
