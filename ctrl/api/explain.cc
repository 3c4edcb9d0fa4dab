// SPDX-License-Identifier: Apache-2.0
// explain, capture.start, capture.stop: decoded here, carried out by services.h.
#include "ctrl/api/api.h"
#include "ctrl/intent/group_json.h"
#include "ctrl/intent/port_json.h"
#include "ctrl/rpc/decode.h"

#include <fmt/format.h>

#include <array>

namespace slash32 {

using rpc::Fields;
using rpc::Json;
using rpc::Length;
using rpc::Path;
using rpc::PortName;
using rpc::Range;
using rpc::Reply;
using rpc::Session;

namespace {

using Direction = CaptureQuery::Direction;
constexpr rpc::OneOf kDirections{std::pair{std::string_view("in"), Direction::kIn},
                                 std::pair{std::string_view("out"), Direction::kOut},
                                 std::pair{std::string_view("both"), Direction::kBoth},
                                 std::pair{std::string_view("dropped"), Direction::kDropped}};
constexpr uint32_t kSnapBytesMax = 65535;

// A service names its fields without the root.
Error with_root(Error error) {
    if (!error.path.empty()) error.path = "$.params." + error.path;
    return error;
}

Result<PortId> find_port(const State& state, const std::string& name) {
    const uint16_t index = state.ports.find(name);
    if (index == PortTable::kNone) {
        return fail(ErrorCode::kNotFound, "$.params.port",
                    fmt::format("there is no port {}", name));
    }
    if (state.ports.at(index).id == kNoPort) {
        return fail(ErrorCode::kUnavailable, "$.params.port", fmt::format("port {} failed", name));
    }
    return state.ports.at(index).id;
}

Json explain_json(const ExplainAnswer& answer, const State& state) {
    Json steps = Json::array();
    for (const ExplainAnswer::Step& step : answer.steps) {
        steps.push_back(
            {{"stage", step.stage}, {"decision", step.decision}, {"detail", step.detail}});
    }
    Json out = {{"verdict", answer.verdict}, {"steps", std::move(steps)}};
    if (!answer.reason.empty()) out["reason"] = answer.reason;
    const uint16_t index = state.ports.find(answer.out_port);
    if (answer.out_port != kNoPort && index != PortTable::kNone) {
        out["port"] = state.ports.at(index).name;
    }
    return out;
}

}  // namespace

void Api::explain(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::string port;
    ExplainQuery query;
    fields.required("port", port, PortName{})
        .required("src", query.src)
        .required("dst", query.dst)
        .optional("sport", query.sport)
        .optional("dport", query.dport)
        .optional("src_mac", query.src_mac)
        .optional("dst_mac", query.dst_mac)
        .optional("ttl", query.ttl)
        .optional("length", query.length)
        .optional("icmp_type", query.icmp_type)
        .optional("icmp_code", query.icmp_code);
    const Json* protocol = fields.find("proto");
    fields.check(protocol != nullptr, "proto", "is required")
        .check(query.src.family == query.dst.family, "dst", "must be of the family of src");
    auto ok = fields.done();
    if (ok) ok = decode_protocol(*protocol, Path(path, "proto"), query.protocol);
    if (!ok) return reply.error(ok.error());
    if (explain_ == nullptr) {
        return reply.error({ErrorCode::kUnavailable, "", "this daemon cannot explain"});
    }
    auto shared = std::make_shared<Reply>(std::move(reply));
    intent_.read([this, port, query, shared](State& state) mutable {
        const Result<PortId> id = find_port(state, port);
        if (!id) return shared->error(id.error());
        query.port = *id;
        const Result<ExplainAnswer> answered = explain_->explain(query);
        if (!answered) return shared->error(with_root(answered.error()));
        shared->ok(explain_json(*answered, state));
    });
}

void Api::capture_start(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::string port;
    CaptureQuery query;
    fields.required("port", port, PortName{})
        .optional("direction", query.direction, kDirections)
        .optional("filter", query.filter, Length{0, 4096})
        .optional("snap_bytes", query.snap_bytes, Range{14, kSnapBytesMax})
        .optional("packets_max", query.packets_max);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    if (capture_ == nullptr) {
        return reply.error({ErrorCode::kUnavailable, "", "this daemon cannot capture"});
    }
    const Result<PortId> id = find_port(intent_.state(), port);
    if (!id) return reply.error(id.error());
    query.port = *id;
    const Result<uint64_t> number = capture_->start(session, query);
    if (!number) return reply.error(with_root(number.error()));
    reply.ok({{"capture", *number}, {"snap_bytes", query.snap_bytes}});
}

void Api::capture_stop(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    uint64_t number = 0;
    fields.required("capture", number);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    if (capture_ == nullptr) {
        return reply.error({ErrorCode::kUnavailable, "", "this daemon cannot capture"});
    }
    const auto totals = capture_->stop(session, number);
    if (!totals) return reply.error(with_root(totals.error()));
    reply.ok({{"packets", totals->packets}, {"lost", totals->lost}});
}

}  // namespace slash32
