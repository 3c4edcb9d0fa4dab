// SPDX-License-Identifier: Apache-2.0
// neighbor.apply, neighbor.delete, neighbor.get, neighbor.list.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/intent/port_json.h"

#include <fmt/format.h>

namespace slash32 {

using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::Reply;
using rpc::Session;

namespace {

Json neighbor_result(std::string_view change, const Done& done) {
    return {{"change", std::string(change)},
            {"revision", done.revision},
            {"seq", done.seq},
            {"programmed", true}};
}

Json neighbor_json(const State& state, const NeighborKey& key, const NeighborRecord& record) {
    return {{"port", state.ports.at(key.port).name},
            {"address", to_string(key.address)},
            {"mac", to_string(record.mac)},
            {"owner", state.owners.name(record.owner)},
            {"stale", record.stale}};
}

// "port,address" of the last neighbour of the page before.
std::optional<std::pair<std::string, IpAddress>> read_cursor(const std::string& text) {
    const size_t comma = text.find(',');
    if (comma == std::string::npos) return std::nullopt;
    const auto address = parse_ip(std::string_view(text).substr(comma + 1));
    if (!address) return std::nullopt;
    return std::make_pair(text.substr(0, comma), *address);
}

}  // namespace

void Api::neighbor_apply(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    NeighborApply request;
    WriteOptions options;
    fields.required("port", request.port, Name{15})
        .required("address", request.address)
        .required("mac", request.mac);
    read_write_options(fields, options, true);
    auto ok = fields.done();
    if (ok) ok = check_unicast(request.mac, Path(path, "mac"));
    if (ok) ok = check_write_options(options);
    if (!ok) return reply.error(ok.error());
    if (const char* why = unfit_address(request.address)) {
        return reply.error({ErrorCode::kInvalid, "$.params.address", why});
    }
    request.owner = options.owner;
    request.force = options.force;
    if (options.sync) return stage(session, options, std::move(request), std::move(reply));
    change(options, std::move(request), std::move(reply),
           [](const Done& done) { return neighbor_result(change_name(done), done); });
}

void Api::neighbor_delete(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    NeighborDelete request;
    WriteOptions options;
    fields.required("port", request.port, Name{15}).required("address", request.address);
    read_write_options(fields, options, false);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    request.owner = options.owner;
    request.force = options.force;
    change(options, std::move(request), std::move(reply),
           [](const Done& done) { return neighbor_result("removed", done); });
}

void Api::neighbor_get(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::string port;
    IpAddress address;
    fields.required("port", port, Name{15}).required("address", address);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    intent_.read([this, port, address, done = answer(std::move(reply))](State& state) {
        const uint16_t index = state.ports.find(port);
        if (index == PortTable::kNone) {
            return done(fail(ErrorCode::kNotFound, "$.params.port",
                             fmt::format("there is no port {}", port)));
        }
        const auto at = state.neighbors.find({index, address});
        if (at == state.neighbors.end()) {
            return done(fail(ErrorCode::kNotFound, "$.params.address",
                             fmt::format("{} has no neighbour {}", port, to_string(address))));
        }
        done(Json{{"seq", events_.seq()},
                  {"neighbor", neighbor_json(state, at->first, at->second)}});
    });
}

void Api::neighbor_list(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    ListOptions filter;
    std::optional<std::string> port;
    read_list_options(fields, filter);
    fields.optional("port", port, Name{15});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    std::optional<std::pair<std::string, IpAddress>> after;
    if (filter.cursor) {
        after = read_cursor(*filter.cursor);
        if (!after) return reply.error(bad_cursor().value());
    }
    intent_.read([this, filter, port, after, done = answer(std::move(reply))](State& state) {
        if (port && state.ports.find(*port) == PortTable::kNone) {
            return done(fail(ErrorCode::kNotFound, "$.params.port",
                             fmt::format("there is no port {}", *port)));
        }
        auto at = state.neighbors.begin();
        if (after) {
            // Uplinks last as long as the daemon: their indexes keep the order.
            const uint16_t index = state.ports.find(after->first);
            if (index == PortTable::kNone) return done(bad_cursor());
            at = state.neighbors.upper_bound({index, after->second});
        }
        Json neighbors = Json::array();
        Json result = {{"seq", events_.seq()}};
        for (; at != state.neighbors.end(); ++at) {
            const auto& [key, record] = *at;
            if (port && state.ports.at(key.port).name != *port) continue;
            if (filter.owner && state.owners.name(record.owner) != *filter.owner) continue;
            if (neighbors.size() == filter.limit) {
                const Json& last = neighbors.back();
                result["cursor"] = fmt::format("{},{}", last["port"].get<std::string>(),
                                               last["address"].get<std::string>());
                break;
            }
            neighbors.push_back(neighbor_json(state, key, record));
        }
        result["neighbors"] = std::move(neighbors);
        done(std::move(result));
    });
}

}  // namespace slash32
