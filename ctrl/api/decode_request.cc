// SPDX-License-Identifier: Apache-2.0
#include "ctrl/api/decode_request.h"

#include "ctrl/api/segment_json.h"
#include "ctrl/intent/port_json.h"

#include <charconv>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Length;
using rpc::Name;
using rpc::Path;
using rpc::Range;

namespace {

constexpr int64_t kMaxIdle_s = 7 * 24 * 3600;
constexpr size_t kPrefixesMax = 1'000'000;  // of a request; its frame is the real limit
constexpr int64_t kMaxVrf = kMaxVrfs - 1;

Result<void> check_next_hop(const HopRequest& hop, const Path& path) {
    if (hop.via) {
        if (const char* why = unfit_address(*hop.via)) {
            return rpc::invalid(Path(path, "via"), why);
        }
    }
    return hop.mac ? check_unicast(*hop.mac, Path(path, "mac")) : Result<void>{};
}

// The members of a next hop that are of tunnels, nullptr where there is none.
struct TunnelMembers {
    const Json* segments;
    const Json* encap;
    const Json* paths;
    bool given() const { return segments != nullptr || paths != nullptr; }
};

Result<void> decode_tunnel(const TunnelMembers& from, const Path& path,
                           std::vector<SegmentPath>& out) {
    if (from.paths != nullptr) {
        const Path here(path, "paths");
        if (auto ok = rpc::decode(*from.paths, here, out, Count{1, kMaxGroupMembers}); !ok)
            return ok;
        return check_paths(out, here);
    }
    SegmentPath one;
    if (from.encap != nullptr) {
        if (auto ok = decode_encap(*from.encap, Path(path, "encap"), one.reduced); !ok) return ok;
    }
    if (auto ok = decode_segments(*from.segments, Path(path, "segments"), one.segments); !ok)
        return ok;
    out = {std::move(one)};
    return {};
}

}  // namespace

void read_write_options(Fields& fields, WriteOptions& out, bool with_sync) {
    fields.optional("owner", out.owner, Name{})
        .optional("force", out.force)
        .optional("dry_run", out.dry_run);
    if (with_sync) fields.optional("sync", out.sync);
}

Result<void> check_write_options(const WriteOptions& options) {
    if (!options.sync || !options.dry_run) return {};
    return fail(ErrorCode::kInvalid, "$.params.dry_run",
                "not in a sync: sync.commit has a dry_run for the whole");
}

void read_list_options(Fields& fields, ListOptions& out) {
    fields.optional("limit", out.limit, Range{1, kListLimitMax})
        .optional("cursor", out.cursor, Length{1, 256})
        .optional("owner", out.owner, Name{});
}

tl::unexpected<Error> bad_cursor() {
    return fail(ErrorCode::kInvalid, "$.params.cursor", "is not one that a list has given");
}

Result<uint64_t> read_place(const std::optional<std::string>& cursor) {
    uint64_t place = 0;
    if (!cursor) return place;
    const char* last = cursor->data() + cursor->size();
    const auto [end, error] = std::from_chars(cursor->data(), last, place);
    if (error != std::errc{} || end != last) return bad_cursor();
    return place;
}

Result<void> decode(const Json& json, const Path& path, HopRequest& out) {
    Fields fields(json, path);
    std::optional<std::string> port;
    bool blackhole = false;
    bool unreachable = false;
    fields.optional("port", port, Name{15})
        .optional("via", out.via)
        .optional("mac", out.mac)
        .optional("blackhole", blackhole)
        .optional("unreachable", unreachable);
    const Json* segments = fields.find("segments");
    const Json* encap = fields.find("encap");
    const Json* paths = fields.find("paths");
    const Json* sid = fields.find("sid");
    std::optional<uint16_t> vrf;
    std::optional<uint32_t> idle;
    bool report_misses = false;
    fields.optional("vrf", vrf, Range{0, kMaxVrf})
        .optional("report_misses", report_misses)
        .optional("idle_timeout", idle, Range{1, kMaxIdle_s});
    if (auto ok = fields.done(); !ok) return ok;
    if (int{port.has_value()} + int{blackhole} + int{unreachable} + int{segments != nullptr} +
            int{paths != nullptr} + int{sid != nullptr} + int{vrf.has_value()} !=
        1) {
        return rpc::invalid(
            path,
            "must have one of port, segments, paths, sid, vrf, blackhole: true, unreachable: true");
    }
    if (!port && (out.via || out.mac)) {
        return rpc::invalid(Path(path, out.via ? "via" : "mac"), "is only for a port");
    }
    const TunnelMembers tunnel{segments, encap, paths};
    if (encap != nullptr && segments == nullptr)
        return rpc::invalid(Path(path, "encap"), "is only for segments");
    if (!tunnel.given() && (report_misses || idle)) {
        return rpc::invalid(Path(path, idle ? "idle_timeout" : "report_misses"),
                            "is only for segments and paths");
    }
    if (vrf) {
        out.kind = NextHopSpec::Kind::kVrf;
        out.vrf = VrfId{*vrf};
        return {};
    }
    if (sid != nullptr) {
        if (auto ok = decode_sid(*sid, Path(path, "sid"), out); !ok) return ok;
        return check_next_hop(out, Path(path, "sid"));
    }
    if (tunnel.given()) {
        out.kind = NextHopSpec::Kind::kTunnel;
        out.segment_routing.reports_misses = report_misses;
        if (idle) out.segment_routing.aging = Aging{.idle_seconds = *idle, .vrf = {}, .prefix = {}};
        return decode_tunnel(tunnel, path, out.segment_routing.paths);
    }
    out.kind = port        ? NextHopSpec::Kind::kPort
               : blackhole ? NextHopSpec::Kind::kBlackhole
                           : NextHopSpec::Kind::kUnreachable;
    if (port) out.port = std::move(*port);
    return check_next_hop(out, path);
}

Result<void> decode(const Json& json, const Path& path, RouteGroup& out) {
    Fields fields(json, path);
    uint16_t vrf = 0;
    fields.optional("vrf", vrf, Range{0, kMaxVrf})
        .required("prefixes", out.prefixes, Count{1, kPrefixesMax})
        .required("next_hop", out.next_hop);
    out.vrf = VrfId{vrf};
    if (auto ok = fields.done(); !ok) return ok;
    if (out.next_hop.kind == NextHopSpec::Kind::kVrf && out.next_hop.vrf == out.vrf)
        return rpc::invalid(Path(Path(path, "next_hop"), "vrf"), "is the route's own");
    if (out.next_hop.kind == NextHopSpec::Kind::kSid) return take_sid_prefix(out, path);
    if (std::optional<Aging>& aging = out.next_hop.segment_routing.aging) {
        if (out.prefixes.size() != 1)
            return rpc::invalid(Path(path, "prefixes"), "a route with an idle_timeout has one");
        aging->vrf = out.vrf;
        aging->prefix = out.prefixes.front();
    }
    return {};
}

std::string_view change_name(const Done& done) {
    if (done.counts.added > 0) return "added";
    return done.counts.changed > 0 ? "changed" : "unchanged";
}

const char* op_name(bool had, bool has) {
    if (!had) return "add";
    return has ? "change" : "remove";
}

std::optional<VrfId> vrf_of(const std::optional<uint16_t>& number) {
    return number ? std::optional(VrfId{*number}) : std::nullopt;
}

}  // namespace slash32
