// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/forwarding_plane.h"

#include "dp/base/assert.h"

#include <algorithm>
#include <chrono>

namespace slash32 {
namespace {

NextHopSpec local_next_hop(PortId port, std::optional<Mac> mac) {
    return NextHopSpec{.kind = NextHopSpec::Kind::kPort, .port = port, .via = {}, .mac = mac};
}

IpPrefix host_prefix(const IpAddress& address) {
    return IpPrefix{address, address.bits()};
}

// Whether the device must be made anew to get from one to the other.
bool same_device(const PortIntent& a, const PortIntent& b) {
    return a.kind == b.kind && a.socket == b.socket && a.socket_mode == b.socket_mode &&
           a.tap == b.tap && a.queues == b.queues;
}

bool uses(const PortIntent& intent, VrfId vrf, const IpAddress& address) {
    return intent.vrf == vrf && std::ranges::any_of(intent.addresses, [&](const FixedAddress& f) {
               return f.address == address;
           });
}

const AllowedPair* find_pair(const PortIntent& intent, const IpAddress& address) {
    for (const AllowedPair& pair : intent.allowed_pairs) {
        if (pair.prefix.contains(address)) return &pair;
    }
    return nullptr;
}

// How long the routes of a VM stay after it has gone. What its owner has withdrawn goes at once.
std::chrono::milliseconds linger_of(const PortIntent& intent) {
    const bool lingers = intent.announce == Announce::kAuto;
    return std::chrono::milliseconds(lingers ? intent.withdraw_delay_ms : 0);
}

}  // namespace

ForwardingPlane::ForwardingPlane(Publisher& publisher, Fib& fib, Devices& devices,
                                 RouterIdentity router, const FirewallTables& tables)
    : publisher_(publisher),
      fib_(fib),
      devices_(devices),
      router_(router),
      next_hops_(publisher),
      groups_(publisher),
      tunnels_(next_hops_, fib, groups_),
      firewall_(publisher, tables.sets),
      generations_(tables.generations),
      queue_counts_(publisher.workers()) {
    devices_.on_event([this](const DeviceEvent& event) { handle(event); });
    tunnels_.on_reach([this](NextHopId tunnel) { tunnel_reach_changed(tunnel); });
}

ForwardingPlane::~ForwardingPlane() {
    // Workers have been stopped: nobody refers to the configurations any more.
    for (const auto& [id, port] : ports_)
        delete port->config;
}

int64_t ForwardingPlane::unix_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

Result<PortId> ForwardingPlane::allocate_id() {
    if (!free_ids_.empty()) {
        const PortId id = free_ids_.back();
        free_ids_.pop_back();
        return id;
    }
    if (next_id_ == kResolverPort.value())
        return fail(ErrorCode::kLimit, "", "no more ports: all ids are in use");
    return PortId{next_id_++};
}

Result<PortId> ForwardingPlane::add_port(const PortIntent& intent) {
    Result<PortId> id = allocate_id();
    if (!id) return id;
    auto fresh = std::make_unique<Port>();
    fresh->spec = intent;
    fresh->mac = intent.mac;
    fresh->actual.since_ms = unix_ms();
    ports_.emplace(*id, std::move(fresh));
    next_hops_.set_link(*id, PortLink{intent.mac, router_.mac, intent.mtu});

    const auto undo = [&](Error error) -> Result<PortId> {
        keep_addresses(port(*id), nullptr);
        next_hops_.remove_link(*id);
        ports_.erase(*id);
        free_ids_.push_back(*id);
        return tl::unexpected<Error>(std::move(error));
    };
    if (auto added = add_addresses(*id, intent); !added) return undo(added.error());
    auto policy = firewall_.policy(intent);
    if (!policy) return undo(policy.error());
    if (auto joined = firewall_.join(intent); !joined) return undo(joined.error());
    port(*id).policy = std::move(*policy);
    const auto device = devices_.open(*id, intent);
    if (!device) {
        firewall_.leave(intent);
        return undo(device.error());
    }
    use_device(*id, *device);
    return id;
}

Result<void> ForwardingPlane::change_port(PortId id, const PortIntent& intent) {
    Port& changed = port(id);
    const PortIntent old = changed.intent();
    // What is new first: only that can fail, and what stays never blinks.
    auto policy = firewall_.policy(intent);
    if (!policy) return tl::unexpected<Error>(policy.error());
    if (auto joined = firewall_.join(intent); !joined) return joined;
    if (auto added = add_addresses(id, intent); !added) {
        firewall_.leave(intent);
        return added;
    }
    firewall_.leave(old);
    keep_addresses(changed, &intent);
    changed.spec = intent;
    changed.mac = intent.mac;
    next_hops_.set_link(id, PortLink{intent.mac, router_.mac, intent.mtu});
    release_held(id, &intent);
    if (!same_device(old, intent)) reopen(id);
    const SharedPolicy replaced = std::exchange(changed.policy, std::move(*policy));
    publish_config(id);
    publisher_.when_acknowledged([replaced] {});
    tell_reachable(id);
    return {};
}

void ForwardingPlane::remove_port(PortId id) {
    Port& removed = port(id);
    removed_hook_(id);
    reachable_hook_(id, {.addresses = {}, .linger = linger_of(removed.intent()), .removed = true});
    release_held(id, nullptr);
    keep_addresses(removed, nullptr);
    next_hops_.remove_link(id);
    firewall_.leave(removed.intent());
    drop_queues(removed);
    unpublish_config(id);
    ports_.erase(id);
    close_device(id, [this, id] {
        gone_hook_(id);
        free_ids_.push_back(id);
    });
}

// Once workers have let go of it. What it held (a socket, an interface name) is free at `done`.
void ForwardingPlane::close_device(PortId id, std::function<void()> done) {
    ++closing_;
    publisher_.when_quiescent([this, id, done = std::move(done)] {
        devices_.close(id, [this, done] {
            done();
            if (--closing_ > 0) return;
            // What came in place of the device may have been published just now.
            for (auto& waiter : std::exchange(after_closing_, {}))
                publisher_.when_acknowledged(std::move(waiter));
        });
    });
}

// Closes the device and opens it anew for the present intent, with workers out of the way between.
void ForwardingPlane::reopen(PortId id) {
    Port& reopened = port(id);
    drop_queues(reopened);
    reopened.tx = nullptr;
    set_state(id, PortState::kWaiting, "device is being changed", "");
    if (std::exchange(reopened.reopening, true)) return;  // the pending one takes the new intent
    close_device(id, [this, id] {
        const auto found = ports_.find(id);
        if (found == ports_.end()) return;
        found->second->reopening = false;
        const auto device = devices_.open(id, found->second->intent());
        if (device)
            use_device(id, *device);
        else
            set_state(id, PortState::kFailed, device.error().message, "");
    });
}

// The configuration first: a packet must find the port that it came from.
void ForwardingPlane::use_device(PortId id, const DeviceHandles& handles) {
    Port& owner = port(id);
    owner.tx = handles.tx;
    publish_config(id);
    for (RxQueue* queue : handles.rx) {
        const auto least = std::ranges::min_element(queue_counts_);
        ++*least;
        const auto worker = static_cast<size_t>(least - queue_counts_.begin());
        owner.queues.push_back(AssignedQueue{queue, worker});
        publisher_.send(worker, Command::rx_queue(Opcode::kAddRxQueue, queue));
    }
    mark_unprogrammed(id);
}

std::unique_ptr<PortConfig> ForwardingPlane::compile(PortId id, const Port& port) const {
    if (const auto* uplink = std::get_if<UplinkSpec>(&port.spec)) {
        return compile_uplink(id, *uplink, router_,
                              {.mac = port.mac,
                               .tx = port.tx,
                               .host_view = port.host_view,
                               .vlans = port.vlans.get(),
                               .addresses = port.addresses});
    }
    if (const auto* view = std::get_if<HostView>(&port.spec))
        return compile_host_view(id, view->uplink, port.mac, port.tx);
    return compile_port(id, port.intent(), router_, port.tx, port.policy.get());
}

void ForwardingPlane::publish_config(PortId id) {
    Port& published = port(id);
    const PortConfig* old = published.config;
    published.config = compile(id, published).release();
    publisher_.broadcast(Command::set_port(id, published.config));
    if (old != nullptr) publisher_.when_acknowledged([old] { delete old; });
    raise_epoch_when_acknowledged();
    mark_unprogrammed(id);
}

// Ports of the group, whose policies have been compiled anew.
void ForwardingPlane::publish_ports_of(const std::string& group) {
    for (const auto& [id, owner] : ports_) {
        const auto* intent = std::get_if<PortIntent>(&owner->spec);
        if (intent == nullptr || std::ranges::find(intent->groups, group) == intent->groups.end())
            continue;
        const auto policy = firewall_.policy(*intent);
        if (!policy || *policy == owner->policy) continue;
        const SharedPolicy replaced = std::exchange(owner->policy, *policy);
        publish_config(id);
        publisher_.when_acknowledged([replaced] {});
    }
}

// Flows compare what decided them with what does now, once every worker has the present ports.
void ForwardingPlane::raise_epoch_when_acknowledged() {
    publisher_.when_acknowledged([this] { generations_.raise_epoch(); });
}

void ForwardingPlane::unpublish_config(PortId id) {
    const PortConfig* old = port(id).config;
    publisher_.broadcast(Command::set_port(id, nullptr));
    publisher_.when_acknowledged(
        [old, policy = port(id).policy, vlans = port(id).vlans] { delete old; });
    raise_epoch_when_acknowledged();
}

// Until every worker has acknowledged what has been sent so far.
void ForwardingPlane::mark_unprogrammed(PortId id) {
    Port& marked = port(id);
    marked.actual.programmed = false;
    const uint64_t generation = ++marked.generation;
    publisher_.when_acknowledged([this, id, generation] {
        const auto found = ports_.find(id);
        if (found == ports_.end() || found->second->generation != generation) return;
        found->second->actual.programmed = true;
        check_wired(id);
    });
}

// Adds the host routes that the intent has and the port has not; all or none.
Result<void> ForwardingPlane::add_addresses(PortId id, const PortIntent& intent) {
    Port& owner = port(id);
    const size_t before = owner.host_routes.size();
    for (const FixedAddress& fixed : intent.addresses) {
        const bool present = std::ranges::any_of(owner.host_routes, [&](const HostRoute& route) {
            return route.vrf == intent.vrf && route.address == fixed.address;
        });
        if (present) continue;
        if (auto added = add_host_route(owner, id, intent.vrf, fixed.address); !added) {
            for (size_t i = before; i < owner.host_routes.size(); ++i)
                remove_host_route(owner.host_routes[i]);
            owner.host_routes.resize(before);
            return added;
        }
    }
    return {};
}

// Removes the host routes that the intent has not; nullptr has none.
void ForwardingPlane::keep_addresses(Port& owner, const PortIntent* intent) {
    std::erase_if(owner.host_routes, [&](const HostRoute& route) {
        if (intent != nullptr && uses(*intent, route.vrf, route.address)) return false;
        remove_host_route(route);
        return true;
    });
}

Result<void> ForwardingPlane::add_host_route(Port& owner, PortId id, VrfId vrf,
                                             const IpAddress& address) {
    const Result<NextHopId> next_hop = next_hops_.acquire(local_next_hop(id, std::nullopt));
    if (!next_hop) return tl::unexpected<Error>(next_hop.error());
    if (auto added = put_route(vrf, host_prefix(address), *next_hop); !added) {
        next_hops_.release(*next_hop);
        return added;
    }
    routes_changed(vrf);
    // A fixed address wins over a holder of the same address.
    end_holder(vrf, address);
    owner.host_routes.push_back(HostRoute{vrf, address, *next_hop});
    return {};
}

void ForwardingPlane::remove_host_route(const HostRoute& route) {
    // In a change of several ports another one may have taken the address over meanwhile.
    const IpPrefix prefix = host_prefix(route.address);
    if (fib_.get(route.vrf, prefix) == route.next_hop) drop_route(route.vrf, prefix);
    release_next_hop(route.next_hop);
}

// The address has another route now.
void ForwardingPlane::end_holder(VrfId vrf, const IpAddress& address) {
    const auto held = held_.find({vrf, address});
    if (held == held_.end()) return;
    const Holder holder = held->second;
    held_.erase(held);
    release_next_hop(holder.next_hop);
    tell_reachable(holder.port);
}

// Takes back the held addresses of a port that `intent` allows no more; nullptr allows none.
void ForwardingPlane::release_held(PortId id, const PortIntent* intent) {
    for (auto it = held_.begin(); it != held_.end();) {
        const auto& [key, holder] = *it;
        if (holder.port != id || (intent != nullptr && intent->vrf == key.first &&
                                  find_pair(*intent, key.second) != nullptr)) {
            ++it;
            continue;
        }
        drop_route(key.first, host_prefix(key.second));
        release_next_hop(holder.next_hop);
        it = held_.erase(it);
    }
}

void ForwardingPlane::address_announced(PortId id, const IpAddress& address) {
    const auto found = ports_.find(id);
    if (found == ports_.end()) return;
    const auto* intent = std::get_if<PortIntent>(&found->second->spec);
    if (intent == nullptr) return;
    const AllowedPair* pair = find_pair(*intent, address);
    if (pair == nullptr) return;

    const auto held = held_.find({intent->vrf, address});
    if (held != held_.end() && held->second.port == id) return;
    // A route that stands there otherwise is a fixed address or an owner's: it stays.
    const auto present = fib_.get(intent->vrf, host_prefix(address));
    if (held == held_.end() && present && !is_learned(*present)) return;
    const Result<NextHopId> next_hop = next_hops_.acquire(local_next_hop(id, pair->mac));
    if (!next_hop) return;
    if (!put_route(intent->vrf, host_prefix(address), *next_hop)) {
        next_hops_.release(*next_hop);
        return;
    }
    routes_changed(intent->vrf);
    const auto former = held == held_.end() ? std::nullopt : std::optional(held->second);
    held_[{intent->vrf, address}] = Holder{id, *next_hop};
    tell_reachable(id);
    if (former) {
        release_next_hop(former->next_hop);
        tell_reachable(former->port);
    }
    emit(PlaneEvent{PlaneEvent::Type::kAddressMoved, id, address, ""});
}

void ForwardingPlane::drop_queues(Port& owner) {
    for (const AssignedQueue& assigned : owner.queues) {
        publisher_.send(assigned.worker, Command::rx_queue(Opcode::kRemoveRxQueue, assigned.queue));
        --queue_counts_[assigned.worker];
    }
    owner.queues.clear();
}

void ForwardingPlane::handle(const DeviceEvent& event) {
    const auto found = ports_.find(event.port);
    // Of a device on its way out.
    if (found == ports_.end() || found->second->reopening) return;
    Port& owner = *found->second;
    if (event.link) owner.actual.link = event.link;
    note_device(owner, event);
    if (std::holds_alternative<UplinkSpec>(owner.spec)) link_hook_(event.port);
}

void ForwardingPlane::note_device(Port& owner, const DeviceEvent& event) {
    using Type = DeviceEvent::Type;
    switch (event.type) {
        case Type::kWaiting:
            set_state(event.port, PortState::kWaiting, event.reason, event.last_error);
            break;
        case Type::kConnected:
            set_state(event.port, PortState::kConnected, "", "");
            emit(PlaneEvent{PlaneEvent::Type::kConnected, event.port, {}, ""});
            check_wired(event.port);
            break;
        case Type::kRingsReady:
            owner.actual.mtu = event.mtu;
            owner.actual.queues = event.queue_pairs;
            owner.actual.features = event.features;
            if (owner.host_view != kNoPort) devices_.set_carrier(owner.host_view, true);
            if (owner.actual.state != PortState::kRunning) {
                set_state(event.port, PortState::kRunning, "", "");
                emit(PlaneEvent{PlaneEvent::Type::kRingsReady, event.port, {}, ""});
            }
            check_wired(event.port);
            break;
        case Type::kRingsOff:
            if (owner.actual.state == PortState::kRunning)
                set_state(event.port, PortState::kConnected, "the rings are off", "");
            break;
        case Type::kDisconnected:
            set_state(event.port, PortState::kWaiting, event.reason, event.last_error);
            owner.was_wired = false;
            if (owner.host_view != kNoPort) devices_.set_carrier(owner.host_view, false);
            emit(PlaneEvent{PlaneEvent::Type::kDisconnected, event.port, {}, event.reason});
            break;
        case Type::kFailed:
            set_state(event.port, PortState::kFailed, event.reason, event.last_error);
            owner.was_wired = false;
            emit(PlaneEvent{PlaneEvent::Type::kFailed, event.port, {}, event.reason});
            break;
    }
}

void ForwardingPlane::set_state(PortId id, PortState state, std::string reason,
                                std::string last_error) {
    PortActual& actual = port(id).actual;
    if (actual.state != state) actual.since_ms = unix_ms();
    actual.state = state;
    actual.reason = std::move(reason);
    actual.last_error = std::move(last_error);
    if (state == PortState::kWaiting || state == PortState::kFailed) {
        actual.mtu = 0;
        actual.queues = 0;
        actual.features.clear();
    }
    tell_reachable(id);
}

void ForwardingPlane::check_wired(PortId id) {
    Port& checked = port(id);
    if (!checked.actual.wired() || std::exchange(checked.was_wired, true)) return;
    tell_reachable(id);
    emit(PlaneEvent{PlaneEvent::Type::kWired, id, {}, ""});
}

// A port that has been wired stays so while it is changed, or every change would be a withdrawal.
void ForwardingPlane::tell_reachable(PortId id) {
    const Port& owner = port(id);
    const auto* intent = std::get_if<PortIntent>(&owner.spec);
    if (intent == nullptr) return;
    const PortState state = owner.actual.state;
    const bool there =
        owner.was_wired && (state == PortState::kConnected || state == PortState::kRunning);
    Reachable reachable{.addresses = {},
                        .table = intent->announce_table,
                        .metric = intent->announce_metric,
                        .linger = there ? std::chrono::milliseconds(0) : linger_of(*intent),
                        .removed = false};
    if (there && intent->announce == Announce::kAuto && intent->vrf == VrfId{0}) {
        for (const HostRoute& route : owner.host_routes)
            reachable.addresses.push_back(route.address);
        for (const auto& [key, holder] : held_) {
            if (holder.port == id) reachable.addresses.push_back(key.second);
        }
    }
    reachable_hook_(id, reachable);
}

void ForwardingPlane::emit(const PlaneEvent& event) {
    if (listener_) listener_(event);
}

PortActual ForwardingPlane::actual(PortId id) const {
    return ports_.at(id)->actual;
}

const PortConfig* ForwardingPlane::config(PortId id) const {
    if (id == kResolverPort) return resolver_.get();
    const auto found = ports_.find(id);
    return found == ports_.end() ? nullptr : found->second->config;
}

void ForwardingPlane::for_each_config(
    const std::function<void(PortId, const PortConfig*)>& visit) const {
    for (uint16_t id = 1; id < next_id_; ++id)
        visit(PortId{id}, config(PortId{id}));
}

std::vector<std::pair<PortId, uint16_t>> ForwardingPlane::queues_of_worker(size_t worker) const {
    std::vector<std::pair<PortId, uint16_t>> queues;
    for (const auto& [id, owner] : ports_) {
        for (const AssignedQueue& assigned : owner->queues) {
            if (assigned.worker == worker) queues.emplace_back(id, assigned.queue->index);
        }
    }
    return queues;
}

void ForwardingPlane::set_neighbor(PortId id, const IpAddress& address, std::optional<Mac> mac) {
    next_hops_.set_neighbor(id, address, mac);
}

Result<void> ForwardingPlane::set_route(VrfId vrf, const IpPrefix& prefix, NextHopId next_hop) {
    auto added = put_route(vrf, prefix, next_hop);
    if (added) routes_changed(vrf);
    if (!added || !prefix.is_host() || held_.empty()) return added;
    // An owner's route wins over a holder of the same address.
    end_holder(vrf, prefix.address);
    return added;
}

void ForwardingPlane::remove_route(VrfId vrf, const IpPrefix& prefix) {
    drop_route(vrf, prefix);
}

// Of an owner: a learnt route that stood behind it takes its place.
void ForwardingPlane::drop_route(VrfId vrf, const IpPrefix& prefix) {
    const auto learned = learned_route_(vrf, prefix);
    if (!learned || !put_route(vrf, prefix, *learned)) take_route(vrf, prefix);
    routes_changed(vrf);
}

// Flows look their route up again, once for all changes of one turn: every raise costs each flow a
// lookup.
void ForwardingPlane::routes_changed(VrfId vrf) {
    if (changed_routes_.empty()) publisher_.when_acknowledged([this] { raise_routes(); });
    changed_routes_.insert(vrf);
}

void ForwardingPlane::raise_routes() {
    // Flows of a VRF whose routes lead into a changed one go by that one's routes, too.
    std::set<VrfId> raised = std::exchange(changed_routes_, {});
    for (std::vector<VrfId> todo(raised.begin(), raised.end()); !todo.empty();) {
        const auto from = led_into_.find(todo.back());
        todo.pop_back();
        if (from == led_into_.end()) continue;
        for (const VrfId vrf : from->second) {
            if (raised.insert(vrf).second) todo.push_back(vrf);
        }
    }
    for (const VrfId vrf : raised)
        generations_.raise_routes(vrf);
}

Result<void> ForwardingPlane::set_group(const GroupIntent& group) {
    const auto set = firewall_.set_group(group);
    if (!set) return tl::unexpected<Error>(set.error());
    if (set->changed) publish_ports_of(group.key.name);
    return {};
}

void ForwardingPlane::remove_group(const GroupKey& key) {
    firewall_.remove_group(key);
}

Result<void> ForwardingPlane::add_members(const GroupKey& key,
                                          const std::vector<IpPrefix>& members) {
    return firewall_.add_members(key, members);
}

void ForwardingPlane::remove_members(const GroupKey& key, const std::vector<IpPrefix>& members) {
    firewall_.remove_members(key, members);
}

std::vector<RuleId> ForwardingPlane::rule_ids(const std::string& group) const {
    return firewall_.rule_ids(group);
}

void ForwardingPlane::when_programmed(std::function<void()> done) {
    publisher_.when_acknowledged([this, done = std::move(done)] {
        // A socket or interface name that was given up must be free for the next request.
        if (closing_ == 0)
            done();
        else
            after_closing_.push_back(done);
    });
}

void ForwardingPlane::on_event(std::function<void(const PlaneEvent&)> listener) {
    listener_ = std::move(listener);
}

}  // namespace slash32
