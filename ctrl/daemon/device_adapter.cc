// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/device_adapter.h"

#include "ctrl/daemon/network_namespace.h"
#include "ctrl/log/log.h"
#include "ctrl/routing/host_link.h"

#include <asio/post.hpp>
#include <fmt/format.h>
#include <grp.h>

#include <charconv>
#include <utility>

namespace slash32 {
namespace {

std::optional<gid_t> find_group(const std::string& name) {
    gid_t id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error == std::errc{} && end == name.data() + name.size()) return id;
    const group* entry = getgrnam(name.c_str());
    return entry == nullptr ? std::nullopt : std::optional(entry->gr_gid);
}

DeviceEvent::Type event_type(DriverEventType type) {
    switch (type) {
        case DriverEventType::kWaiting:
            return DeviceEvent::Type::kWaiting;
        case DriverEventType::kConnected:
            return DeviceEvent::Type::kConnected;
        case DriverEventType::kRingsReady:
        case DriverEventType::kLinkUp:
            return DeviceEvent::Type::kRingsReady;
        case DriverEventType::kRingsOff:
            return DeviceEvent::Type::kRingsOff;
        case DriverEventType::kDisconnected:
        case DriverEventType::kLinkDown:  // nobody is at the other end
            return DeviceEvent::Type::kDisconnected;
        case DriverEventType::kFailed:
            return DeviceEvent::Type::kFailed;
    }
    return DeviceEvent::Type::kFailed;
}

DeviceEvent translate(const DriverEvent& from) {
    DeviceEvent to{.type = event_type(from.type),
                   .port = from.port,
                   .reason = from.reason,
                   .last_error = "",
                   .mtu = from.mtu,
                   .queue_pairs = from.queue_pairs,
                   .features = virtio_feature_names(from.features)};
    if (from.type == DriverEventType::kWaiting) {
        to.reason = fmt::format("waiting for {}", from.path);
        to.last_error = from.reason;
    } else if (from.type == DriverEventType::kDisconnected && to.reason.empty()) {
        to.reason = fmt::format("the frontend has left {}", from.path);
    } else if (from.type == DriverEventType::kLinkDown && to.reason.empty()) {
        to.reason = "the link is down";
    }
    if (from.link) to.link = PortLinkInfo{from.link->speed_mbps, from.link->losses};
    return to;
}

UplinkBond bond_of(BondMode mode) {
    switch (mode) {
        case BondMode::kNone:
            break;
        case BondMode::kActiveBackup:
            return UplinkBond::kActiveBackup;
        case BondMode::kBalance:
            return UplinkBond::kBalance;
        case BondMode::kLacp:
            return UplinkBond::kLacp;
    }
    return UplinkBond::kNone;
}

DeviceHandles handles_of(const PortHandles& from) {
    return DeviceHandles{.tx = from.tx, .rx = from.rx};
}

}  // namespace

DeviceAdapter::~DeviceAdapter() = default;

Result<void> DeviceAdapter::start(const Options& options) {
    if (!config_.vhost_socket_group.empty()) {
        vhost_group_ = find_group(config_.vhost_socket_group);
        if (!vhost_group_)
            return fail(ErrorCode::kInvalid, "vhost.socket_group",
                        fmt::format("there is no group \"{}\"", config_.vhost_socket_group));
    }
    // Drivers call from threads of their own.
    const auto hook = [this](const DriverEvent& event) {
        asio::post(io_, [this, event] { handle(event); });
    };
    auto vhost = VhostDriver::create(VhostDriver::Options{
        .pool = options.pool, .event = hook, .synchronize = options.synchronize});
    if (!vhost) return tl::unexpected<Error>(vhost.error());
    vhost_ = std::move(*vhost);
    tap_ = std::make_unique<TapDriver>(TapDriver::Options{.pool = options.pool, .event = hook});
    uplink_ =
        std::make_unique<UplinkDriver>(UplinkDriver::Options{.pool = options.pool, .event = hook});
    workers_ = static_cast<uint16_t>(options.workers);
    holder_ = options.holder;
    home_ = options.home;
    return {};
}

Result<DeviceHandles> DeviceAdapter::open(PortId id, const PortIntent& intent) {
    auto opened = intent.kind == PortKind::kTap ? open_tap(id, intent) : open_vhost(id, intent);
    if (opened) kinds_[id] = intent.kind;
    return opened;
}

Result<DeviceHandles> DeviceAdapter::open_vhost(PortId id, const PortIntent& intent) {
    const auto added = vhost_->add(
        VhostPortSpec{.id = id,
                      .path = intent.socket,
                      .server = intent.socket_mode == SocketMode::kServer,
                      .queue_pairs = intent.queues,
                      .packed = config_.vhost_packed,
                      .masked_features = 0,
                      .mode = static_cast<mode_t>(parse_mode(config_.vhost_socket_mode)),
                      .group = vhost_group_});
    if (!added) return tl::unexpected<Error>(added.error());
    return handles_of(*added);
}

Result<DeviceHandles> DeviceAdapter::open_tap(PortId id, const PortIntent& intent) {
    const std::string& interface = intent.tap.empty() ? intent.name : intent.tap;
    const TapPortSpec spec{.id = id,
                           .interface = interface,
                           .queue_pairs = intent.queues,
                           .mtu = intent.mtu,
                           .mac = intent.mac};
    if (intent.owner == kHostOwner) return add_held(spec);
    const InNamespace home(home_);
    if (auto entered = home.entered(); !entered) return tl::unexpected<Error>(entered.error());
    const auto added = tap_->add(spec);
    if (!added) return tl::unexpected<Error>(added.error());
    return handles_of(*added);
}

// An interface of the host's, whose routes, addresses and sessions shall outlive the daemon.
Result<DeviceHandles> DeviceAdapter::add_held(TapPortSpec spec) {
    if (holder_ != nullptr) spec.adopted = holder_->take(spec.interface);
    const auto added = tap_->add(spec);
    if (!added) return tl::unexpected<Error>(added.error());
    if (holder_ != nullptr) {
        holder_->keep(spec.interface, tap_->descriptor(spec.id));
        held_[spec.id] = spec.interface;
    }
    return handles_of(*added);
}

Result<DeviceHandles> DeviceAdapter::open_uplink(PortId id, const UplinkSpec& spec, Mac& mac) {
    const InNamespace home(home_);
    if (auto entered = home.entered(); !entered) return tl::unexpected<Error>(entered.error());
    const auto added = uplink_->add(UplinkPortSpec{.id = id,
                                                   .devargs = spec.devargs,
                                                   .bond = bond_of(spec.bond),
                                                   .members = spec.members,
                                                   .rx_queues = spec.queues,
                                                   .workers = workers_,
                                                   .mtu = spec.mtu,
                                                   .mac = spec.mac,
                                                   .damping = spec.damping,
                                                   .offload = spec.offload});
    if (!added) return tl::unexpected<Error>(added.error());
    if (added->port.rx.size() < spec.queues) {
        log("routing").warn("uplink {} has {} receive queues, not {}: its device has no more",
                            spec.name, added->port.rx.size(), spec.queues);
    }
    mac = added->mac;
    kinds_[id] = PortKind::kUplink;
    return handles_of(added->port);
}

DeviceHandles DeviceAdapter::open_vlan(PortId id, PortId uplink, const UplinkSpec& spec, Mac& mac) {
    const UplinkHandles added = uplink_->add_vlan(
        VlanPortSpec{.id = id, .uplink = uplink, .vlan = spec.vlan, .mtu = spec.mtu});
    mac = added.mac;
    kinds_[id] = PortKind::kUplink;
    return handles_of(added.port);
}

DeviceCounters DeviceAdapter::counters(PortId uplink) {
    const UplinkCounters counted = uplink_->counters(uplink);
    return DeviceCounters{.rx_missed = counted.rx_missed,
                          .rx_errors = counted.rx_errors,
                          .rx_no_buffer = counted.rx_no_buffer,
                          .tx_errors = counted.tx_errors};
}

std::vector<DeviceOffload> DeviceAdapter::offloads(PortId uplink) {
    std::vector<DeviceOffload> rules;
    for (OffloadRule& rule : uplink_->offloads(uplink)) {
        rules.push_back(DeviceOffload{.rule = std::move(rule.name),
                                      .hardware = rule.hardware,
                                      .reason = std::move(rule.reason)});
    }
    return rules;
}

Result<DeviceHandles> DeviceAdapter::open_host_view(PortId id, const UplinkSpec& spec,
                                                    const Mac& mac) {
    // Without offloads: what the host sends goes on the wire as it is.
    auto added = add_held(TapPortSpec{.id = id,
                                      .interface = spec.name,
                                      .queue_pairs = 1,
                                      .mtu = spec.mtu,
                                      .mac = mac,
                                      .carrier = false,
                                      .offloads = false});
    if (added) kinds_[id] = PortKind::kHost;
    return added;
}

void DeviceAdapter::close(PortId id, std::function<void()> done) {
    const auto kind = kinds_.extract(id);
    if (const auto held = held_.extract(id); !held.empty()) holder_->drop(held.mapped());
    const auto posted = [this, done = std::move(done)] { asio::post(io_, done); };
    if (kind.empty()) return posted();
    switch (kind.mapped()) {
        case PortKind::kVhost:
            return vhost_->remove(id, posted);
        case PortKind::kTap:
        case PortKind::kHost:
            return tap_->remove(id, posted);
        case PortKind::kUplink:
            return uplink_->remove(id, posted);
    }
}

void DeviceAdapter::on_event(std::function<void(const DeviceEvent&)> listener) {
    listener_ = std::move(listener);
}

void DeviceAdapter::handle(const DriverEvent& event) {
    log("vhost").debug("port {} event {} {}", event.port.value(), static_cast<int>(event.type),
                       event.reason);
    if (listener_) listener_(translate(event));
}

}  // namespace slash32
