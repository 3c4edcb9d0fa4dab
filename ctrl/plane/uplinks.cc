// SPDX-License-Identifier: Apache-2.0
// The part of the forwarding plane that is about uplinks: the ports, the host's views of them, and
// the neighbours and routes that are learnt there.
#include "ctrl/plane/forwarding_plane.h"
#include "dp/abi/vlan.h"

#include <utility>

namespace slash32 {

// REQUIRES: the uplink that a VLAN belongs to has been added.
Result<PortId> ForwardingPlane::add_uplink(const UplinkSpec& spec) {
    Result<PortId> id = allocate_id();
    if (!id) return id;
    const PortId parent = spec.is_vlan() ? find_uplink(spec.parent) : kNoPort;
    auto fresh = std::make_unique<Port>();
    fresh->spec = spec;
    fresh->actual.since_ms = unix_ms();
    const auto device =
        spec.is_vlan() ? Result<DeviceHandles>(devices_.open_vlan(*id, parent, spec, fresh->mac))
                       : devices_.open_uplink(*id, spec, fresh->mac);
    if (!device) {
        free_ids_.push_back(*id);
        return tl::unexpected<Error>(device.error());
    }
    next_hops_.set_link(
        *id, PortLink{Mac{}, fresh->mac, spec.mtu, spec.has_host_view() && resolver_ != nullptr});
    ports_.emplace(*id, std::move(fresh));
    if (spec.has_host_view()) {
        if (auto added = add_host_view(*id); !added) return tl::unexpected<Error>(added.error());
    }
    use_device(*id, *device);
    if (spec.is_vlan()) add_vlan(parent, spec.vlan, *id);
    return id;
}

PortId ForwardingPlane::find_uplink(const std::string& name) const {
    for (const auto& [id, owner] : ports_) {
        const auto* uplink = std::get_if<UplinkSpec>(&owner->spec);
        if (uplink != nullptr && uplink->name == name) return id;
    }
    return kNoPort;
}

void ForwardingPlane::add_vlan(PortId uplink, uint16_t vlan, PortId id) {
    Port& owner = port(uplink);
    auto vlans = std::make_shared<VlanPorts>();
    if (owner.vlans != nullptr) *vlans = *owner.vlans;
    vlans->ports[0] = uplink;
    vlans->ports[vlan] = id;
    const auto replaced = std::exchange(owner.vlans, std::move(vlans));
    publish_config(uplink);
    publisher_.when_acknowledged([replaced] {});
}

DeviceCounters ForwardingPlane::device_counters(PortId uplink) const {
    return devices_.counters(uplink);
}

std::vector<DeviceOffload> ForwardingPlane::device_offloads(PortId uplink) const {
    return devices_.offloads(uplink);
}

// REQUIRES: the uplink's device is open, and no worker knows of it yet.
Result<void> ForwardingPlane::add_host_view(PortId uplink) {
    Port& owner = port(uplink);
    Result<PortId> id = allocate_id();
    if (!id) return tl::unexpected<Error>(id.error());
    auto fresh = std::make_unique<Port>();
    fresh->spec = HostView{uplink};
    fresh->mac = owner.mac;
    fresh->actual.since_ms = unix_ms();
    const auto device = devices_.open_host_view(*id, std::get<UplinkSpec>(owner.spec), owner.mac);
    if (!device) {
        free_ids_.push_back(*id);
        return tl::unexpected<Error>(device.error());
    }
    ports_.emplace(*id, std::move(fresh));
    owner.host_view = *id;
    // What the host sends waits in the interface until the uplink is there.
    use_device(*id, *device);
    return {};
}

void ForwardingPlane::set_resolver(TxPort* tx) {
    resolver_ = compile_resolver(tx);
    publisher_.broadcast(Command::set_port(kResolverPort, resolver_.get()));
}

void ForwardingPlane::set_uplink_addresses(PortId uplink, std::vector<IpAddress> addresses) {
    Port& owner = port(uplink);
    if (owner.addresses == addresses) return;
    owner.addresses = std::move(addresses);
    publish_config(uplink);
}

void ForwardingPlane::learn_neighbor(PortId uplink, const IpAddress& address,
                                     const std::optional<LearnedNeighbor>& neighbor) {
    next_hops_.learn_neighbor(uplink, address, neighbor);
}

void ForwardingPlane::set_hop_group(NextHopId group, std::vector<GroupMember> members) {
    if (!groups_.set_members(group, std::move(members))) return;
    tunnels_.group_changed(group);
    for (const VrfId vrf : learned_vrfs_)
        routes_changed(vrf);
}

void ForwardingPlane::remove_hop_group(NextHopId group) {
    groups_.remove(group);
}

Result<void> ForwardingPlane::learn_route(VrfId vrf, const IpPrefix& prefix, NextHopId group) {
    const auto present = fib_.get(vrf, prefix);
    if (present && !is_learned(*present)) return {};  // an owner's
    auto added = put_route(vrf, prefix, group);
    if (!added) return added;
    learned_vrfs_.insert(vrf);
    learned_untold_.insert(vrf);
    return {};
}

void ForwardingPlane::forget_route(VrfId vrf, const IpPrefix& prefix) {
    const auto present = fib_.get(vrf, prefix);
    if (!present || !is_learned(*present)) return;
    take_route(vrf, prefix);
    learned_untold_.insert(vrf);
}

void ForwardingPlane::tell_flows_of_learned() {
    for (const VrfId vrf : std::exchange(learned_untold_, {}))
        routes_changed(vrf);
}

}  // namespace slash32
