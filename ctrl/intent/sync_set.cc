// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/sync_set.h"

#include "ctrl/intent/group_table.h"
#include "ctrl/intent/plan.h"

#include <fmt/format.h>

namespace slash32 {
namespace {

constexpr const char* kSyncPath = "$.params.sync";

Result<void> check_kind(bool wanted, const char* what) {
    if (wanted) return {};
    return fail(ErrorCode::kInvalid, kSyncPath, fmt::format("this sync is not about {}", what));
}

}  // namespace

Result<void> SyncSet::stage(PortApply request) {
    if (auto ok = check_kind(kinds.ports, "ports"); !ok) return ok;
    if (ports.size() >= kMaxPorts && !ports.contains(request.intent.name)) {
        return fail(ErrorCode::kLimit, kSyncPath, "the set has more ports than can be held");
    }
    std::string name = request.intent.name;
    ports.insert_or_assign(std::move(name), std::move(request));
    return {};
}

Result<void> SyncSet::stage(const RouteApply& request) {
    if (auto ok = check_kind(kinds.routes, "routes"); !ok) return ok;
    const Result<std::vector<RouteItem>> items = sorted_items(request.routes);
    if (!items) return tl::unexpected(items.error());
    constexpr size_t kMaxRoutes = 2 * (kMaxHostRoutes + kMaxPrefixes);
    if (routes.size() + items->size() > kMaxRoutes) {
        return fail(ErrorCode::kLimit, kSyncPath, "the set has more routes than can be held");
    }
    std::vector<uint32_t> indexes;
    for (const RouteGroup& group : request.routes) {
        const auto [at, is_new] =
            hop_indexes.emplace(group.next_hop, static_cast<uint32_t>(hops.size()));
        if (is_new && hops.size() >= kMaxNextHops) {
            hop_indexes.erase(at);
            return fail(ErrorCode::kLimit, kSyncPath,
                        "the set has more next hops than can be held");
        }
        if (is_new) hops.push_back(group.next_hop);
        indexes.push_back(at->second);
    }
    for (const RouteItem& item : *items) {
        RouteValue value;
        value.hop = indexes[item.group] & (kMaxNextHops - 1);
        value.owner = request.force ? 1 : 0;
        routes.set(item.key, value);
    }
    return {};
}

Result<void> SyncSet::stage(NeighborApply request) {
    if (auto ok = check_kind(kinds.neighbors, "neighbors"); !ok) return ok;
    if (neighbors.size() >= kMaxNeighbors) {
        return fail(ErrorCode::kLimit, kSyncPath, "the set has more neighbours than can be held");
    }
    auto key = std::make_pair(request.port, request.address);
    neighbors.insert_or_assign(std::move(key), std::move(request));
    return {};
}

Result<void> SyncSet::stage(GroupApply request) {
    const GroupKind kind = request.intent.key.kind;
    const char* what = kind == GroupKind::kSecurityGroup ? "security groups" : "address sets";
    if (auto ok = check_kind(kinds.has(kind), what); !ok) return ok;
    if (groups.size() >= kMaxGroups && !groups.contains(request.intent.key)) {
        return fail(ErrorCode::kLimit, kSyncPath, "the set has more groups than can be held");
    }
    GroupKey key = request.intent.key;
    groups.insert_or_assign(std::move(key), std::move(request));
    return {};
}

Result<void> SyncSet::stage(VrfApply request) {
    if (auto ok = check_kind(kinds.vrfs, "VRFs"); !ok) return ok;
    const VrfId number = request.intent.id;
    vrfs.insert_or_assign(number, std::move(request));
    return {};
}

Result<std::shared_ptr<SyncSet>> SyncSets::begin(uint64_t session, std::string owner,
                                                 SyncKinds kinds) {
    for (const auto& [id, set] : open_) {
        if (set->owner == owner) {
            return fail(ErrorCode::kConflict, "$.params.owner",
                        fmt::format("owner {} has an open sync already", owner));
        }
    }
    if (open_.size() >= kMaxOpen) {
        return fail(ErrorCode::kLimit, "", "too many syncs are open");
    }
    auto set = std::make_shared<SyncSet>();
    set->id = next_id_++;
    set->session = session;
    set->owner = std::move(owner);
    set->kinds = kinds;
    open_.emplace(set->id, set);
    return set;
}

Result<std::shared_ptr<SyncSet>> SyncSets::find(uint64_t session, uint64_t id,
                                                const std::string* owner) {
    const auto at = open_.find(id);
    if (at == open_.end() || at->second->session != session) {
        return fail(ErrorCode::kNotFound, kSyncPath, "no such sync is open on this connection");
    }
    if (owner != nullptr && *owner != at->second->owner) {
        return fail(ErrorCode::kNotOwner, "$.params.owner",
                    fmt::format("the sync is of owner {}", at->second->owner));
    }
    if (at->second->committing) {
        return fail(ErrorCode::kConflict, kSyncPath, "the sync is being committed");
    }
    return at->second;
}

void SyncSets::end(uint64_t id) {
    const auto at = open_.find(id);
    if (at == open_.end()) return;
    at->second->gone = true;
    open_.erase(at);
}

void SyncSets::close_session(uint64_t session) {
    std::erase_if(open_, [session](const auto& entry) {
        if (entry.second->session != session) return false;
        entry.second->gone = true;
        return true;
    });
}

}  // namespace slash32
