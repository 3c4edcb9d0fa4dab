// SPDX-License-Identifier: Apache-2.0
// host.status, host.routes, host.drain, host.undrain.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/rpc/decode.h"

#include <array>
#include <optional>
#include <utility>

namespace slash32 {

using rpc::Fields;
using rpc::Json;
using rpc::Path;
using rpc::Range;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr rpc::OneOf kModes{std::pair{std::string_view("withdraw"), Drain::kWithdraw},
                            std::pair{std::string_view("worsen"), Drain::kWorsen}};

std::string_view drain_name(Drain drain) {
    for (const auto& [name, value] : kModes.names)
        if (value == drain) return name;
    return "none";
}

Json host_json(const HostStatus& status) {
    Json out = {{"drain", drain_name(status.drain)}};
    if (status.announces) {
        Json& announce = out["announce"] = {{"routes", status.announced}};
        if (!status.problem.empty()) announce["problem"] = status.problem;
    }
    if (!status.follows) return out;
    out["kernel"] = {{"complete", status.complete}, {"prefixes", status.prefixes},
                     {"groups", status.groups},     {"unresolved", status.unresolved},
                     {"failed", status.failed},     {"messages", status.messages},
                     {"dumps", status.dumps},       {"overruns", status.overruns},
                     {"unknown", status.unknown}};
    out["neighbors"] = {{"known", status.neighbors},
                        {"failed", status.neighbors_failed},
                        {"packets_held", status.packets_held},
                        {"packets_released", status.packets_released},
                        {"packets_lost", status.packets_lost}};
    return out;
}

Json route_json(const FollowedRoute& route) {
    Json out = {{"vrf", route.vrf.value()},  {"prefix", to_string(route.prefix)},
                {"table", route.table},      {"metric", route.metric},
                {"type", route.type},        {"used", route.used},
                {"resolved", route.resolved}};
    if (route.next_hop_object != 0) out["next_hop_object"] = route.next_hop_object;
    Json& ways = out["ways"] = Json::array();
    for (const FollowedRoute::Way& way : route.ways) {
        Json& one = ways.emplace_back(Json{{"interface", way.interface}, {"weight", way.weight}});
        if (way.via) one["via"] = to_string(*way.via);
        for (const Ip6& segment : way.segments)
            one["segments"].push_back(to_string(IpAddress(segment)));
        if (way.segment) one["segment"] = true;
    }
    return out;
}

}  // namespace

void Api::host_routes(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    ListOptions options;
    FollowedRouteFilter filter;
    std::optional<uint16_t> vrf;
    fields.optional("limit", options.limit, Range{1, kListLimitMax})
        .optional("cursor", options.cursor, rpc::Length{1, 256})
        .optional("vrf", vrf, Range{0, kMaxVrfs - 1})
        .optional("within", filter.within)
        .optional("unresolved", filter.unresolved);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    if (host_ == nullptr) return reply.error({ErrorCode::kUnavailable, "", "there is no host"});
    filter.vrf = vrf_of(vrf);
    const auto from = read_place(options.cursor);
    if (!from) return reply.error(from.error());
    const auto page = host_->routes(filter, *from, options.limit);
    Json routes = Json::array();
    for (const FollowedRoute& route : page.routes)
        routes.push_back(route_json(route));
    Json result = {{"seq", events_.seq()}, {"routes", std::move(routes)}};
    if (page.next) result["cursor"] = std::to_string(*page.next);
    reply.ok(std::move(result));
}

void Api::host_status(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    if (host_ == nullptr) return reply.error({ErrorCode::kUnavailable, "", "there is no host"});
    reply.ok(host_json(host_->status()));
}

void Api::host_drain(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    Drain mode = Drain::kWithdraw;
    fields.optional("mode", mode, kModes);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    set_drain(mode, std::move(reply));
}

void Api::host_undrain(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    set_drain(Drain::kNone, std::move(reply));
}

void Api::set_drain(Drain drain, Reply reply) {
    if (host_ == nullptr) return reply.error({ErrorCode::kUnavailable, "", "there is no host"});
    if (auto set = host_->set_drain(drain); !set) return reply.error(set.error());
    reply.ok(host_json(host_->status()));
}

}  // namespace slash32
