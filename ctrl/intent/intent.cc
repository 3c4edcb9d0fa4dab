// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/intent.h"

#include "ctrl/intent/group_json.h"
#include "ctrl/intent/port_json.h"
#include "ctrl/intent/vrf_json.h"
#include "ctrl/rpc/json_text.h"
#include "dp/base/assert.h"

#include <fmt/format.h>

#include <algorithm>

namespace slash32 {
namespace {

constexpr size_t kChunkRecords = 65536;
// The chunks are written anew when they hold this many records, and twice as many as there are
// routes: a route costs at most three records, however often it changes.
constexpr size_t kCompactRecords = 65536;

std::unique_ptr<State> make_state(const IntentOptions& options, Plane& plane) {
    return std::make_unique<State>(options.volatile_owners,
                                   [&plane](NextHopId id) { plane.release_next_hop(id); });
}

StoredPort stored_port(const std::string& name, const PortRecordPtr& record) {
    if (!record) return {name, std::nullopt, 0};
    return {name, rpc::dump_json(to_json(record->intent)), record->revision};
}

}  // namespace

Intent::Intent(Plane& plane, Store& store, Executor executor, IntentOptions options)
    : plane_(plane),
      store_(store),
      executor_(std::move(executor)),
      options_(std::move(options)),
      state_owner_(make_state(options_, plane)),
      state_(*state_owner_),
      programmer_(state_, plane) {}

Intent::~Intent() {
    *alive_ = false;
}

Result<void> Intent::add_uplink(const UplinkSpec& spec, PortId id) {
    if (state_.ports.find(spec.name) != PortTable::kNone) {
        return fail(ErrorCode::kConflict, "", fmt::format("two uplinks are named {}", spec.name));
    }
    const Result<uint32_t> owner = state_.owner(kUplinkOwner);
    if (!owner) return tl::unexpected(owner.error());
    for (const IpAddress& address : spec.addresses) {
        if (state_.routes.find({spec.vrf, {address, address.bits()}}) == nullptr) continue;
        return fail(ErrorCode::kConflict, "",
                    fmt::format("two uplinks have the address {}", to_string(address)));
    }
    const Result<uint16_t> index = state_.ports.pin(spec.name);  // for ever
    if (!index) return tl::unexpected(index.error());
    state_.ports.at(*index).uplink = spec;
    state_.ports.set_id(*index, id);
    for (const IpAddress& address : spec.addresses) {
        state_.restore_address({spec.vrf, {address, address.bits()}}, *index, *owner);
    }
    return {};
}

Result<void> Intent::add_host_view(const UplinkSpec& spec, PortId id) {
    const Result<uint16_t> index = state_.ports.pin(host_view_name(spec.name));  // for ever
    if (!index) return tl::unexpected(index.error());
    PortSlot& slot = state_.ports.at(*index);
    slot.uplink = spec;
    slot.host_view = true;
    state_.ports.set_id(*index, id);
    return {};
}

void Intent::write(Plan plan, Callback done) {
    queue_.emplace_back(Write{std::move(plan), std::move(done), nullptr, std::nullopt});
    schedule();
}

void Intent::read(std::function<void(State&)> read) {
    if (queue_.empty() && group_.empty()) {
        read(state_);
        return;
    }
    queue_.emplace_back(std::move(read));
    schedule();
}

// From the event loop, so that the requests of one turn become one group.
void Intent::schedule() {
    if (scheduled_ || committing_ || running_) return;
    scheduled_ = true;
    executor_([this, alive = alive_] {
        if (!*alive) return;
        scheduled_ = false;
        run();
    });
}

void Intent::run() {
    running_ = true;
    while (!committing_ && (!queue_.empty() || repair_due_)) {
        collect();
        if (group_.empty() && !repair_due_) continue;
        StoreBatch batch = make_batch();
        if (batch.empty()) {
            settle({});
            continue;
        }
        committing_ = true;
        store_.commit(std::move(batch), [this, alive = alive_](const Result<void>& stored) {
            if (!*alive) return;
            committing_ = false;
            running_ = true;
            settle(stored);
            running_ = false;
            run();
        });
    }
    running_ = false;
}

// Moves what can go together from the queue to the group, planned and applied.
void Intent::collect() {
    size_t routes = 0;
    while (!queue_.empty() && routes <= options_.group_routes_max) {
        if (Read* reading = std::get_if<Read>(&queue_.front())) {
            if (!group_.empty()) return;
            const Read read = std::move(*reading);
            queue_.pop_front();
            read(state_);
            continue;
        }
        Write write = std::move(std::get<Write>(queue_.front()));
        queue_.pop_front();
        Result<ChangeSet> change = write.plan(state_);
        if (change) {
            write.change = std::make_unique<ChangeSet>(std::move(*change));
            state_.apply(*write.change);
            routes += write.change->routes.size();
        } else {
            // It may be due to one before it that comes to nothing: answered in its turn.
            write.error = change.error();
        }
        group_.push_back(std::move(write));
    }
}

HopRequest Intent::describe(uint32_t hop) const {
    const HopSpec& spec = state_.hops.spec(hop);
    HopRequest out{spec.kind, "", spec.via, spec.mac, spec.segment_routing, spec.vrf};
    if (spec.has_port()) out.port = state_.ports.at(spec.port).name;
    return out;
}

RouteChunkWriter Intent::chunk_writer() const {
    return RouteChunkWriter([this](uint32_t hop) { return describe(hop); },
                            [this](uint32_t owner) { return state_.owners.name(owner); });
}

StoreBatch Intent::make_batch() {
    StoreBatch batch = repair_;
    batch_records_ = repair_records_;
    repair_due_ = false;
    RouteChunkWriter writer = chunk_writer();
    for (const Write& write : group_) {
        if (write.change) add_to_batch(*write.change, batch, writer);
    }
    batch_records_ += writer.records();
    if (writer.records() > 0) batch.route_chunks.push_back(writer.finish());
    const size_t logged_max = std::max(kCompactRecords, 2 * state_.static_routes());
    batch_replaces_ = batch_records_ > 0 && logged_records_ + batch_records_ > logged_max;
    if (batch_replaces_) snapshot_routes(batch);
    batch.revision = state_.revision;
    return batch;
}

void Intent::add_to_batch(const ChangeSet& change, StoreBatch& batch,
                          RouteChunkWriter& writer) const {
    for (const VrfChange& vrf : change.vrfs) {
        StoredVrf stored{vrf.id, std::nullopt, 0};
        if (vrf.after) {
            stored.json = rpc::dump_json(to_json(vrf.after->intent));
            stored.revision = vrf.after->revision;
        }
        batch.vrfs.push_back(std::move(stored));
    }
    for (const PortChange& port : change.ports) {
        batch.ports.push_back(stored_port(state_.ports.at(port.port).name, port.after));
    }
    for (const NeighborChange& neighbor : change.neighbors) {
        StoredNeighbor stored{
            state_.ports.at(neighbor.key.port).name, neighbor.key.address, {}, ""};
        if (neighbor.after) {
            stored.mac = neighbor.after->mac;
            stored.owner = state_.owners.name(neighbor.after->owner);
        }
        batch.neighbors.push_back(std::move(stored));
    }
    for (const GroupChange& group : change.groups) {
        StoredGroup stored{group.key, std::nullopt, 0};
        if (group.after) {
            stored.json = to_text(group.after->intent);
            stored.revision = group.after->revision;
        }
        batch.groups.push_back(std::move(stored));
    }
    for (const MemberChange& members : change.members) {
        for (const IpPrefix& prefix : members.removed)
            batch.members.push_back({members.key, prefix, true});
        for (const IpPrefix& prefix : members.added)
            batch.members.push_back({members.key, prefix, false});
    }
    const auto is_stored = [this](bool there, RouteValue value) {
        return there && value.origin_port == 0 && !state_.owners.is_volatile(value.owner);
    };
    for (const RouteChange& route : change.routes) {
        if (is_stored(route.has, route.after)) {
            writer.set(route.key, route.after);
        } else if (is_stored(route.had, route.before)) {
            writer.remove(route.key);
        }
    }
}

// All routes as they are now, in place of the chunks so far.
void Intent::snapshot_routes(StoreBatch& batch) const {
    batch.replace_routes = true;
    batch.route_chunks.clear();
    if (!kept_chunk_.empty()) batch.route_chunks.push_back(kept_chunk_);
    RouteChunkWriter writer = chunk_writer();
    state_.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        if (value.origin_port != 0 || state_.owners.is_volatile(value.owner)) return true;
        writer.set(key, value);
        if (writer.records() == kChunkRecords) batch.route_chunks.push_back(writer.finish());
        return true;
    });
    if (writer.records() > 0) batch.route_chunks.push_back(writer.finish());
}

void Intent::settle(const Result<void>& stored) {
    if (!stored) {
        refuse_group(stored.error());
        return;
    }
    repair_ = {};
    repair_records_ = 0;
    logged_records_ = batch_replaces_ ? state_.static_routes() : logged_records_ + batch_records_;
    program_group();
}

void Intent::refuse_group(const Error& error) {
    std::vector<Write> group = std::move(group_);
    group_.clear();
    std::vector<Write> again;
    for (auto at = group.rbegin(); at != group.rend(); ++at) {
        if (at->change) state_.undo(*at->change);
    }
    std::vector<Write> refused;
    for (Write& write : group) {
        const bool changes = write.change && !write.change->empty();
        write.change.reset();
        (changes ? refused : again).push_back(std::move(write));
    }
    requeue(std::move(again));
    for (Write& write : refused)
        write.done(tl::unexpected(error));
}

void Intent::program_group() {
    std::vector<Write> group = std::move(group_);
    group_.clear();
    for (size_t i = 0; i < group.size(); ++i) {
        Write& write = group[i];
        if (write.error) {
            complete(std::move(write));
            continue;
        }
        Result<void> programmed = programmer_.program(*write.change);
        if (programmed) {
            complete(std::move(write));
            continue;
        }
        // The plane has no room for it. It is undone, with all that was planned on top of it.
        for (size_t later = group.size(); later-- > i;) {
            if (!group[later].change) continue;
            add_inverse(*group[later].change);
            state_.undo(*group[later].change);
        }
        std::vector<Write> again;
        for (size_t later = i + 1; later < group.size(); ++later) {
            group[later].change.reset();
            group[later].error.reset();
            again.push_back(std::move(group[later]));
        }
        write.change.reset();
        requeue(std::move(again));
        // The store holds what was refused until this is written.
        repair_due_ = !repair_.empty();
        write.done(tl::unexpected(programmed.error()));
        return;
    }
}

// Remembers to write back what `change`, now durable, has replaced.
void Intent::add_inverse(const ChangeSet& change) {
    ChangeSet inverse(state_, change.kind, change.owner);
    for (const VrfChange& vrf : change.vrfs)
        inverse.vrfs.push_back({vrf.id, vrf.after, vrf.before});
    for (const PortChange& port : change.ports) {
        inverse.ports.push_back({port.port, port.after, port.before});
    }
    for (const NeighborChange& neighbor : change.neighbors) {
        inverse.neighbors.push_back({neighbor.key, neighbor.after, neighbor.before});
    }
    for (const RouteChange& route : change.routes) {
        inverse.routes.push_back({route.key, route.has, route.had, route.after, route.before});
    }
    for (const GroupChange& group : change.groups) {
        inverse.groups.push_back({group.key, group.after, group.before});
    }
    for (const MemberChange& members : change.members) {
        inverse.members.push_back({members.key, members.removed, members.added});
    }
    RouteChunkWriter writer = chunk_writer();
    add_to_batch(inverse, repair_, writer);
    repair_records_ += writer.records();
    if (writer.records() > 0) repair_.route_chunks.push_back(writer.finish());
}

void Intent::complete(Write write) {
    if (write.error) {
        write.done(tl::unexpected(*write.error));
        return;
    }
    const ChangeSet& change = *write.change;
    Done done;
    done.counts = change.counts();
    done.revision = state_.revision;
    done.seq = listener_ ? listener_(change) : 0;
    if (change.revision != 0) {
        done.revision = change.revision;
    } else if (change.kind == ChangeSet::Kind::kPort && change.port != PortTable::kNone &&
               state_.ports.at(change.port).record) {
        done.revision = state_.ports.at(change.port).record->revision;
    }
    if (change.port != PortTable::kNone) done.port = state_.ports.at(change.port).id;
    write.change.reset();  // lets go of its pins before the next is programmed
    plane_.when_programmed([callback = std::move(write.done), done] { callback(done); });
}

void Intent::requeue(std::vector<Write> writes) {
    for (auto at = writes.rbegin(); at != writes.rend(); ++at) {
        at->error.reset();
        queue_.emplace_front(std::move(*at));
    }
}

}  // namespace slash32
