// SPDX-License-Identifier: Apache-2.0
// conntrack.list, conntrack.count, conntrack.flush, conntrack.config.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/intent/group_json.h"

#include <fmt/format.h>

namespace slash32 {

using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::Range;
using rpc::Reply;
using rpc::Session;

namespace {

const Error kNoService{ErrorCode::kUnavailable, "", "this daemon has no flow table"};

// The members of a filter; after fields.done() finish_filter() reads the rest.
struct FilterFields {
    FlowFilter filter;
    std::optional<std::string> port;
    std::optional<uint16_t> vrf;
    const Json* protocol = nullptr;

    void read(Fields& fields) {
        fields.optional("port", port, Name{15})
            .optional("vrf", vrf, Range{0, kMaxVrfs - 1})
            .optional("src", filter.src)
            .optional("dst", filter.dst)
            .optional("sport", filter.sport)
            .optional("dport", filter.dport);
        protocol = fields.find("protocol");
    }
    Result<void> finish(const Path& path, const State& state) {
        filter.vrf = vrf_of(vrf);
        if (protocol != nullptr) {
            filter.protocol.emplace();
            auto ok = decode_protocol(*protocol, Path(path, "protocol"), *filter.protocol);
            if (!ok) return ok;
        }
        if (!port) return {};
        const uint16_t index = state.ports.find(*port);
        if (index == PortTable::kNone)
            return fail(ErrorCode::kNotFound, "$.params.port",
                        fmt::format("there is no port {}", *port));
        const PortSlot& slot = state.ports.at(index);
        filter.port = slot.is_uplink() ? kNoPort : slot.id;  // uplinks are one to flows
        return {};
    }
};

Json settings_json(const FlowSettings& settings) {
    return {{"flows_per_port", settings.flows_per_port.value_or(0)},
            {"half_open_per_port", settings.half_open_per_port.value_or(0)},
            {"half_open", settings.half_open.value_or(0)},
            {"tcp_loose", settings.tcp_loose.value_or(true)},
            {"tcp_liberal", settings.tcp_liberal.value_or(false)},
            {"timeouts", settings.timeouts}};
}

// Found by argument-dependent lookup only for types of ours, so read by hand.
Result<void> read_timeouts(const Json* json, const Path& path,
                           std::map<std::string, uint32_t>& out) {
    if (json == nullptr) return {};
    if (!json->is_object()) return rpc::invalid(path, "must be an object");
    for (const auto& [name, value] : json->items()) {
        if (auto ok = rpc::decode(value, Path(path, name), out[name]); !ok) return ok;
    }
    return {};
}

}  // namespace

Json Api::flow_json(const FlowRecord& flow) const {
    const State& state = intent_.state();
    Json out = {{"vrf", flow.vrf.value()},    {"protocol", protocol_name(flow.protocol)},
                {"src", to_string(flow.src)}, {"dst", to_string(flow.dst)},
                {"sport", flow.sport},        {"dport", flow.dport},
                {"state", flow.state},        {"phase", flow.phase},
                {"age_s", flow.age_s},        {"expires_s", flow.expires_s}};
    const auto put = [&](const char* member, PortId port) {
        const uint16_t index = port != kNoPort ? state.ports.find(port) : PortTable::kNone;
        if (index != PortTable::kNone) out[member] = state.ports.at(index).name;
    };
    put("in", flow.in);
    put("out", flow.out);
    return out;
}

void Api::conntrack_list(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    ListOptions options;
    FilterFields filter;
    fields.optional("limit", options.limit, Range{1, kListLimitMax})
        .optional("cursor", options.cursor, rpc::Length{1, 256});
    filter.read(fields);
    auto ok = fields.done();
    if (ok) ok = filter.finish(path, intent_.state());
    if (!ok) return reply.error(ok.error());
    if (conntrack_ == nullptr) return reply.error(kNoService);
    const auto from = read_place(options.cursor);
    if (!from) return reply.error(from.error());
    const auto page = conntrack_->list(filter.filter, *from, options.limit);
    Json flows = Json::array();
    for (const FlowRecord& flow : page.flows)
        flows.push_back(flow_json(flow));
    Json result = {{"seq", events_.seq()}, {"flows", std::move(flows)}};
    if (page.next) result["cursor"] = std::to_string(*page.next);
    reply.ok(std::move(result));
}

void Api::conntrack_count(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    if (auto ok = Fields(params, path).done(); !ok) return reply.error(ok.error());
    if (conntrack_ == nullptr) return reply.error(kNoService);
    const FlowCounts counts = conntrack_->counts();
    reply.ok({{"flows", counts.flows},
              {"half_open", counts.half_open},
              {"capacity", counts.capacity},
              {"bytes", counts.bytes},
              {"config", settings_json(conntrack_->settings())}});
}

void Api::conntrack_flush(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    FilterFields filter;
    filter.read(fields);
    auto ok = fields.done();
    if (ok) ok = filter.finish(path, intent_.state());
    if (!ok) return reply.error(ok.error());
    if (conntrack_ == nullptr) return reply.error(kNoService);
    conntrack_->flush(filter.filter, [done = answer(std::move(reply))](uint64_t flushed) {
        done(Json{{"flushed", flushed}});
    });
}

void Api::conntrack_config(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    FlowSettings settings;
    const Range range{1, kMaxFlows};
    fields.optional("flows_per_port", settings.flows_per_port, range)
        .optional("half_open_per_port", settings.half_open_per_port, range)
        .optional("half_open", settings.half_open, range)
        .optional("tcp_loose", settings.tcp_loose)
        .optional("tcp_liberal", settings.tcp_liberal);
    const Json* timeouts = fields.find("timeouts");
    auto ok = fields.done();
    if (ok) ok = read_timeouts(timeouts, Path(path, "timeouts"), settings.timeouts);
    if (!ok) return reply.error(ok.error());
    if (conntrack_ == nullptr) return reply.error(kNoService);
    if (auto set = conntrack_->set(settings); !set) {
        Error error = set.error();
        error.path = "$.params." + error.path;
        return reply.error(std::move(error));
    }
    reply.ok(settings_json(conntrack_->settings()));
}

}  // namespace slash32
