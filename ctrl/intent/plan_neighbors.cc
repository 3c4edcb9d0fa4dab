// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/plan_internal.h"

#include <fmt/format.h>

#include <algorithm>

namespace slash32 {

using namespace planning;  // NOLINT: these files are one unit

namespace {

std::string neighbor_name(std::string_view port, const IpAddress& address) {
    return fmt::format("neighbour {} on {}", to_string(address), port);
}

Result<uint16_t> find_uplink(const State& state, std::string_view name) {
    constexpr const char* kPath = "$.params.port";
    const uint16_t index = state.ports.find(name);
    if (index == PortTable::kNone) {
        return fail(ErrorCode::kNotFound, kPath, fmt::format("there is no port {}", name));
    }
    if (!state.ports.at(index).is_uplink()) {
        return fail(ErrorCode::kInvalid, kPath,
                    fmt::format("{} is the port of a VM: only uplinks have neighbours", name));
    }
    return index;
}

}  // namespace

Result<ChangeSet> plan(State& state, const NeighborApply& request) {
    const Result<uint32_t> owner = acting_owner(state, request.owner);
    if (!owner) return tl::unexpected(owner.error());
    const Result<uint16_t> port = find_uplink(state, request.port);
    if (!port) return tl::unexpected(port.error());
    if (std::ranges::count(state.ports.at(*port).uplink->addresses, request.address) != 0) {
        return fail(ErrorCode::kInvalid, "$.params.address",
                    fmt::format("is an address of {} itself", request.port));
    }
    ChangeSet change(state, ChangeSet::Kind::kNeighbor, request.owner);
    const NeighborKey key{*port, request.address};
    const NeighborRecord wanted{request.mac, *owner, false};
    const auto at = state.neighbors.find(key);
    if (at == state.neighbors.end()) {
        if (state.neighbors.size() >= kMaxNeighbors) {
            return fail(ErrorCode::kLimit, "", fmt::format("at most {} neighbours", kMaxNeighbors));
        }
        change.neighbors.push_back({key, std::nullopt, wanted});
        return change;
    }
    auto mine = check_owner(state.owners.name(at->second.owner), request.owner, request.force,
                            "$.params.address", neighbor_name(request.port, request.address));
    if (!mine) return tl::unexpected(mine.error());
    if (at->second.mac == wanted.mac && at->second.owner == wanted.owner) {
        ++change.unchanged;
        if (at->second.stale) change.confirmed_neighbors.push_back(key);
        return change;
    }
    change.neighbors.push_back({key, at->second, wanted});
    return change;
}

// Routes may go through an address that has no neighbour: they wait for one. So nothing refers to a
// neighbour, and it may always be deleted.
Result<ChangeSet> plan(State& state, const NeighborDelete& request) {
    const Result<uint16_t> port = find_uplink(state, request.port);
    if (!port) return tl::unexpected(port.error());
    const auto at = state.neighbors.find({*port, request.address});
    if (at == state.neighbors.end()) {
        return fail(ErrorCode::kNotFound, "$.params.address",
                    fmt::format("there is no {}", neighbor_name(request.port, request.address)));
    }
    auto mine = check_owner(state.owners.name(at->second.owner), request.owner, request.force,
                            "$.params.address", neighbor_name(request.port, request.address));
    if (!mine) return tl::unexpected(mine.error());
    ChangeSet change(state, ChangeSet::Kind::kNeighbor, request.owner);
    change.neighbors.push_back({at->first, at->second, std::nullopt});
    return change;
}

}  // namespace slash32
