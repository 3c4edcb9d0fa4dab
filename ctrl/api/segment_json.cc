// SPDX-License-Identifier: Apache-2.0
#include "ctrl/api/segment_json.h"

#include "ctrl/intent/port_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::Range;

namespace {

constexpr unsigned kMaxCsidBits = 64;

constexpr rpc::OneOf kBehaviors{
    std::pair{std::string_view("end"), SidBehavior::kEnd},
    std::pair{std::string_view("end.x"), SidBehavior::kEndX},
    std::pair{std::string_view("end.dt4"), SidBehavior::kEndDt4},
    std::pair{std::string_view("end.dt6"), SidBehavior::kEndDt6},
    std::pair{std::string_view("end.dt46"), SidBehavior::kEndDt46},
    std::pair{std::string_view("end.dx4"), SidBehavior::kEndDx4},
    std::pair{std::string_view("end.dx6"), SidBehavior::kEndDx6},
};
constexpr rpc::OneOf kFlavors{
    std::pair{std::string_view("psp"), kSidPsp},
    std::pair{std::string_view("usp"), kSidUsp},
    std::pair{std::string_view("usd"), kSidUsd},
    std::pair{std::string_view("next-csid"), kSidNextCsid},
};
constexpr rpc::OneOf kEncaps{std::pair{std::string_view("reduced"), true},
                             std::pair{std::string_view("full"), false}};

bool looks_up(SidBehavior behavior) {
    return behavior == SidBehavior::kEndDt4 || behavior == SidBehavior::kEndDt6 ||
           behavior == SidBehavior::kEndDt46;
}
bool is_endpoint(SidBehavior behavior) {
    return behavior == SidBehavior::kEnd || behavior == SidBehavior::kEndX;
}

std::string address_text(const Ip6& address) {
    return to_string(IpAddress(address));
}

std::string segments_text(const std::vector<Ip6>& segments) {
    std::vector<std::string> texts;
    texts.reserve(segments.size());
    for (const Ip6& segment : segments)
        texts.push_back('"' + address_text(segment) + '"');
    return fmt::format(R"("segments":[{}])", fmt::join(texts, ","));
}

}  // namespace

Result<void> decode_segments(const Json& json, const Path& path, std::vector<Ip6>& out) {
    std::vector<IpAddress> addresses;
    if (auto ok = rpc::decode(json, path, addresses, Count{1, kMaxSegments}); !ok) return ok;
    out.clear();
    out.reserve(addresses.size());
    for (size_t i = 0; i < addresses.size(); ++i) {
        const IpAddress& address = addresses[i];
        const Path here(path, i);
        if (address.is_ipv4()) return rpc::invalid(here, "a segment is an IPv6 address");
        if (const char* why = unfit_address(address)) return rpc::invalid(here, why);
        if (address.ipv6().is_link_local())
            return rpc::invalid(here, "must not be link-local: none is routed");
        out.push_back(address.ipv6());
    }
    return {};
}

Result<void> decode_encap(const Json& json, const Path& path, bool& reduced) {
    return rpc::decode(json, path, reduced, kEncaps);
}

Result<void> decode(const Json& json, const Path& path, SegmentPath& out) {
    Fields fields(json, path);
    const Json* segments = fields.find("segments");
    fields.check(segments != nullptr, "segments", "is required")
        .optional("encap", out.reduced, kEncaps)
        .optional("weight", out.weight, Range{1, kGroupBuckets});
    if (auto ok = fields.done(); !ok) return ok;
    return decode_segments(*segments, Path(path, "segments"), out.segments);
}

Result<void> check_paths(const std::vector<SegmentPath>& paths, const Path& path) {
    const auto same = [](const SegmentPath& a, const SegmentPath& b) {
        return a.segments == b.segments && a.reduced == b.reduced;
    };
    for (size_t i = 1; i < paths.size(); ++i) {
        const auto end = paths.begin() + static_cast<std::ptrdiff_t>(i);
        const auto twin = std::find_if(
            paths.begin(), end, [&](const SegmentPath& other) { return same(other, paths[i]); });
        if (twin != end)
            return rpc::invalid(Path(path, i),
                                fmt::format("is the same as element {}", twin - paths.begin()));
    }
    return {};
}

Result<void> decode_sid(const Json& json, const Path& path, HopRequest& out) {
    Fields fields(json, path);
    SidIntent sid;
    std::optional<uint16_t> vrf;
    std::optional<uint8_t> block;
    std::optional<std::string> port;
    std::vector<SidFlavor> flavors;
    fields.required("behavior", sid.behavior, kBehaviors)
        .optional("flavors", flavors, Count{0, kFlavors.names.size()}, kFlavors)
        .optional("vrf", vrf, Range{0, kMaxVrfs - 1})
        .optional("block", block, Range{1, 127})
        .optional("port", port, Name{15})
        .optional("via", out.via)
        .optional("mac", out.mac);
    if (fields.failed()) return fields.done();
    for (const SidFlavor flavor : flavors)
        sid.flavors |= flavor;
    const bool compressed = (sid.flavors & kSidNextCsid) != 0;
    const bool forwards = sid.behavior == SidBehavior::kEndX ||
                          sid.behavior == SidBehavior::kEndDx4 ||
                          sid.behavior == SidBehavior::kEndDx6;
    fields
        .check(is_endpoint(sid.behavior) || (sid.flavors & ~kSidNextCsid) == 0, "flavors",
               "psp, usp and usd are of end and end.x")
        .check(vrf.has_value() == looks_up(sid.behavior), "vrf",
               looks_up(sid.behavior) ? "is required" : "is only for end.dt4, end.dt6 and end.dt46")
        .check(port.has_value() == forwards, "port",
               forwards ? "is required" : "is only for end.x, end.dx4 and end.dx6")
        .check(port.has_value() || !out.via, "via", "is only for a port")
        .check(port.has_value() || !out.mac, "mac", "is only for a port")
        .check(block.has_value() == compressed, "block",
               compressed ? "is required: bits of the locator block" : "is only for next-csid");
    if (auto ok = fields.done(); !ok) return ok;
    sid.vrf = VrfId{vrf.value_or(0)};
    sid.block_bits = block.value_or(0);
    if (port) out.port = std::move(*port);
    out.kind = NextHopSpec::Kind::kSid;
    out.segment_routing.sid = sid;
    return {};
}

Result<void> take_sid_prefix(RouteGroup& group, const Path& path) {
    SidIntent& sid = *group.next_hop.segment_routing.sid;
    if (group.prefixes.size() != 1)
        return rpc::invalid(Path(path, "prefixes"), "a segment has one prefix");
    if (group.vrf != VrfId{0})
        return rpc::invalid(Path(path, "vrf"), "segments are in VRF 0, where the fabric is");
    const IpPrefix& prefix = group.prefixes.front();
    const Path prefixes(path, "prefixes");
    if (prefix.address.is_ipv4())
        return rpc::invalid(Path(prefixes, size_t{0}), "a segment is an IPv6 prefix");
    if ((sid.flavors & kSidNextCsid) != 0 &&
        (prefix.length <= sid.block_bits || prefix.length > sid.block_bits + kMaxCsidBits)) {
        return rpc::invalid(
            Path(prefixes, size_t{0}),
            fmt::format("must be 1 to {} bits longer than the locator block", kMaxCsidBits));
    }
    sid.sid = prefix;
    return {};
}

namespace {

std::string paths_text(const std::vector<SegmentPath>& paths) {
    const auto encap = [](const SegmentPath& path) {
        return path.reduced ? "" : R"(,"encap":"full")";
    };
    if (paths.size() == 1) return segments_text(paths.front().segments) + encap(paths.front());
    std::string out = R"("paths":[)";
    for (const SegmentPath& path : paths) {
        if (&path != &paths.front()) out += ',';
        fmt::format_to(std::back_inserter(out), R"({{{}{},"weight":{}}})",
                       segments_text(path.segments), encap(path), path.weight);
    }
    return out += ']';
}

}  // namespace

std::string tunnel_text(const SegmentHop& tunnel) {
    std::string out = paths_text(tunnel.paths);
    if (tunnel.reports_misses) out += R"(,"report_misses":true)";
    if (tunnel.aging) out += fmt::format(R"(,"idle_timeout":{})", tunnel.aging->idle_seconds);
    return out;
}

std::string sid_text(const SidIntent& sid, const std::string& over) {
    const auto* behavior = std::ranges::find(kBehaviors.names, sid.behavior,
                                             &std::pair<std::string_view, SidBehavior>::second);
    std::string out = fmt::format(R"("sid":{{"behavior":"{}")", behavior->first);
    std::vector<std::string> flavors;
    for (const auto& [name, flavor] : kFlavors.names) {
        if ((sid.flavors & flavor) != 0) flavors.push_back(fmt::format("\"{}\"", name));
    }
    if (!flavors.empty()) out += fmt::format(R"(,"flavors":[{}])", fmt::join(flavors, ","));
    if (looks_up(sid.behavior)) out += fmt::format(R"(,"vrf":{})", sid.vrf.value());
    if (sid.block_bits != 0) out += fmt::format(R"(,"block":{})", sid.block_bits);
    return out + over + '}';
}

}  // namespace slash32
