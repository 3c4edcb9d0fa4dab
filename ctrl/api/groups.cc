// SPDX-License-Identifier: Apache-2.0
// sg.* and addrset.*: security groups, address sets and their members.
#include "ctrl/api/api.h"
#include "ctrl/api/decode_request.h"
#include "ctrl/intent/group_json.h"

#include <fmt/format.h>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Name;
using rpc::Path;
using rpc::Reply;
using rpc::Session;

namespace {

constexpr auto kSg = GroupKind::kSecurityGroup;
constexpr auto kSet = GroupKind::kAddressSet;

const char* member_name(GroupKind kind) {
    return kind == kSg ? "group" : "set";
}

Json group_result(std::string_view change, const Done& done) {
    return {{"change", std::string(change)},
            {"revision", done.revision},
            {"seq", done.seq},
            {"programmed", true}};
}

tl::unexpected<Error> no_such(const GroupKey& key) {
    return fail(ErrorCode::kNotFound, "$.params.name",
                fmt::format("there is no {}", describe(key)));
}

}  // namespace

void Api::group_apply(Session& session, GroupKind kind, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    GroupApply request;
    WriteOptions options;
    request.intent.key.kind = kind;
    request.intent.owner = options.owner;
    read_group(fields, request.intent);
    fields.optional("members", request.members, Count{0, kMaxSetMembers})
        .optional("force", options.force)
        .optional("dry_run", options.dry_run)
        .optional("sync", options.sync);
    auto ok = fields.done();
    if (ok) ok = finish_group(path, request.intent);
    if (ok) ok = check_write_options(options);
    if (!ok) return reply.error(ok.error());
    options.owner = request.intent.owner;
    request.force = options.force;
    // A set is its members; those of a security group come from elsewhere, and stay.
    if (kind == kSet && !request.members) request.members.emplace();
    if (options.sync) return stage(session, options, std::move(request), std::move(reply));
    change(options, std::move(request), std::move(reply),
           [](const Done& done) { return group_result(change_name(done), done); });
}

void Api::group_update(GroupKind kind, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    GroupUpdate request;
    WriteOptions options;
    request.key.kind = kind;
    fields.required("name", request.key.name, Name{kGroupNameMax})
        .optional("add", request.add, Count{0, kMaxSetMembers})
        .optional("remove", request.remove, Count{0, kMaxSetMembers});
    read_write_options(fields, options, false);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    request.owner = options.owner;
    request.force = options.force;
    change(options, std::move(request), std::move(reply), [](const Done& done) {
        return Json{{"added", done.counts.added},
                    {"removed", done.counts.removed},
                    {"unchanged", done.counts.unchanged},
                    {"missing", done.counts.missing},
                    {"revision", done.revision},
                    {"seq", done.seq},
                    {"programmed", true}};
    });
}

void Api::group_delete(GroupKind kind, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    GroupDelete request;
    WriteOptions options;
    request.key.kind = kind;
    fields.required("name", request.key.name, Name{kGroupNameMax});
    read_write_options(fields, options, false);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    request.owner = options.owner;
    request.force = options.force;
    change(options, std::move(request), std::move(reply),
           [](const Done& done) { return group_result("removed", done); });
}

// Without the members, of which there may be many.
Json Api::group_json(const GroupSlot& slot) {
    const GroupIntent& intent = slot.record->intent;
    Json out = {{"name", intent.key.name},
                {"desired", to_json(intent)},
                {"members", slot.members.size()},
                {"revision", slot.record->revision},
                {"stale", slot.stale}};
    if (intent.key.kind == kSet) return out;
    Json& hits = out["hits"] = Json::array();
    for (const RuleId id : plane_.rule_ids(intent.key.name))
        hits.push_back(telemetry_.rule(id));
    return out;
}

void Api::group_get(GroupKind kind, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    GroupKey key{kind, ""};
    size_t limit = kListLimitMax;
    std::optional<std::string> cursor;
    fields.required("name", key.name, Name{kGroupNameMax})
        .optional("limit", limit, rpc::Range{1, kListLimitMax})
        .optional("cursor", cursor, rpc::Length{1, 256});
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    std::optional<IpPrefix> after;
    if (cursor) {
        after = parse_prefix(*cursor);
        if (!after) return reply.error(bad_cursor().value());
    }
    intent_.read([this, key, limit, after, done = answer(std::move(reply))](State& state) {
        const GroupSlot* slot = state.groups.find(key);
        if (slot == nullptr) return done(no_such(key));
        Json members = Json::array();
        Json result = {{"seq", events_.seq()}, {member_name(key.kind), group_json(*slot)}};
        auto at = after ? slot->members.upper_bound(*after) : slot->members.begin();
        for (; at != slot->members.end(); ++at) {
            if (members.size() == limit) {
                result["cursor"] = members.back();
                break;
            }
            members.push_back(to_string(*at));
        }
        result["members"] = std::move(members);
        done(std::move(result));
    });
}

void Api::group_list(GroupKind kind, const Json& params, Reply reply) {
    const Path path("$.params");
    Fields fields(params, path);
    ListOptions filter;
    read_list_options(fields, filter);
    if (auto ok = fields.done(); !ok) return reply.error(ok.error());
    intent_.read([this, kind, filter, done = answer(std::move(reply))](State& state) {
        Json groups = Json::array();
        Json result = {{"seq", events_.seq()}};
        const GroupTable::Map& all = state.groups.all();
        for (auto at = all.upper_bound({kind, filter.cursor.value_or("")});
             at != all.end() && at->first.kind == kind; ++at) {
            const GroupSlot& slot = at->second;
            if (filter.owner && slot.record->intent.owner != *filter.owner) continue;
            if (groups.size() == filter.limit) {
                result["cursor"] = groups.back()["name"];
                break;
            }
            groups.push_back(group_json(slot));
        }
        result[std::string(member_name(kind)) + "s"] = std::move(groups);
        done(std::move(result));
    });
}

void Api::sg_apply(Session& session, const Json& params, Reply reply) {
    group_apply(session, kSg, params, std::move(reply));
}
void Api::sg_members(Session&, const Json& params, Reply reply) {
    group_update(kSg, params, std::move(reply));
}
void Api::sg_delete(Session&, const Json& params, Reply reply) {
    group_delete(kSg, params, std::move(reply));
}
void Api::sg_get(Session&, const Json& params, Reply reply) {
    group_get(kSg, params, std::move(reply));
}
void Api::sg_list(Session&, const Json& params, Reply reply) {
    group_list(kSg, params, std::move(reply));
}
void Api::addrset_apply(Session& session, const Json& params, Reply reply) {
    group_apply(session, kSet, params, std::move(reply));
}
void Api::addrset_update(Session&, const Json& params, Reply reply) {
    group_update(kSet, params, std::move(reply));
}
void Api::addrset_delete(Session&, const Json& params, Reply reply) {
    group_delete(kSet, params, std::move(reply));
}
void Api::addrset_get(Session&, const Json& params, Reply reply) {
    group_get(kSet, params, std::move(reply));
}
void Api::addrset_list(Session&, const Json& params, Reply reply) {
    group_list(kSet, params, std::move(reply));
}

}  // namespace slash32
