// SPDX-License-Identifier: Apache-2.0
// sync.begin, sync.commit, sync.abort, and staging.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::Reply;
using rpc::Session;

namespace {

enum class Object : uint8_t { kPort, kRoute, kNeighbor, kSecurityGroup, kAddressSet, kVrf };
constexpr rpc::OneOf kObjects{std::pair{std::string_view("port"), Object::kPort},
                              std::pair{std::string_view("route"), Object::kRoute},
                              std::pair{std::string_view("neighbor"), Object::kNeighbor},
                              std::pair{std::string_view("sg"), Object::kSecurityGroup},
                              std::pair{std::string_view("addrset"), Object::kAddressSet},
                              std::pair{std::string_view("vrf"), Object::kVrf}};

}  // namespace

template <typename Request>
void Api::stage(Session& session, const WriteOptions& options, Request&& request, Reply reply) {
    const auto set = syncs_.find(session.id(), *options.sync, &options.owner);
    if (!set) return reply.error(set.error());
    if (auto ok = (*set)->stage(std::forward<Request>(request)); !ok) {
        return reply.error(ok.error());
    }
    reply.ok({{"staged", true}});
}

template void Api::stage(Session&, const WriteOptions&, PortApply&&, Reply);
template void Api::stage(Session&, const WriteOptions&, RouteApply&&, Reply);
template void Api::stage(Session&, const WriteOptions&, NeighborApply&&, Reply);
template void Api::stage(Session&, const WriteOptions&, GroupApply&&, Reply);
template void Api::stage(Session&, const WriteOptions&, VrfApply&&, Reply);

void Api::sync_begin(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    std::string owner = "cli";
    std::optional<std::vector<Object>> objects;
    fields.optional("owner", owner, Name{})
        .optional("objects", objects, Count{1, kObjects.names.size()}, kObjects);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    if (owner == kUplinkOwner) {
        return reply.error({ErrorCode::kInvalid, "$.params.owner",
                            "this name is kept for the configuration file"});
    }
    SyncKinds kinds;
    if (objects) {
        kinds = {false, false, false, false, false, false};
        for (const Object object : *objects) {
            if (object == Object::kPort) kinds.ports = true;
            if (object == Object::kRoute) kinds.routes = true;
            if (object == Object::kNeighbor) kinds.neighbors = true;
            if (object == Object::kSecurityGroup) kinds.security_groups = true;
            if (object == Object::kAddressSet) kinds.address_sets = true;
            if (object == Object::kVrf) kinds.vrfs = true;
        }
    }
    const auto set = syncs_.begin(session.id(), std::move(owner), kinds);
    if (!set) return reply.error(set.error());
    follow(session);
    reply.ok({{"sync", (*set)->id}});
}

void Api::sync_commit(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    uint64_t id = 0;
    bool dry_run = false;
    bool force = false;
    fields.required("sync", id).optional("dry_run", dry_run).optional("force", force);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    const auto found = syncs_.find(session.id(), id);
    if (!found) return reply.error(found.error());
    const std::shared_ptr<SyncSet>& set = *found;
    auto done = answer(std::move(reply));
    if (dry_run) {
        intent_.read([this, set, force, done](State& state) {
            const Result<ChangeSet> planned = plan(state, *set, force);
            if (!planned) return done(tl::unexpected(planned.error()));
            done(Json{{"dry_run", true}, {"difference", difference(*planned)}});
        });
        return;
    }
    set->committing = true;
    intent_.write([set, force](State& state) { return plan(state, *set, force); },
                  [this, set, done](const Result<Done>& outcome) {
                      set->committing = false;
                      if (!outcome) return done(tl::unexpected(outcome.error()));
                      syncs_.end(set->id);
                      done(Json{{"added", outcome->counts.added},
                                {"changed", outcome->counts.changed},
                                {"removed", outcome->counts.removed},
                                {"unchanged", outcome->counts.unchanged},
                                {"revision", outcome->revision},
                                {"seq", outcome->seq},
                                {"programmed", true}});
                  });
}

void Api::sync_abort(Session& session, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    uint64_t id = 0;
    fields.required("sync", id);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    const auto set = syncs_.find(session.id(), id);
    if (!set) return reply.error(set.error());
    syncs_.end(id);
    reply.ok(Json::object());
}

}  // namespace slash32
