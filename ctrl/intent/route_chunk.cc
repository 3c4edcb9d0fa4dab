// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/route_chunk.h"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace slash32 {
namespace {

constexpr uint32_t kMagic = 0x31523253;  // "S2R1"
constexpr size_t kHeaderBytes = 20;
enum ValueFlag : uint8_t {
    kHasVia = 1,
    kViaIsIpv6 = 2,
    kHasMac = 4,
    kReportsMissed = 8,
    kAges = 16
};

template <typename T>
void put(std::string& out, T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
}

void put_text(std::string& out, std::string_view text) {
    out.push_back(static_cast<char>(text.size()));
    out.append(text);
}

// Reads with bounds; after the first failure everything reads as zero.
class Cursor {
  public:
    explicit Cursor(std::string_view text) : text_(text) {}
    template <typename T>
    T take() {
        T value{};
        if (const char* from = advance(sizeof value)) std::memcpy(&value, from, sizeof value);
        return value;
    }
    std::string text() {
        const size_t size = take<uint8_t>();
        const char* from = advance(size);
        return from != nullptr ? std::string(from, size) : std::string();
    }
    bool failed() const { return failed_; }
    size_t left() const { return text_.size(); }

  private:
    const char* advance(size_t bytes) {
        if (failed_ || text_.size() < bytes) {
            failed_ = true;
            return nullptr;
        }
        const char* at = text_.data();
        text_.remove_prefix(bytes);
        return at;
    }
    std::string_view text_;
    bool failed_ = false;
};

tl::unexpected<Error> damaged(const char* what) {
    return fail(ErrorCode::kInvalid, "", std::string("stored routes: ") + what);
}

void put_segments(std::string& out, const SegmentHop& hop) {
    out.push_back(static_cast<char>(hop.paths.size()));
    for (const SegmentPath& path : hop.paths) {
        put(out, path.weight);
        out.push_back(path.reduced ? 1 : 0);
        out.push_back(static_cast<char>(path.segments.size()));
        for (const Ip6& segment : path.segments)
            put(out, segment);
    }
}

void take_segments(Cursor& cursor, SegmentHop& hop) {
    hop.paths.resize(cursor.take<uint8_t>());
    for (SegmentPath& path : hop.paths) {
        path.weight = cursor.take<uint16_t>();
        path.reduced = cursor.take<uint8_t>() != 0;
        path.segments.resize(cursor.take<uint8_t>());
        for (Ip6& segment : path.segments)
            segment = cursor.take<Ip6>();
    }
}

void put_sid(std::string& out, const SidIntent& sid) {
    put(out, sid.sid.address.ipv6());
    put(out, sid.sid.length);
    put(out, sid.behavior);
    put(out, sid.flavors);
    put(out, sid.block_bits);
    put(out, sid.vrf.value());
}

SidIntent take_sid(Cursor& cursor) {
    SidIntent sid;
    sid.sid.address = IpAddress(cursor.take<Ip6>());
    sid.sid.length = cursor.take<uint8_t>();
    sid.behavior = cursor.take<SidBehavior>();
    sid.flavors = cursor.take<uint8_t>();
    sid.block_bits = cursor.take<uint8_t>();
    sid.vrf = VrfId{cursor.take<uint16_t>()};
    return sid;
}

void put_aging(std::string& out, const Aging& aging) {
    put(out, aging.idle_seconds);
    put(out, aging.vrf.value());
    put(out, aging.prefix.length);
    put(out, aging.prefix.address.family);
    put(out, aging.prefix.address.bytes);
}

Aging take_aging(Cursor& cursor) {
    Aging aging;
    aging.idle_seconds = cursor.take<uint32_t>();
    aging.vrf = VrfId{cursor.take<uint16_t>()};
    aging.prefix.length = cursor.take<uint8_t>();
    aging.prefix.address.family = cursor.take<Family>();
    aging.prefix.address.bytes = cursor.take<decltype(IpAddress::bytes)>();
    return aging;
}

bool is_sound(const Aging& aging) {
    const IpAddress& address = aging.prefix.address;
    return aging.idle_seconds > 0 && aging.vrf.value() < kMaxVrfs &&
           (address.family == Family::kIpv4 || address.family == Family::kIpv6) &&
           aging.prefix.length <= address.bits();
}

bool is_sound(const HopRequest& hop) {
    using Kind = NextHopSpec::Kind;
    const SegmentHop& segment_routing = hop.segment_routing;
    switch (hop.kind) {
        case Kind::kPort:
            return hop.has_port();
        case Kind::kBlackhole:
        case Kind::kUnreachable:
            return true;
        case Kind::kTunnel:
            return !segment_routing.paths.empty() &&
                   (!segment_routing.aging || is_sound(*segment_routing.aging)) &&
                   std::ranges::all_of(segment_routing.paths, [](const SegmentPath& path) {
                       return path.weight > 0 && !path.segments.empty() &&
                              path.segments.size() <= kMaxSegments;
                   });
        case Kind::kSid:
            return segment_routing.sid && segment_routing.sid->sid.length <= 128 &&
                   segment_routing.sid->behavior <= SidBehavior::kEndDx6 &&
                   segment_routing.sid->vrf.value() < kMaxVrfs;
        case Kind::kVrf:
            return hop.vrf.value() < kMaxVrfs;
        case Kind::kGlean:
        case Kind::kHost:
            break;
    }
    return false;
}

std::optional<StoredRouteValue> take_value(Cursor& cursor) {
    StoredRouteValue value;
    const auto kind = cursor.take<uint8_t>();
    const auto flags = cursor.take<uint8_t>();
    value.owner = cursor.text();
    value.next_hop.port = cursor.text();
    value.next_hop.kind = static_cast<NextHopSpec::Kind>(kind);
    if ((flags & kHasVia) != 0) {
        if ((flags & kViaIsIpv6) != 0) {
            value.next_hop.via = IpAddress(cursor.take<Ip6>());
        } else {
            value.next_hop.via = IpAddress(cursor.take<Ip4>());
        }
    }
    if ((flags & kHasMac) != 0) value.next_hop.mac = cursor.take<Mac>();
    SegmentHop& segment_routing = value.next_hop.segment_routing;
    if (value.next_hop.kind == NextHopSpec::Kind::kTunnel) take_segments(cursor, segment_routing);
    if (value.next_hop.kind == NextHopSpec::Kind::kSid) segment_routing.sid = take_sid(cursor);
    if (value.next_hop.kind == NextHopSpec::Kind::kVrf)
        value.next_hop.vrf = VrfId{cursor.take<uint16_t>()};
    segment_routing.reports_misses = (flags & kReportsMissed) != 0;
    if ((flags & kAges) != 0) segment_routing.aging = take_aging(cursor);
    if (cursor.failed() || value.owner.empty() || !is_sound(value.next_hop)) return std::nullopt;
    return value;
}

template <typename Address>
bool take_record(Cursor& cursor, RouteKey& key, uint32_t& value) {
    key.vrf = VrfId{cursor.take<uint16_t>()};
    const auto length = cursor.take<uint8_t>();
    cursor.take<uint8_t>();
    key.prefix = {IpAddress(cursor.take<Address>()), length};
    value = cursor.take<uint32_t>();
    return !cursor.failed() && key.vrf.value() < kMaxVrfs && length <= key.prefix.address.bits();
}

}  // namespace

uint32_t crc32c(std::string_view text, uint32_t seed) {
    uint64_t crc = ~seed;
    size_t at = 0;
    for (; at + 8 <= text.size(); at += 8) {
        uint64_t word = 0;
        std::memcpy(&word, text.data() + at, sizeof word);
        crc = _mm_crc32_u64(crc, word);
    }
    auto narrow = static_cast<uint32_t>(crc);
    for (; at < text.size(); ++at) {
        narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(text[at]));
    }
    return ~narrow;
}

void RouteChunkWriter::set(const RouteKey& key, RouteValue value) {
    const std::pair<uint32_t, uint32_t> what(uint32_t{value.hop}, uint32_t{value.owner});
    if (what != last_) {
        const auto [at, is_new] = values_.emplace(what, static_cast<uint32_t>(values_.size()) + 1);
        last_ = what;
        last_value_ = at->second;
        if (is_new) {
            const HopRequest hop = describe_(value.hop);
            uint8_t flags = 0;
            if (hop.mac) flags |= kHasMac;
            if (hop.via) flags |= kHasVia;
            if (hop.via && !hop.via->is_ipv4()) flags |= kViaIsIpv6;
            if (hop.segment_routing.reports_misses) flags |= kReportsMissed;
            if (hop.segment_routing.aging) flags |= kAges;
            put(value_bytes_, static_cast<uint8_t>(hop.kind));
            put(value_bytes_, flags);
            put_text(value_bytes_, owner_name_(value.owner));
            put_text(value_bytes_, hop.port);
            if (hop.via && hop.via->is_ipv4()) put(value_bytes_, hop.via->ipv4());
            if (hop.via && !hop.via->is_ipv4()) put(value_bytes_, hop.via->ipv6());
            if (hop.mac) put(value_bytes_, *hop.mac);
            if (hop.kind == NextHopSpec::Kind::kTunnel)
                put_segments(value_bytes_, hop.segment_routing);
            if (hop.kind == NextHopSpec::Kind::kSid)
                put_sid(value_bytes_, *hop.segment_routing.sid);
            if (hop.kind == NextHopSpec::Kind::kVrf) put(value_bytes_, hop.vrf.value());
            if (hop.segment_routing.aging) put_aging(value_bytes_, *hop.segment_routing.aging);
        }
    }
    record(key, last_value_);
}

void RouteChunkWriter::record(const RouteKey& key, uint32_t value) {
    const bool is_ipv4 = key.prefix.address.is_ipv4();
    const size_t address_bytes = is_ipv4 ? 4 : 16;
    std::array<char, 24> bytes{};
    const uint16_t vrf = key.vrf.value();
    std::memcpy(bytes.data(), &vrf, 2);
    bytes[2] = static_cast<char>(key.prefix.length);
    std::memcpy(bytes.data() + 4, key.prefix.address.bytes.data(), address_bytes);
    std::memcpy(bytes.data() + 4 + address_bytes, &value, 4);
    (is_ipv4 ? ipv4_bytes_ : ipv6_bytes_).append(bytes.data(), 8 + address_bytes);
    ++(is_ipv4 ? ipv4_records_ : ipv6_records_);
}

std::string RouteChunkWriter::finish() {
    std::string body;
    body.reserve(kHeaderBytes + value_bytes_.size() + ipv4_bytes_.size() + ipv6_bytes_.size());
    put(body, kMagic);
    put(body, uint32_t{0});
    put(body, static_cast<uint32_t>(values_.size()));
    put(body, ipv4_records_);
    put(body, ipv6_records_);
    body += value_bytes_;
    body += ipv4_bytes_;
    body += ipv6_bytes_;
    const uint32_t crc = crc32c(std::string_view(body).substr(8));
    std::memcpy(body.data() + 4, &crc, sizeof crc);
    values_.clear();
    last_ = {UINT32_MAX, UINT32_MAX};
    value_bytes_.clear();
    ipv4_bytes_.clear();
    ipv6_bytes_.clear();
    ipv4_records_ = ipv6_records_ = 0;
    return body;
}

Result<void> read_route_chunk(std::string_view chunk,
                              const std::function<void(uint32_t, StoredRouteValue)>& value,
                              const std::function<void(const RouteKey&, uint32_t)>& record) {
    Cursor cursor(chunk);
    if (cursor.take<uint32_t>() != kMagic) return damaged("not a chunk");
    if (cursor.take<uint32_t>() != crc32c(chunk.substr(std::min<size_t>(8, chunk.size())))) {
        return damaged("the checksum is wrong");
    }
    const auto values = cursor.take<uint32_t>();
    const auto ipv4_records = cursor.take<uint32_t>();
    const auto ipv6_records = cursor.take<uint32_t>();
    for (uint32_t number = 1; number <= values; ++number) {
        auto one = take_value(cursor);
        if (!one) return damaged("a next hop is malformed");
        value(number, std::move(*one));
    }
    RouteKey key;
    uint32_t number = 0;
    for (uint32_t i = 0; i < ipv4_records; ++i) {
        if (!take_record<Ip4>(cursor, key, number) || number > values) {
            return damaged("an IPv4 route is malformed");
        }
        record(key, number);
    }
    for (uint32_t i = 0; i < ipv6_records; ++i) {
        if (!take_record<Ip6>(cursor, key, number) || number > values) {
            return damaged("an IPv6 route is malformed");
        }
        record(key, number);
    }
    if (cursor.failed() || cursor.left() != 0) return damaged("a chunk has the wrong length");
    return {};
}

}  // namespace slash32
