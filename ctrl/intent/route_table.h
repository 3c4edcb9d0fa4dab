// SPDX-License-Identifier: Apache-2.0
// The RIB: every wanted route in memory, ordered by family, VRF, address and length.
//
// Belongs to the control thread. 12 (IPv4) or 28 (IPv6) bytes a route in blocks that are half full
// or better. What a route leads to is an index of the next-hop table (next_hop_table.h), whose
// owner is an index of the owner table: both count their users elsewhere, not here.
#pragma once

#include "ctrl/intent/sorted_blocks.h"
#include "dp/base/ids.h"
#include "dp/base/net.h"

#include <cstdint>
#include <optional>

namespace slash32 {

struct RouteKey {
    VrfId vrf;
    IpPrefix prefix;
    bool operator==(const RouteKey&) const = default;
    // Family, VRF, address, length: the order of every listing and of the store.
    bool operator<(const RouteKey& other) const;
};

inline constexpr unsigned kHopIndexBits = 20;
inline constexpr unsigned kOwnerIndexBits = 10;

struct RouteValue {
    // Index of the next-hop table; of the port itself when origin_port.
    uint32_t hop : kHopIndexBits = 0;
    uint32_t owner : kOwnerIndexBits = 0;
    uint32_t origin_port : 1 = 0;  // a fixed address of a port, not a route that somebody applied
    uint32_t stale : 1 = 0;
    bool operator==(const RouteValue&) const = default;
};
static_assert(sizeof(RouteValue) == 4);

class RouteTable {
  public:
    // nullptr when absent; valid until the next change.
    const RouteValue* find(const RouteKey& key) const;
    RouteValue* find(const RouteKey& key);
    // Inserts or replaces.
    void set(const RouteKey& key, RouteValue value);
    // Returns whether it was there.
    bool erase(const RouteKey& key);
    void clear();

    // The longest prefix that contains `address`.
    std::optional<RouteKey> longest_match(VrfId vrf, const IpAddress& address) const;

    size_t size() const { return ipv4_.size() + ipv6_.size(); }
    size_t size(Family family) const {
        return family == Family::kIpv4 ? ipv4_.size() : ipv6_.size();
    }
    size_t memory_bytes() const { return ipv4_.memory_bytes() + ipv6_.memory_bytes(); }

    // visit(const RouteKey&, RouteValue) → bool, for the routes at and after `from` in order, while
    // it returns true. IPv6 follows IPv4.
    template <typename Visit>
    void visit_from(const RouteKey& from, Visit&& visit) const;
    template <typename Visit>
    void visit_all(Visit&& visit) const {
        visit_from(RouteKey{}, std::forward<Visit>(visit));
    }
    // visit(RouteValue&) for every route, in no order that matters.
    template <typename Visit>
    void update_all(Visit&& visit) {
        ipv4_.update_all([&](const Key4&, RouteValue& value) { visit(value); });
        ipv6_.update_all([&](const Key6&, RouteValue& value) { visit(value); });
    }

  private:
    // vrf:12 | address:32 | length:6
    using Key4 = uint64_t;
    // vrf:16 | address:128 | length:48, most significant word first
    struct Key6 {
        uint64_t words[3];
        auto operator<=>(const Key6&) const = default;
    };
    static Key4 pack4(const RouteKey& key);
    static Key6 pack6(const RouteKey& key);
    static RouteKey unpack(Key4 key);
    static RouteKey unpack(const Key6& key);

    SortedBlocks<Key4, RouteValue> ipv4_;
    SortedBlocks<Key6, RouteValue> ipv6_;
};

template <typename Visit>
void RouteTable::visit_from(const RouteKey& from, Visit&& visit) const {
    bool more = true;
    const auto each = [&](const auto& key, RouteValue value) {
        return more = visit(unpack(key), value);
    };
    if (from.prefix.address.is_ipv4()) ipv4_.visit_from(pack4(from), each);
    if (!more) return;
    ipv6_.visit_from(from.prefix.address.is_ipv4() ? Key6{} : pack6(from), each);
}

}  // namespace slash32
