// SPDX-License-Identifier: Apache-2.0
// sid.list: the segments of this node, and what has come for each.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"

#include <fmt/format.h>

namespace slash32 {

using rpc::Fields;
using rpc::Json;
using rpc::Path;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr VrfId kWhereSegmentsAre{0};

}  // namespace

void Api::sid_list(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    ListOptions filter;
    read_list_options(fields, filter);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    // The cursor is the prefix of the last one.
    std::optional<IpPrefix> after;
    if (filter.cursor) {
        after = parse_prefix(*filter.cursor);
        if (!after || after->address.is_ipv4()) return reply.error(bad_cursor().value());
    }
    intent_.read([this, filter, after, done = answer(std::move(reply))](State& state) {
        Json sids = Json::array();
        Json result = {{"seq", events_.seq()}};
        size_t visited = 0;
        IpPrefix last;
        RouteKey from{kWhereSegmentsAre, {IpAddress(Ip6{}), 0}};
        if (after) from.prefix = *after;
        state.routes.visit_from(from, [&](const RouteKey& key, RouteValue value) {
            if (key.vrf != kWhereSegmentsAre) return false;
            if (after && key.prefix == *after) return true;
            if (sids.size() == filter.limit || visited == kVisitedMax) {
                result["cursor"] = to_string(last);
                return false;
            }
            ++visited;
            last = key.prefix;
            if (value.origin_port != 0) return true;
            const std::string& owner = state.owners.name(value.owner);
            if (state.hops.spec(value.hop).kind != NextHopSpec::Kind::kSid) return true;
            if (filter.owner && owner != *filter.owner) return true;
            const SegmentStats stats = telemetry_.segment(state.hops.id(value.hop));
            sids.push_back({{"prefix", to_string(key.prefix)},
                            {"sid", next_hop_json(value.hop)["sid"]},
                            {"owner", owner},
                            {"packets", stats.packets},
                            {"bytes", stats.bytes}});
            return true;
        });
        result["sids"] = std::move(sids);
        done(std::move(result));
    });
}

}  // namespace slash32
