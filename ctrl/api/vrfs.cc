// SPDX-License-Identifier: Apache-2.0
// vrf.apply, vrf.delete, vrf.get, vrf.list.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/intent/vrf_json.h"

#include <fmt/format.h>

namespace slash32 {

using rpc::Fields;
using rpc::Json;
using rpc::Path;
using rpc::Range;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr Range kNumbers{1, kMaxVrfs - 1};

Json vrf_result(std::string_view change, const Done& done) {
    return {{"change", std::string(change)},
            {"revision", done.revision},
            {"seq", done.seq},
            {"programmed", true}};
}

// Of a VRF: what is in it.
struct Contents {
    size_t ports = 0;
    size_t routes = 0;
};

std::map<VrfId, Contents> contents_of(const State& state) {
    std::map<VrfId, Contents> contents;
    state.ports.visit_all([&](uint16_t, const PortSlot& slot) {
        if (slot.record) ++contents[slot.record->intent.vrf].ports;
        if (slot.is_uplink()) ++contents[slot.uplink->vrf].ports;
    });
    state.routes.visit_all([&](const RouteKey& key, RouteValue) {
        ++contents[key.vrf].routes;
        return true;
    });
    return contents;
}

// `slot` is nullptr of one of the configuration file.
Json vrf_json(VrfId id, const VrfSlot* slot, const Contents& contents) {
    Json out = {{"vrf", id.value()},
                {"name", slot != nullptr ? slot->record->intent.name : ""},
                {"labels", Json::object()},
                {"owner", slot != nullptr ? slot->record->intent.owner : std::string(kUplinkOwner)},
                {"ports", contents.ports},
                {"routes", contents.routes},
                {"revision", slot != nullptr ? slot->record->revision : 0},
                {"stale", slot != nullptr && slot->stale}};
    if (slot != nullptr) out["labels"] = slot->record->intent.labels;
    return out;
}

}  // namespace

void Api::vrf_apply(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    VrfApply request;
    WriteOptions options;
    request.intent.owner = options.owner;
    read_vrf(fields, request.intent);
    fields.optional("force", options.force)
        .optional("dry_run", options.dry_run)
        .optional("sync", options.sync);
    auto ok = fields.done();
    if (ok) ok = check_write_options(options);
    if (!ok) return reply.error(ok.error());
    options.owner = request.intent.owner;
    request.force = options.force;
    if (options.sync) return stage(session, options, std::move(request), std::move(reply));
    change(options, std::move(request), std::move(reply),
           [](const Done& done) { return vrf_result(change_name(done), done); });
}

void Api::vrf_delete(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    uint16_t number = 0;
    WriteOptions options;
    fields.required("vrf", number, kNumbers);
    read_write_options(fields, options, false);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    VrfDelete request{VrfId{number}, options.owner, options.force};
    change(options, std::move(request), std::move(reply), [](const Done& done) {
        Json result = vrf_result("removed", done);
        result["removed_routes"] = done.counts.removed - 1;  // the VRF itself
        return result;
    });
}

void Api::vrf_get(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    uint16_t number = 0;
    fields.required("vrf", number, Range{0, kMaxVrfs - 1});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    intent_.read([this, id = VrfId{number}, done = answer(std::move(reply))](State& state) {
        if (!state.vrfs.exists(id)) {
            return done(fail(ErrorCode::kNotFound, "$.params.vrf",
                             fmt::format("there is no VRF {}", id.value())));
        }
        done(Json{{"seq", events_.seq()},
                  {"vrf", vrf_json(id, state.vrfs.find(id), contents_of(state)[id])}});
    });
}

void Api::vrf_list(Session&, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    ListOptions filter;
    read_list_options(fields, filter);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    // The cursor is the number of the last one.
    const Result<uint64_t> after = read_place(filter.cursor);
    if (!after) return reply.error(after.error());
    const bool begins = !filter.cursor;
    intent_.read(
        [this, filter, begins, after = *after, done = answer(std::move(reply))](State& state) {
            std::set<VrfId> ids = state.vrfs.configured();
            for (const auto& [id, slot] : state.vrfs.all())
                ids.insert(id);
            std::map<VrfId, Contents> contents = contents_of(state);
            Json vrfs = Json::array();
            Json result = {{"seq", events_.seq()}};
            for (const VrfId id : ids) {
                if (!begins && id.value() <= after) continue;
                Json vrf = vrf_json(id, state.vrfs.find(id), contents[id]);
                if (filter.owner && vrf["owner"] != *filter.owner) continue;
                if (vrfs.size() == filter.limit) {
                    result["cursor"] = std::to_string(vrfs.back()["vrf"].get<unsigned>());
                    break;
                }
                vrfs.push_back(std::move(vrf));
            }
            result["vrfs"] = std::move(vrfs);
            done(std::move(result));
        });
}

}  // namespace slash32
