// SPDX-License-Identifier: Apache-2.0
// Bringing the stored intent back at start. Part of class Intent (intent.h).
#include "ctrl/intent/group_json.h"
#include "ctrl/intent/intent.h"
#include "ctrl/intent/port_json.h"
#include "ctrl/intent/vrf_json.h"

#include <fmt/format.h>

#include <map>
#include <set>

namespace slash32 {
namespace {

// What is checked of a stored port beyond what parse_port does: it has to fit the others.
Result<void> check_fits(State& state, const PortIntent& port) {
    if (state.ports.find(port.name) != PortTable::kNone) {
        return fail(ErrorCode::kConflict, "", "an uplink has its name");
    }
    for (const FixedAddress& fixed : port.addresses) {
        const RouteKey key{port.vrf, {fixed.address, fixed.address.bits()}};
        const RouteValue* held = state.routes.find(key);
        if (held == nullptr) continue;
        return fail(
            ErrorCode::kConflict, "",
            fmt::format("port {} has its address {}", state.ports.at(uint16_t(held->hop)).name,
                        to_string(fixed.address)));
    }
    const auto& names = port.kind == PortKind::kVhost ? state.sockets : state.taps;
    if (names.contains(port.kind == PortKind::kVhost ? port.socket : port.tap)) {
        return fail(ErrorCode::kConflict, "", "another port has its device");
    }
    return {};
}

}  // namespace

Result<Intent::Restored> Intent::restore() {
    const Result<StoredIntent> stored = store_.load();
    if (!stored) return tl::unexpected(stored.error());
    Restored restored;
    // Everything is read and checked before any of it is taken over.
    if (auto sound = check_stored(*stored); !sound) {
        if (auto aside = store_.set_aside(sound.error().message); !aside) {
            return tl::unexpected(aside.error());
        }
        return restored;
    }
    if (auto ok = restore_all(*stored, restored); !ok) return tl::unexpected(ok.error());
    const Programmer::Restored programmed = programmer_.program_all();
    restored.problems.insert(restored.problems.end(), programmed.problems.begin(),
                             programmed.problems.end());
    problems_ = restored.problems;
    return restored;
}

Result<void> Intent::check_stored(const StoredIntent& stored) {
    for (const StoredPort& port : stored.ports) {
        const Result<PortIntent> parsed = parse_port(*port.json);
        if (!parsed) return tl::unexpected(parsed.error());
        if (parsed->name != port.name || parsed->owner.empty()) {
            return fail(ErrorCode::kInvalid, "", "a stored port has another name or no owner");
        }
    }
    for (const StoredVrf& vrf : stored.vrfs) {
        const Result<VrfIntent> parsed = parse_vrf(*vrf.json);
        if (!parsed) return tl::unexpected(parsed.error());
        if (parsed->id != vrf.id || parsed->owner.empty())
            return fail(ErrorCode::kInvalid, "", "a stored VRF has another number or no owner");
    }
    for (const StoredGroup& group : stored.groups) {
        const Result<GroupIntent> parsed = parse_group(group.key.kind, *group.json);
        if (!parsed) return tl::unexpected(parsed.error());
        if (parsed->key != group.key || parsed->owner.empty()) {
            return fail(ErrorCode::kInvalid, "", "a stored group has another name or no owner");
        }
    }
    for (const std::string& chunk : stored.route_chunks) {
        auto ok = read_route_chunk(
            chunk, [](uint32_t, const StoredRouteValue&) {}, [](const RouteKey&, uint32_t) {});
        if (!ok) return ok;
    }
    return {};
}

Result<void> Intent::restore_all(const StoredIntent& stored, Restored& restored) {
    state_.revision = stored.revision;
    if (auto ok = restore_vrfs(stored); !ok) return ok;
    if (auto ok = restore_groups(stored, restored); !ok) return ok;
    if (auto ok = restore_ports(stored, restored); !ok) return ok;
    if (auto ok = restore_neighbors(stored, restored); !ok) return ok;
    return restore_routes(stored, restored);
}

Result<void> Intent::restore_vrfs(const StoredIntent& stored) {
    for (const StoredVrf& row : stored.vrfs) {
        // One that the configuration names now is there without a record.
        if (state_.vrfs.is_configured(row.id)) continue;
        auto record = std::make_shared<VrfRecord>(VrfRecord{*parse_vrf(*row.json), row.revision});
        if (auto owner = state_.owner(record->intent.owner); !owner)
            return tl::unexpected(owner.error());
        state_.restore_vrf(std::move(record));
    }
    return {};
}

// Ports and routes of a store from before there were records of VRFs, or of one that the
// configuration file has named until now.
Result<void> Intent::add_missing_vrf(VrfId id, const std::string& owner) {
    if (state_.vrfs.exists(id)) return {};
    if (auto index = state_.owner(owner); !index) return tl::unexpected(index.error());
    VrfIntent intent{.id = id, .name = "", .owner = owner, .labels = {}};
    state_.restore_vrf(std::make_shared<VrfRecord>(VrfRecord{std::move(intent), state_.revision}));
    return {};
}

Result<void> Intent::restore_groups(const StoredIntent& stored, Restored& restored) {
    for (const StoredGroup& row : stored.groups) {
        auto record = std::make_shared<GroupRecord>();
        record->intent = *parse_group(row.key.kind, *row.json);
        record->revision = row.revision;
        if (auto owner = state_.owner(record->intent.owner); !owner) {
            return tl::unexpected(owner.error());
        }
        state_.restore_group(std::move(record));
        ++restored.groups;
    }
    for (const StoredMember& row : stored.members) {
        if (state_.groups.find(row.key) != nullptr) state_.groups.add_member(row.key, row.prefix);
    }
    return {};
}

Result<void> Intent::restore_ports(const StoredIntent& stored, Restored& restored) {
    for (const StoredPort& row : stored.ports) {
        auto record = std::make_shared<PortRecord>();
        record->intent = *parse_port(*row.json);
        record->revision = row.revision;
        if (auto fits = check_fits(state_, record->intent); !fits) {
            restored.problems.push_back(
                fmt::format("stored port {} is left alone: {}", row.name, fits.error().message));
            continue;
        }
        if (auto owner = state_.owner(record->intent.owner); !owner) {
            return tl::unexpected(owner.error());
        }
        if (auto ok = add_missing_vrf(record->intent.vrf, record->intent.owner); !ok) return ok;
        const Result<uint16_t> index = state_.ports.pin(row.name);
        if (!index) return tl::unexpected(index.error());
        state_.restore_port(*index, std::move(record));
        state_.ports.unpin(*index);
        ++restored.ports;
    }
    return {};
}

Result<void> Intent::restore_neighbors(const StoredIntent& stored, Restored& restored) {
    for (const StoredNeighbor& row : stored.neighbors) {
        const uint16_t port = state_.ports.find(row.port);
        if (port == PortTable::kNone || !state_.ports.at(port).is_uplink()) {
            restored.problems.push_back(
                fmt::format("stored neighbour {} is left alone: there is "
                            "no uplink {}",
                            to_string(row.address), row.port));
            continue;
        }
        const Result<uint32_t> owner = state_.owner(row.owner);
        if (!owner) return tl::unexpected(owner.error());
        state_.restore_neighbor({port, row.address}, {*row.mac, *owner, true});
        ++restored.neighbors;
    }
    return {};
}

namespace {

// Reads the chunks into the state: routes over ports that are there, and those to be kept for ports
// that are not.
class RouteRestorer {
  public:
    explicit RouteRestorer(State& state) : state_(state) {}
    ~RouteRestorer() {
        for (const uint32_t hop : pins_)
            state_.hops.unpin(hop);
    }
    RouteRestorer(const RouteRestorer&) = delete;
    RouteRestorer& operator=(const RouteRestorer&) = delete;

    Result<void> read(std::string_view chunk) {
        values_.assign(1, {});
        auto ok = read_route_chunk(
            chunk, [this](uint32_t, const StoredRouteValue& value) { add_value(value); },
            [this](const RouteKey& key, uint32_t number) { add_record(key, number); });
        return ok ? result_ : ok;
    }

    size_t records() const { return records_; }
    // The routes that are kept, as a chunk; empty when there is none.
    std::string kept_chunk() const;
    // Names of the ports that they are over.
    std::set<std::string> missing_ports() const;

  private:
    struct Value {
        RouteValue value;
        std::optional<uint32_t> kept;  // index of kept_values_: its port is not there
    };
    void add_value(const StoredRouteValue& stored);
    void add_record(const RouteKey& key, uint32_t number);

    State& state_;
    std::vector<Value> values_;  // of the present chunk
    std::vector<uint32_t> pins_;
    std::vector<StoredRouteValue> kept_values_;
    std::map<RouteKey, uint32_t> kept_;
    size_t records_ = 0;
    Result<void> result_;
};

void RouteRestorer::add_value(const StoredRouteValue& stored) {
    Value& value = values_.emplace_back();
    const HopRequest& request = stored.next_hop;
    HopSpec spec{request.kind, HopSpec::kNoPortIndex,   request.via,
                 request.mac,  request.segment_routing, request.vrf};
    if (request.has_port()) spec.port = state_.ports.find(request.port);
    if (request.has_port() && !spec.has_port()) {
        value.kept = static_cast<uint32_t>(kept_values_.size());
        kept_values_.push_back(stored);
        return;
    }
    const Result<uint32_t> owner = state_.owner(stored.owner);
    const Result<uint32_t> hop = state_.hops.pin(spec);
    if (hop) pins_.push_back(*hop);
    if (!owner || !hop) {
        result_ = tl::unexpected(owner ? hop.error() : owner.error());
        return;
    }
    value.value.hop = *hop & (kMaxNextHops - 1);
    value.value.owner = *owner & ((1u << kOwnerIndexBits) - 1);
    value.value.stale = 1;
}

void RouteRestorer::add_record(const RouteKey& key, uint32_t number) {
    ++records_;
    if (!result_) return;
    if (!kept_.empty()) kept_.erase(key);
    const RouteValue* held = state_.routes.find(key);
    if (held != nullptr && held->origin_port != 0) return;
    if (number == 0) {
        state_.restore_no_route(key);
    } else if (values_[number].kept) {
        state_.restore_no_route(key);
        kept_.emplace(key, *values_[number].kept);
    } else {
        state_.restore_route(key, values_[number].value);
    }
}

std::string RouteRestorer::kept_chunk() const {
    if (kept_.empty()) return "";
    RouteChunkWriter writer([this](uint32_t index) { return kept_values_[index].next_hop; },
                            [this](uint32_t owner) { return state_.owners.name(owner); });
    for (const auto& [key, index] : kept_) {
        const Result<uint32_t> owner = state_.owner(kept_values_[index].owner);
        if (!owner) continue;
        RouteValue value;
        value.hop = index & (kMaxNextHops - 1);
        value.owner = *owner & ((1u << kOwnerIndexBits) - 1);
        writer.set(key, value);
    }
    return writer.finish();
}

std::set<std::string> RouteRestorer::missing_ports() const {
    std::set<std::string> names;
    for (const auto& [key, index] : kept_)
        names.insert(kept_values_[index].next_hop.port);
    return names;
}

}  // namespace

Result<void> Intent::restore_routes(const StoredIntent& stored, Restored& restored) {
    RouteRestorer restorer(state_);
    for (const std::string& chunk : stored.route_chunks) {
        if (auto ok = restorer.read(chunk); !ok) return ok;
    }
    std::map<VrfId, std::string> missing;
    state_.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        if (value.origin_port == 0 && !state_.vrfs.exists(key.vrf))
            missing.emplace(key.vrf, state_.owners.name(value.owner));
        return true;
    });
    for (const auto& [id, owner] : missing) {
        if (auto ok = add_missing_vrf(id, owner); !ok) return ok;
    }
    // Whoever takes an uplink out of the configuration and puts it back finds its routes again.
    kept_chunk_ = restorer.kept_chunk();
    for (const std::string& port : restorer.missing_ports()) {
        restored.problems.push_back(
            fmt::format("stored routes over {} are left alone: there is no such port", port));
    }
    logged_records_ = restorer.records();
    restored.routes = state_.static_routes();
    return {};
}

}  // namespace slash32
