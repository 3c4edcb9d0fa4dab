// SPDX-License-Identifier: Apache-2.0
// VRFs: what a request would change, and whether the end is sound.
#include "ctrl/intent/plan_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace slash32 {

using namespace planning;  // NOLINT: these files are one unit

namespace planning {
namespace {

constexpr size_t kNamedMax = 5;  // ports in a message

std::string vrf_name(VrfId id) {
    return fmt::format("VRF {}", id.value());
}

}  // namespace

Result<void> VrfPlanner::upsert(const VrfApply& request, const std::string& path, bool fields) {
    const VrfIntent& wanted = request.intent;
    const std::string at = fields ? path + ".vrf" : path;
    if (state_.vrfs.is_configured(wanted.id)) {
        return fail(ErrorCode::kConflict, at,
                    fmt::format("{} is of the configuration file", vrf_name(wanted.id)));
    }
    const VrfSlot* slot = state_.vrfs.find(wanted.id);
    if (slot != nullptr) {
        auto ok = check_owner(slot->record->intent.owner, wanted.owner, request.force, at,
                              vrf_name(wanted.id));
        if (!ok) return ok;
        if (slot->stale) change_.confirmed_vrfs.push_back(wanted.id);
        if (slot->record->intent == wanted) {
            ++change_.unchanged;
            return {};
        }
    }
    changes_.emplace(wanted.id, change_.vrfs.size());
    change_.vrfs.push_back({wanted.id, slot != nullptr ? slot->record : nullptr,
                            std::make_shared<VrfRecord>(VrfRecord{wanted, 0})});
    return {};
}

void VrfPlanner::remove(VrfId id) {
    changes_.emplace(id, change_.vrfs.size());
    change_.vrfs.push_back({id, state_.vrfs.find(id)->record, nullptr});
}

bool VrfPlanner::exists(VrfId id) const {
    const auto at = changes_.find(id);
    if (at == changes_.end()) return state_.vrfs.exists(id);
    return change_.vrfs[at->second].after != nullptr || state_.vrfs.is_configured(id);
}

bool VrfPlanner::removes(VrfId id) const {
    const auto at = changes_.find(id);
    return at != changes_.end() && change_.vrfs[at->second].after == nullptr;
}

Result<void> VrfPlanner::check_empty(const std::string& path) const {
    std::map<VrfId, std::vector<std::string>> held;
    std::unordered_set<uint16_t> changed;
    const auto look = [&](const PortIntent& port) {
        if (removes(port.vrf)) held[port.vrf].push_back(port.name);
    };
    for (const PortChange& port : change_.ports) {
        changed.insert(port.port);
        if (port.after) look(port.after->intent);
    }
    state_.ports.visit_all([&](uint16_t index, const PortSlot& slot) {
        if (slot.record && !changed.contains(index)) look(slot.record->intent);
    });
    if (held.empty()) return {};
    auto& [id, names] = *held.begin();
    const size_t more = names.size() - std::min(names.size(), kNamedMax);
    names.resize(names.size() - more);
    return fail(
        ErrorCode::kConflict, path,
        fmt::format("{} has port{} {}{}", vrf_name(id), names.size() > 1 ? "s" : "",
                    fmt::join(names, ", "), more > 0 ? fmt::format(" and {} more", more) : ""));
}

Result<void> VrfPlanner::remove_routes(const std::string& owner, bool force,
                                       const std::string& path) {
    const bool any = std::ranges::any_of(change_.vrfs,
                                         [](const VrfChange& vrf) { return vrf.after == nullptr; });
    if (!any) return {};
    Result<void> result;
    std::vector<RouteChange> merged;
    auto planned = change_.routes.begin();
    state_.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        while (planned != change_.routes.end() && planned->key < key)
            merged.push_back(*planned++);
        if (planned != change_.routes.end() && planned->key == key) {
            merged.push_back(*planned++);
            return true;
        }
        if (value.origin_port != 0) return true;
        const std::optional<VrfId> into = state_.hops.spec(value.hop).leads_into();
        if (!removes(key.vrf) && !(into && removes(*into))) return true;
        result =
            check_owner(state_.owners.name(value.owner), owner, force, path,
                        fmt::format("route {} in VRF {}", to_string(key.prefix), key.vrf.value()));
        merged.push_back(RouteChange{key, true, false, value, {}});
        return result.has_value();
    });
    if (!result) return result;
    merged.insert(merged.end(), planned, change_.routes.end());
    change_.routes = std::move(merged);
    return {};
}

Result<void> check_vrf(const VrfLookup& exists, VrfId id, const std::string& path) {
    if (exists(id)) return {};
    return fail(ErrorCode::kNotFound, path, fmt::format("there is no {}", vrf_name(id)));
}

}  // namespace planning

Result<ChangeSet> plan(State& state, const VrfApply& request) {
    if (auto owner = acting_owner(state, request.intent.owner); !owner) {
        return tl::unexpected(owner.error());
    }
    ChangeSet change(state, ChangeSet::Kind::kVrf, request.intent.owner);
    VrfPlanner planner(state, change);
    if (auto ok = planner.upsert(request, "$.params", true); !ok) return tl::unexpected(ok.error());
    return change;
}

Result<ChangeSet> plan(State& state, const VrfDelete& request) {
    constexpr const char* kPath = "$.params.vrf";
    if (state.vrfs.is_configured(request.id)) {
        return fail(ErrorCode::kConflict, kPath,
                    fmt::format("{} is of the configuration file", vrf_name(request.id)));
    }
    const auto exists = [&](VrfId id) { return state.vrfs.exists(id); };
    if (auto ok = check_vrf(exists, request.id, kPath); !ok) return tl::unexpected(ok.error());
    const VrfSlot* slot = state.vrfs.find(request.id);
    auto mine = check_owner(slot->record->intent.owner, request.owner, request.force, kPath,
                            vrf_name(request.id));
    if (!mine) return tl::unexpected(mine.error());
    ChangeSet change(state, ChangeSet::Kind::kVrf, request.owner);
    VrfPlanner planner(state, change);
    planner.remove(request.id);
    if (auto ok = planner.check_empty(kPath); !ok) return tl::unexpected(ok.error());
    if (auto ok = planner.remove_routes(request.owner, request.force, kPath); !ok)
        return tl::unexpected(ok.error());
    return change;
}

}  // namespace slash32
