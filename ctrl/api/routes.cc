// SPDX-License-Identifier: Apache-2.0
// route.apply, route.delete, route.get, route.list.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/api/segment_json.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::Range;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr size_t kGroupsMax = 1'000'000;  // of a request; its frame is the real limit
constexpr rpc::OneOf kFamilies{std::pair{std::string_view("ipv4"), Family::kIpv4},
                               std::pair{std::string_view("ipv6"), Family::kIpv6}};

// A group of a deletion: no next hop.
struct PrefixGroup {
    RouteGroup group;
};

Result<void> decode(const Json& json, const Path& path, PrefixGroup& out) {
    Fields fields(json, path);
    uint16_t vrf = 0;
    fields.optional("vrf", vrf, Range{0, kMaxVrfs - 1})
        .required("prefixes", out.group.prefixes, Count{1, kGroupsMax});
    out.group.vrf = VrfId{vrf};
    return fields.done();
}

// Where a listing goes on: "VRF,prefix" of the last route of the page before.
std::string make_cursor(const RouteKey& key) {
    return fmt::format("{},{}", key.vrf.value(), to_string(key.prefix));
}

std::optional<RouteKey> read_cursor(std::string_view text) {
    const size_t comma = text.find(',');
    if (comma == std::string_view::npos) return std::nullopt;
    uint16_t vrf = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + comma, vrf);
    const auto prefix = parse_prefix(text.substr(comma + 1));
    if (error != std::errc{} || end != text.data() + comma || vrf >= kMaxVrfs || !prefix) {
        return std::nullopt;
    }
    return RouteKey{VrfId{vrf}, *prefix};
}

struct RouteFilter : ListOptions {
    std::optional<uint16_t> vrf;
    std::optional<Family> family;
    std::optional<IpPrefix> within;
    std::optional<std::string> port;
};

}  // namespace

std::string next_hop_text(const State& state, uint32_t index) {
    const HopSpec& hop = state.hops.spec(index);
    std::string over;
    if (hop.has_port()) over = fmt::format(R"("port":"{}")", state.ports.at(hop.port).name);
    if (hop.via) over += fmt::format(R"(,"via":"{}")", to_string(*hop.via));
    if (hop.mac) over += fmt::format(R"(,"mac":"{}")", to_string(*hop.mac));
    switch (hop.kind) {
        case NextHopSpec::Kind::kBlackhole:
            return R"({"blackhole":true})";
        case NextHopSpec::Kind::kUnreachable:
            return R"({"unreachable":true})";
        case NextHopSpec::Kind::kVrf:
            return fmt::format(R"({{"vrf":{}}})", hop.vrf.value());
        case NextHopSpec::Kind::kTunnel:
            return '{' + tunnel_text(hop.segment_routing) + '}';
        case NextHopSpec::Kind::kSid:
            if (!over.empty()) over.insert(0, 1, ',');
            return '{' + sid_text(*hop.segment_routing.sid, over) + '}';
        default:
            return '{' + over + '}';
    }
}

// Writes routes as JSON text: a page of 10,000 is not built as a document first. Names need no
// escaping: they are of [A-Za-z0-9_.-].
class RouteText {
  public:
    explicit RouteText(const State& state) : state_(state) {}

    void write(std::string& out, const RouteKey& key, RouteValue value) {
        const bool of_port = value.origin_port != 0;
        const bool stale = of_port ? state_.ports.at(uint16_t(value.hop)).stale : value.stale != 0;
        fmt::format_to(std::back_inserter(out),
                       R"({{"vrf":{},"prefix":"{}","next_hop":{},"owner":"{}",)"
                       R"("origin":"{}","stale":{}}})",
                       key.vrf.value(), to_string(key.prefix), next_hop(value),
                       state_.owners.name(value.owner), of_port ? "port" : "static", stale);
    }

  private:
    const std::string& next_hop(RouteValue value) {
        const auto key = std::make_pair(uint32_t{value.hop}, value.origin_port != 0);
        if (key == last_) return text_;
        last_ = key;
        if (key.second) {
            text_ = fmt::format(R"({{"port":"{}"}})", state_.ports.at(uint16_t(value.hop)).name);
            return text_;
        }
        return text_ = next_hop_text(state_, value.hop);
    }

    const State& state_;
    std::pair<uint32_t, bool> last_{UINT32_MAX, false};
    std::string text_;
};

namespace {

class RouteLister {
  public:
    RouteLister(const State& state, const RouteFilter& filter) : state_(state), filter_(filter) {
        if (filter.port) port_ = state.ports.find(*filter.port);
    }

    // The page; `cursor` is set when there may be more.
    std::string list(std::optional<RouteKey> after, std::optional<std::string>& cursor) {
        std::string out;
        RouteText text(state_);
        size_t written = 0;
        size_t visited = 0;
        RouteKey last;
        state_.routes.visit_from(first(after), [&](const RouteKey& key, RouteValue value) {
            if (after && key == *after) return true;
            if (is_past_end(key)) return false;
            if (written == filter_.limit || visited == kVisitedMax) {
                cursor = make_cursor(last);
                return false;
            }
            ++visited;
            last = key;
            if (!matches(key, value)) return true;
            if (written++ > 0) out += ',';
            text.write(out, key, value);
            return true;
        });
        return out;
    }

  private:
    // Where to begin: the cursor, or what the filter lets skip.
    RouteKey first(const std::optional<RouteKey>& after) const {
        RouteKey from;
        if (filter_.family) from.prefix.address.family = *filter_.family;
        if (filter_.within) from.prefix.address.family = filter_.within->address.family;
        if (filter_.vrf && (filter_.family || filter_.within)) {
            from.vrf = VrfId{*filter_.vrf};
            if (filter_.within) from.prefix = *filter_.within;
        }
        return after && from < *after ? *after : from;
    }
    bool is_past_end(const RouteKey& key) const {
        const Family family = key.prefix.address.family;
        if (filter_.family && family > *filter_.family) return true;
        if (filter_.within && family > filter_.within->address.family) return true;
        if (!filter_.vrf || !(filter_.family || filter_.within)) return false;
        if (key.vrf.value() > *filter_.vrf) return true;
        // Behind its first address, what is not within the prefix is past it.
        return filter_.within && key.vrf.value() == *filter_.vrf &&
               filter_.within->address < key.prefix.address &&
               !filter_.within->contains(key.prefix.address);
    }
    bool matches(const RouteKey& key, RouteValue value) const {
        if (filter_.vrf && key.vrf.value() != *filter_.vrf) return false;
        if (filter_.family && key.prefix.address.family != *filter_.family) return false;
        if (filter_.within && (key.prefix.length < filter_.within->length ||
                               !filter_.within->contains(key.prefix.address))) {
            return false;
        }
        if (filter_.owner && state_.owners.name(value.owner) != *filter_.owner) return false;
        if (!filter_.port) return true;
        if (value.origin_port != 0) return value.hop == port_;
        const HopSpec& hop = state_.hops.spec(value.hop);
        return hop.leads_over(port_);
    }

    const State& state_;
    const RouteFilter& filter_;
    uint16_t port_ = PortTable::kNone;
};

}  // namespace

void Api::route_apply(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    RouteApply request;
    WriteOptions options;
    fields.required("routes", request.routes, Count{1, kGroupsMax});
    read_write_options(fields, options, true);
    auto ok = fields.done();
    if (ok) ok = check_write_options(options);
    if (!ok) return reply.error(ok.error());
    request.owner = options.owner;
    request.force = options.force;
    if (options.sync) return stage(session, options, std::move(request), std::move(reply));
    change(options, std::move(request), std::move(reply), [](const Done& done) {
        return Json{{"added", done.counts.added},
                    {"changed", done.counts.changed},
                    {"unchanged", done.counts.unchanged},
                    {"revision", done.revision},
                    {"seq", done.seq},
                    {"programmed", true}};
    });
}

void Api::route_delete(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::vector<PrefixGroup> groups;
    WriteOptions options;
    fields.required("routes", groups, Count{1, kGroupsMax});
    read_write_options(fields, options, false);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    RouteDelete request{options.owner, options.force, {}};
    for (PrefixGroup& group : groups)
        request.routes.push_back(std::move(group.group));
    change(options, std::move(request), std::move(reply), [](const Done& done) {
        return Json{{"removed", done.counts.removed},
                    {"missing", done.counts.missing},
                    {"revision", done.revision},
                    {"seq", done.seq},
                    {"programmed", true}};
    });
}

void Api::route_get(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    uint16_t vrf = 0;
    std::optional<IpPrefix> prefix;
    std::optional<IpAddress> address;
    fields.optional("vrf", vrf, Range{0, kMaxVrfs - 1})
        .optional("prefix", prefix)
        .optional("address", address)
        .check(prefix || address, "prefix", "is required, or address")
        .check(!prefix || !address, "address", "not together with prefix");
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    auto shared = std::make_shared<Reply>(std::move(reply));
    intent_.read([this, vrf, prefix, address, shared](State& state) {
        std::optional<RouteKey> key;
        if (prefix) {
            key = RouteKey{VrfId{vrf}, *prefix};
        } else {
            key = state.routes.longest_match(VrfId{vrf}, *address);
        }
        const RouteValue* value = key ? state.routes.find(*key) : nullptr;
        if (value == nullptr) {
            return shared->error({ErrorCode::kNotFound,
                                  prefix ? "$.params.prefix" : "$.params.address",
                                  "there is no such route"});
        }
        std::string text;
        RouteText(state).write(text, *key, *value);
        shared->ok_raw(fmt::format(R"({{"seq":{},"route":{}}})", events_.seq(), text));
    });
}

void Api::route_list(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    RouteFilter filter;
    read_list_options(fields, filter);
    fields.optional("vrf", filter.vrf, Range{0, kMaxVrfs - 1})
        .optional("family", filter.family, kFamilies)
        .optional("within", filter.within)
        .optional("port", filter.port, Name{15});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    std::optional<RouteKey> after;
    if (filter.cursor) {
        after = read_cursor(*filter.cursor);
        if (!after) return reply.error(bad_cursor().value());
    }
    auto shared = std::make_shared<Reply>(std::move(reply));
    intent_.read([this, filter, after, shared](State& state) {
        if (filter.port && state.ports.find(*filter.port) == PortTable::kNone) {
            return shared->error({ErrorCode::kNotFound, "$.params.port",
                                  fmt::format("there is no port {}", *filter.port)});
        }
        std::optional<std::string> cursor;
        const std::string routes = RouteLister(state, filter).list(after, cursor);
        std::string out = fmt::format(R"({{"seq":{},"routes":[{}])", events_.seq(), routes);
        if (cursor) out += fmt::format(R"(,"cursor":"{}")", *cursor);
        shared->ok_raw(out + '}');
    });
}

}  // namespace slash32
