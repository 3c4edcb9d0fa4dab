// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/kernel_routing.h"

#include <chrono>
#include <utility>
#include <vector>

namespace slash32 {
namespace {

constexpr auto kFlowPause = std::chrono::milliseconds(20);

}  // namespace

KernelRouting::KernelRouting(asio::io_context& io, ForwardingPlane& plane, Options options)
    : plane_(plane),
      uplinks_(std::move(options.uplinks)),
      sets_(plane, options.routes.tables),
      routes_(plane, sets_, std::move(options.routes)),
      tunnel_timer_(io),
      flow_timer_(io) {}

KernelRouting::~KernelRouting() {
    plane_.on_link([](PortId) {});
    plane_.on_reach([] {});
    plane_.on_owner_route_gone([](VrfId, const IpPrefix&) { return std::nullopt; });
}

Result<std::unique_ptr<KernelRouting>> KernelRouting::start(asio::io_context& io,
                                                            ForwardingPlane& plane,
                                                            Options options) {
    std::unique_ptr<KernelRouting> routing(new KernelRouting(io, plane, std::move(options)));
    KernelRouting* const self = routing.get();
    auto neighbors = Neighbors::open(io, plane, self->sets_, self->routes_);
    if (!neighbors) return tl::unexpected<Error>(neighbors.error());
    self->neighbors_ = std::move(*neighbors);
    self->sets_.on_want([self](PortId port, const IpAddress& address, bool wanted) {
        self->neighbors_->want(port, address, wanted);
    });
    plane.on_link([self](PortId port) { self->sets_.refresh(port); });
    plane.on_reach([self] { self->refresh_tunnels_soon(); });
    auto mirror = KernelMirror::start(io, *self);
    if (!mirror) return tl::unexpected<Error>(mirror.error());
    self->mirror_ = std::move(*mirror);
    return routing;
}

void KernelRouting::link(const LinkMessage& message, bool gone) {
    const auto uplink = uplinks_.find(message.name);
    const bool ours = uplink != uplinks_.end() && !gone;
    const bool up = message.up && !gone;
    sets_.set_interface(message.index, ours && up ? std::optional(uplink->second) : std::nullopt);
    if (up) {
        up_.insert(message.index);
    } else if (up_.erase(message.index) > 0 && sets_.uses(message.index)) {
        // IPv4 routes go without a word with an interface that is set down.
        mirror_->resync_soon();
    }
}

void KernelRouting::address(const AddressMessage& message, bool gone) {
    if (dumping_)
        told_.insert(message);
    else if (gone)
        addresses_.erase(message);
    else
        addresses_.insert(message);
    addresses_changed_ = true;
}

void KernelRouting::next_hop(const NextHopMessage& message, bool gone) {
    if (gone) {
        objects_.erase(message.id);
        // Routes go with their object, IPv4 ones without a word.
        if (sets_.remove_object(message.id)) mirror_->resync_soon();
        return;
    }
    if (dumping_) told_objects_.insert(message.id);
    objects_.insert(message.id);
    sets_.set_object(message);
}

void KernelRouting::route(const RouteMessage& message, bool gone, bool appended) {
    routes_.take(message, gone, appended);
}

void KernelRouting::dump_begins() {
    dumping_ = true;
    told_.clear();
    told_objects_.clear();
    routes_.begin_dump();
    neighbors_->begin_dump();
}

void KernelRouting::dump_ends() {
    dumping_ = false;
    std::swap(addresses_, told_);
    routes_.end_dump();
    neighbors_->end_dump();
    for (auto at = objects_.begin(); at != objects_.end();) {
        if (told_objects_.contains(*at)) {
            ++at;
            continue;
        }
        sets_.remove_object(*at);
        at = objects_.erase(at);
    }
}

// Not from within the change of a route that has brought it about.
void KernelRouting::refresh_tunnels_soon() {
    tunnel_timer_.expires_after(std::chrono::milliseconds(0));
    tunnel_timer_.async_wait([this](const asio::error_code& error) {
        if (!error) sets_.refresh_tunnels();
    });
}

void KernelRouting::settled() {
    if (std::exchange(addresses_changed_, false)) set_sources();
    if (!flow_timer_runs_) tell_flows();
}

// At once, and then not for a while: a full table that comes in would else make every packet look
// its route up anew.
void KernelRouting::tell_flows() {
    plane_.tell_flows_of_learned();
    flow_timer_runs_ = true;
    flow_timer_.expires_after(kFlowPause);
    flow_timer_.async_wait([this](const asio::error_code& error) {
        if (error) return;
        flow_timer_runs_ = false;
        plane_.tell_flows_of_learned();
    });
}

// ICMP errors that leave by an uplink come from the host's global address on it, or else from any
// that it has: where the links have none of their own, the loopback interface does.
void KernelRouting::set_sources() {
    for (const auto& [name, port] : uplinks_) {
        const uint32_t interface = sets_.interface_of(port);
        std::vector<IpAddress> sources;
        for (const Family family : {Family::kIpv4, Family::kIpv6}) {
            const AddressMessage* best = nullptr;
            for (const AddressMessage& candidate : addresses_) {
                if (candidate.address.family != family || !candidate.global) continue;
                if (best == nullptr || (candidate.interface == interface && interface != 0))
                    best = &candidate;
            }
            if (best != nullptr) sources.push_back(best->address);
        }
        plane_.set_uplink_addresses(port, std::move(sources));
    }
}

}  // namespace slash32
