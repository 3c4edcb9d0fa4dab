// SPDX-License-Identifier: Apache-2.0
// Routes as they are stored: chunks of up to some ten thousand changes, each complete in itself.
//
// A row a route would cost SQLite a microsecond each; a chunk costs a copy (docs/decisions).
// Format, little-endian:
//     u32 magic, u32 crc32c of what follows,
//     u32 values, u32 ipv4 records, u32 ipv6 records
//     values:  u8 kind, u8 flags (1 via, 2 via is IPv6, 4 mac, 8 reports misses, 16 ages), text
//     owner, text port, via, mac, what the kind has, u32 idle seconds and a record's first bytes
//     records: u16 vrf, u8 length, u8 0, address (4 or 16 bytes), u32 value (0 = no route, n =
//     n-th)
// with text = u8 length and bytes. Records are applied in order. Thread safety: none.
#pragma once

#include "ctrl/intent/requests.h"
#include "ctrl/intent/route_table.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace slash32 {

// The CRC of RFC 3720 section 12.1, of text that follows text with CRC `seed`.
uint32_t crc32c(std::string_view text, uint32_t seed = 0);

class RouteChunkWriter {
  public:
    // What an index of the next-hop table means, when a value is met for the first time.
    using Describe = std::function<HopRequest(uint32_t hop)>;
    using OwnerName = std::function<std::string(uint32_t owner)>;

    RouteChunkWriter(Describe describe, OwnerName owner_name)
        : describe_(std::move(describe)), owner_name_(std::move(owner_name)) {}

    void set(const RouteKey& key, RouteValue value);
    void remove(const RouteKey& key) { record(key, 0); }
    size_t records() const { return ipv4_records_ + ipv6_records_; }
    // The chunk; the writer is empty afterwards. REQUIRES: records() > 0.
    std::string finish();

  private:
    void record(const RouteKey& key, uint32_t value);

    Describe describe_;
    OwnerName owner_name_;
    std::map<std::pair<uint32_t, uint32_t>, uint32_t> values_;  // (hop, owner) → number
    std::pair<uint32_t, uint32_t> last_{UINT32_MAX, UINT32_MAX};
    uint32_t last_value_ = 0;
    std::string value_bytes_;
    std::string ipv4_bytes_;
    std::string ipv6_bytes_;
    uint32_t ipv4_records_ = 0;
    uint32_t ipv6_records_ = 0;
};

struct StoredRouteValue {
    HopRequest next_hop;
    std::string owner;
};

// Calls value(number, what) for the values 1, 2, ... and then record(key, number) for every record;
// number 0 is "no route". Errors: kInvalid, when the chunk is not one.
Result<void> read_route_chunk(std::string_view chunk,
                              const std::function<void(uint32_t, StoredRouteValue)>& value,
                              const std::function<void(const RouteKey&, uint32_t)>& record);

}  // namespace slash32
