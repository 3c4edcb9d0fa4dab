// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/state.h"

#include "dp/base/assert.h"

#include <set>
#include <utility>

namespace slash32 {

Pins::Pins(Pins&& other) noexcept
    : state_(std::exchange(other.state_, nullptr)),
      hops_(std::move(other.hops_)),
      ports_(std::move(other.ports_)) {
    other.hops_.clear();
    other.ports_.clear();
}

Pins& Pins::operator=(Pins&& other) noexcept {
    if (this == &other) return *this;
    release();
    state_ = std::exchange(other.state_, nullptr);
    hops_ = std::exchange(other.hops_, {});
    ports_ = std::exchange(other.ports_, {});
    return *this;
}

Pins::~Pins() {
    release();
}

void Pins::release() {
    for (const uint32_t hop : hops_)
        state_->hops.unpin(hop);
    for (const uint16_t port : ports_)
        state_->ports.unpin(port);
    hops_.clear();
    ports_.clear();
}

ChangeCounts ChangeSet::counts() const {
    ChangeCounts out;
    out.unchanged = unchanged;
    out.missing = missing;
    const auto count = [&](bool had, bool has) {
        ++(!had ? out.added : !has ? out.removed : out.changed);
    };
    for (const PortChange& change : ports)
        count(change.before != nullptr, change.after != nullptr);
    for (const RouteChange& change : routes) {
        // A fixed address that replaces a route, or the reverse, is half a route.
        const bool had = change.had && change.before.origin_port == 0;
        const bool has = change.has && change.after.origin_port == 0;
        if (had || has) count(had, has);
    }
    for (const NeighborChange& change : neighbors) {
        count(change.before.has_value(), change.after.has_value());
    }
    if (kind == Kind::kMembers) {
        for (const MemberChange& change : members) {
            out.added += change.added.size();
            out.removed += change.removed.size();
        }
        return out;
    }
    for (const GroupChange& change : groups)
        count(change.before != nullptr, change.after != nullptr);
    for (const VrfChange& change : vrfs)
        count(change.before != nullptr, change.after != nullptr);
    std::set<GroupKey> counted;
    for (const GroupChange& change : groups)
        counted.insert(change.key);
    for (const MemberChange& change : members)
        out.changed += counted.contains(change.key) ? 0 : 1;
    return out;
}

void State::apply(ChangeSet& change) {
    ++live_changes_;
    if (!change.empty()) change.revision = ++revision;
    for (VrfChange& vrf : change.vrfs) {
        if (vrf.before) vrf.was_stale = vrfs.find(vrf.id)->stale;
        if (vrf.after)
            vrf.after = std::make_shared<VrfRecord>(VrfRecord{vrf.after->intent, change.revision});
        set_vrf(vrf.id, vrf.after, false);
    }
    for (PortChange& port : change.ports) {
        port.was_stale = ports.at(port.port).stale;
        if (port.after) {
            port.after =
                std::make_shared<PortRecord>(PortRecord{port.after->intent, change.revision});
        }
        set_port(port.port, port.before, port.after, false);
    }
    for (const RouteChange& route : change.routes) {
        if (route.has && route.after.origin_port == 0) hops.add_route(route.after.hop);
        set_route(route.key, route.had ? &route.before : nullptr,
                  route.has ? &route.after : nullptr);
    }
    for (const NeighborChange& neighbor : change.neighbors) {
        set_neighbor(neighbor.key, neighbor.after);
    }
    for (GroupChange& group : change.groups) {
        if (group.before) group.was_stale = groups.find(group.key)->stale;
        if (!group.after) continue;
        group.after =
            std::make_shared<GroupRecord>(GroupRecord{group.after->intent, change.revision});
        set_group(group.key, group.after, false);
    }
    for (const MemberChange& members : change.members) {
        for (const IpPrefix& member : members.added)
            groups.add_member(members.key, member);
        for (const IpPrefix& member : members.removed)
            groups.remove_member(members.key, member);
    }
    for (const GroupChange& group : change.groups) {
        if (!group.after) set_group(group.key, nullptr, false);
    }
}

void State::undo(ChangeSet& change) {
    --live_changes_;
    for (const GroupChange& group : change.groups) {
        if (group.before) set_group(group.key, group.before, group.was_stale);
    }
    for (const MemberChange& members : change.members) {
        for (const IpPrefix& member : members.removed)
            groups.add_member(members.key, member);
        for (const IpPrefix& member : members.added)
            groups.remove_member(members.key, member);
    }
    for (const GroupChange& group : change.groups) {
        if (!group.before) set_group(group.key, nullptr, false);
    }
    for (const NeighborChange& neighbor : change.neighbors) {
        set_neighbor(neighbor.key, neighbor.before);
    }
    for (const RouteChange& route : change.routes) {
        set_route(route.key, route.has ? &route.after : nullptr,
                  route.had ? &route.before : nullptr);
        if (route.has && route.after.origin_port == 0) hops.drop_route(route.after.hop);
    }
    for (const PortChange& port : change.ports) {
        set_port(port.port, port.after, port.before, port.was_stale);
    }
    for (const VrfChange& vrf : change.vrfs)
        set_vrf(vrf.id, vrf.before, vrf.was_stale);
}

void State::finish(ChangeSet& change) {
    --live_changes_;
    for (const RouteChange& route : change.routes) {
        if (route.had && route.before.origin_port == 0) hops.drop_route(route.before.hop);
    }
    confirm(change);
}

void State::set_port(uint16_t index, const PortRecordPtr& from, const PortRecordPtr& to,
                     bool stale) {
    PortSlot& slot = ports.at(index);
    S32_ASSERT(slot.record.get() == from.get());
    const auto account = [&](const PortIntent& intent, bool is_stale, bool add) {
        const Result<uint32_t> owner_index = owners.index(intent.owner, false);
        S32_ASSERT(owner_index.has_value());
        OwnerCounts& counts = owners.counts(*owner_index);
        const uint32_t by = add ? 1 : UINT32_MAX;  // modulo 2^32: minus one
        counts.ports += by;
        if (is_stale) counts.stale += by;
        ports_wanted_ += add ? 1 : SIZE_MAX;
        if (intent.kind == PortKind::kVhost) vhost_ports_ += add ? 1 : SIZE_MAX;
        auto& names = intent.kind == PortKind::kVhost ? sockets : taps;
        const std::string& name = intent.kind == PortKind::kVhost ? intent.socket : intent.tap;
        if (add) {
            names[name] = index;
        } else if (const auto at = names.find(name); at != names.end() && at->second == index) {
            names.erase(at);
        }
    };
    if (from) account(from->intent, slot.stale, false);
    slot.record = to;
    slot.stale = stale && to != nullptr;
    if (to) account(to->intent, slot.stale, true);
}

void State::count_route(const RouteKey& key, RouteValue value, int by) {
    const auto step = static_cast<size_t>(static_cast<std::ptrdiff_t>(by));  // modulo 2^64
    RouteCounts& counts = route_counts_[key.prefix.address.is_ipv4() ? 0 : 1];
    (key.prefix.is_host() ? counts.hosts : counts.prefixes) += step;
    if (value.origin_port != 0) {
        counts.of_ports += step;
        return;
    }
    OwnerCounts& owner_counts = owners.counts(value.owner);
    owner_counts.routes += static_cast<uint32_t>(by);
    if (value.stale != 0) owner_counts.stale += static_cast<uint32_t>(by);
    const HopSpec& hop = hops.spec(value.hop);
    if (hop.has_port()) {
        ports.at(hop.port).routes += static_cast<uint32_t>(by);
    }
}

void State::set_route(const RouteKey& key, const RouteValue* from, const RouteValue* to) {
    if (from != nullptr) count_route(key, *from, -1);
    if (to != nullptr) {
        count_route(key, *to, 1);
        routes.set(key, *to);
    } else {
        S32_ASSERT(routes.erase(key));
    }
}

void State::set_neighbor(const NeighborKey& key, const std::optional<NeighborRecord>& to) {
    const auto at = neighbors.find(key);
    if (at != neighbors.end()) {
        OwnerCounts& counts = owners.counts(at->second.owner);
        --counts.neighbors;
        if (at->second.stale) --counts.stale;
        neighbors.erase(at);
    }
    if (!to) return;
    OwnerCounts& counts = owners.counts(to->owner);
    ++counts.neighbors;
    if (to->stale) ++counts.stale;
    neighbors.emplace(key, *to);
}

void State::set_group(const GroupKey& key, const GroupRecordPtr& to, bool stale) {
    const auto account = [&](const GroupSlot& slot, uint32_t by) {
        OwnerCounts& counts = owners.counts(*owners.index(slot.record->intent.owner, false));
        counts.groups += by;
        if (slot.stale) counts.stale += by;
    };
    if (const GroupSlot* slot = groups.find(key)) account(*slot, UINT32_MAX);  // minus one
    groups.set(key, to, stale);
    if (to) account(*groups.find(key), 1);
}

void State::set_vrf(VrfId id, const VrfRecordPtr& to, bool stale) {
    const auto account = [&](const VrfSlot& slot, uint32_t by) {
        OwnerCounts& counts = owners.counts(*owners.index(slot.record->intent.owner, false));
        counts.vrfs += by;
        if (slot.stale) counts.stale += by;
    };
    if (const VrfSlot* slot = vrfs.find(id)) account(*slot, UINT32_MAX);  // minus one
    vrfs.set(id, to, stale);
    if (to) account(*vrfs.find(id), 1);
}

void State::confirm(const ChangeSet& change) {
    const auto confirm_port = [&](PortSlot& slot) {
        if (!slot.stale || !slot.record) return;
        slot.stale = false;
        --owners.counts(*owners.index(owner_of(slot), false)).stale;
    };
    for (const uint16_t port : change.confirmed_ports)
        confirm_port(ports.at(port));
    for (const RouteKey& key : change.confirmed_routes) {
        RouteValue* value = routes.find(key);
        if (value == nullptr || value->stale == 0) continue;
        value->stale = 0;
        --owners.counts(value->owner).stale;
    }
    for (const NeighborKey& key : change.confirmed_neighbors) {
        const auto at = neighbors.find(key);
        if (at == neighbors.end() || !at->second.stale) continue;
        at->second.stale = false;
        --owners.counts(at->second.owner).stale;
    }
    for (const GroupKey& key : change.confirmed_groups) {
        const GroupSlot* slot = groups.find(key);
        if (slot == nullptr || !slot->stale) continue;
        groups.set_stale(key, false);
        --owners.counts(*owners.index(slot->record->intent.owner, false)).stale;
    }
    for (const VrfId id : change.confirmed_vrfs) {
        const VrfSlot* slot = vrfs.find(id);
        if (slot == nullptr || !slot->stale) continue;
        vrfs.set_stale(id, false);
        --owners.counts(*owners.index(slot->record->intent.owner, false)).stale;
    }
    if (change.confirmed_owner) confirm_owner(*change.confirmed_owner);
}

void State::confirm_owner(uint32_t owner_index) {
    if (owners.counts(owner_index).stale == 0) return;
    ports.visit_all([&](uint16_t index, const PortSlot& slot) {
        if (slot.record && owner_of(slot) == owners.name(owner_index))
            ports.at(index).stale = false;
    });
    routes.update_all([&](RouteValue& value) {
        if (value.origin_port == 0 && value.owner == owner_index) value.stale = 0;
    });
    for (auto& [key, record] : neighbors) {
        if (record.owner == owner_index) record.stale = false;
    }
    for (const auto& [key, slot] : groups.all()) {
        if (slot.record->intent.owner == owners.name(owner_index)) groups.set_stale(key, false);
    }
    for (const auto& [id, slot] : vrfs.all()) {
        if (slot.record->intent.owner == owners.name(owner_index)) vrfs.set_stale(id, false);
    }
    owners.counts(owner_index).stale = 0;
}

void State::restore_port(uint16_t port, const PortRecordPtr& record) {
    const uint32_t owner_index = *owners.index(record->intent.owner, false);
    set_port(port, nullptr, record, true);
    for (const FixedAddress& fixed : record->intent.addresses) {
        restore_address({record->intent.vrf, {fixed.address, fixed.address.bits()}}, port,
                        owner_index);
    }
}

void State::restore_address(const RouteKey& key, uint16_t port, uint32_t owner_index) {
    RouteValue value;
    value.hop = port;
    value.owner = owner_index & ((1u << kOwnerIndexBits) - 1);
    value.origin_port = 1;
    set_route(key, nullptr, &value);
}

void State::restore_neighbor(const NeighborKey& key, const NeighborRecord& record) {
    set_neighbor(key, record);
}

void State::restore_group(const GroupRecordPtr& record) {
    set_group(record->intent.key, record, true);
}

void State::restore_vrf(const VrfRecordPtr& record) {
    set_vrf(record->intent.id, record, true);
}

void State::restore_route(const RouteKey& key, RouteValue value) {
    restore_no_route(key);
    hops.add_route(value.hop);
    set_route(key, nullptr, &value);
}

void State::restore_no_route(const RouteKey& key) {
    const RouteValue* old = routes.find(key);
    if (old == nullptr || old->origin_port != 0) return;
    const RouteValue was = *old;
    set_route(key, &was, nullptr);
    hops.drop_route(was.hop);
}

}  // namespace slash32
