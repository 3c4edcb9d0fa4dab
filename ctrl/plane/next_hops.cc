// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/next_hops.h"

#include "dp/base/assert.h"

#include <fmt/format.h>

#include <utility>

namespace slash32 {

NextHops::NextHops(Publisher& publisher) : publisher_(publisher), entries_(1) {}

Result<NextHopId> NextHops::allocate() {
    if (!free_.empty()) {
        const NextHopId id = free_.back();
        free_.pop_back();
        return id;
    }
    if (entries_.size() == kMaxAdjacencies)
        return fail(ErrorCode::kLimit, "", "no more next hops: all adjacencies are in use");
    entries_.emplace_back();
    return NextHopId{static_cast<uint32_t>(entries_.size() - 1)};
}

Result<std::shared_ptr<const LocalSid>> NextHops::make_sid(const NextHopSpec& spec) {
    NextHopId over;
    if (spec.port != kNoPort) {
        const auto hop = acquire(NextHopSpec{
            .kind = NextHopSpec::Kind::kPort, .port = spec.port, .via = spec.via, .mac = spec.mac});
        if (!hop) return tl::unexpected<Error>(hop.error());
        over = *hop;
    }
    uint16_t counter = next_counter_;
    if (!free_counters_.empty()) {
        counter = free_counters_.back();
        free_counters_.pop_back();
    } else if (next_counter_ < kMaxSids) {
        ++next_counter_;
    } else {
        if (over != kNoNextHop) release(over);
        return fail(ErrorCode::kLimit, "", fmt::format("at most {} segments", kMaxSids - 1));
    }
    return std::make_shared<const LocalSid>(build_sid(*spec.segment_routing.sid, over, counter));
}

Result<NextHops::Entry> NextHops::make_entry(const NextHopSpec& spec) {
    Entry entry{.spec = spec, .references = 1};
    if (spec.kind == NextHopSpec::Kind::kTunnel) {
        S32_ASSERT(spec.segment_routing.paths.size() == 1);
        entry.encapsulation = std::make_shared<const Encapsulation>(
            build_encapsulation(spec.segment_routing.paths.front(), tunnel_settings_));
    } else if (spec.kind == NextHopSpec::Kind::kSid) {
        auto sid = make_sid(spec);
        if (!sid) return tl::unexpected<Error>(sid.error());
        entry.sid = std::move(*sid);
    }
    return entry;
}

Result<NextHopId> NextHops::acquire(const NextHopSpec& spec) {
    if (const auto found = by_spec_.find(spec); found != by_spec_.end()) {
        ++entries_[found->second.value()].references;
        return found->second;
    }
    Result<Entry> entry = make_entry(spec);
    if (!entry) return tl::unexpected<Error>(entry.error());
    Result<NextHopId> id = allocate();
    if (!id) {
        dismiss(*entry);
        return id;
    }
    entries_[id->value()] = std::move(*entry);
    by_spec_.emplace(spec, *id);
    if (spec.segment_routing.aging && use_ != nullptr)
        (*use_)[id->value()].store(clock_(), std::memory_order_relaxed);
    publish(*id);
    return id;
}

// What the entry held, when no worker refers to it any more.
void NextHops::dismiss(const Entry& entry) {
    if (entry.sid == nullptr) return;
    if (entry.sid->next_hop != kNoNextHop) release(entry.sid->next_hop);
    counter_freed_(entry.sid->counter);
    free_counters_.push_back(entry.sid->counter);
}

void NextHops::release(NextHopId id) {
    Entry& entry = entries_[id.value()];
    S32_ASSERT(entry.references > 0);
    if (--entry.references > 0) return;
    by_spec_.erase(entry.spec);
    auto gone = std::make_shared<Entry>(std::move(entry));
    entry = {};
    publisher_.broadcast(Command::set_adjacency(id, entry.adjacency));
    // A burst may have read the id from the FIB before its route went away.
    publisher_.when_quiescent([this, id, gone] {
        dismiss(*gone);
        free_.push_back(id);
    });
}

void NextHops::set_underlay(NextHopId tunnel, NextHopId underlay, uint16_t mtu) {
    Entry& entry = entries_[tunnel.value()];
    entry.underlay = underlay;
    entry.underlay_mtu = mtu;
    publish(tunnel);
}

void NextHops::set_link(PortId port, const PortLink& link) {
    links_[port] = link;
    republish_port(port);
}

void NextHops::remove_link(PortId port) {
    links_.erase(port);
}

void NextHops::set_neighbor(PortId port, const IpAddress& address, std::optional<Mac> mac) {
    if (mac)
        neighbors_[{port, address}] = *mac;
    else
        neighbors_.erase({port, address});
    republish_neighbor(port, address);
}

void NextHops::learn_neighbor(PortId port, const IpAddress& address,
                              const std::optional<LearnedNeighbor>& neighbor) {
    if (neighbor)
        learned_[{port, address}] = *neighbor;
    else
        learned_.erase({port, address});
    republish_neighbor(port, address);
}

void NextHops::republish_neighbor(PortId port, const IpAddress& address) {
    const NextHopSpec over{
        .kind = NextHopSpec::Kind::kPort, .port = port, .via = address, .mac = {}};
    if (const auto found = by_spec_.find(over); found != by_spec_.end()) publish(found->second);
}

Adjacency NextHops::compile(NextHopId id, const Entry& entry) const {
    Adjacency adjacency;
    switch (entry.spec.kind) {
        case NextHopSpec::Kind::kBlackhole:
            adjacency.kind = AdjacencyKind::kBlackhole;
            return adjacency;
        case NextHopSpec::Kind::kUnreachable:
            adjacency.kind = AdjacencyKind::kUnreachable;
            return adjacency;
        case NextHopSpec::Kind::kHost:
            adjacency.kind = AdjacencyKind::kHost;
            return adjacency;
        case NextHopSpec::Kind::kPort:
        case NextHopSpec::Kind::kGlean:
            return compile_over(id, entry.spec);
        case NextHopSpec::Kind::kTunnel:
            adjacency.kind = AdjacencyKind::kTunnel;
            if (entry.spec.segment_routing.reports_misses) adjacency.flags |= kReportsMisses;
            if (entry.spec.segment_routing.aging) adjacency.flags |= kNotesUse;
            adjacency.encapsulation = entry.encapsulation.get();
            adjacency.underlay = entry.underlay;
            if (entry.underlay_mtu > entry.encapsulation->length)
                adjacency.mtu =
                    static_cast<uint16_t>(entry.underlay_mtu - entry.encapsulation->length);
            return adjacency;
        case NextHopSpec::Kind::kVrf:
            adjacency.kind = AdjacencyKind::kVrf;
            adjacency.vrf = entry.spec.vrf;
            return adjacency;
        case NextHopSpec::Kind::kSid:
            adjacency.kind = AdjacencyKind::kSegment;
            adjacency.sid = entry.sid.get();
            return adjacency;
    }
    return adjacency;
}

Adjacency NextHops::compile_over(NextHopId id, const NextHopSpec& spec) const {
    const PortLink& link = links_.at(spec.port);
    Adjacency adjacency;
    adjacency.kind = AdjacencyKind::kEthernet;
    adjacency.port = spec.port;
    adjacency.mtu = link.mtu;
    adjacency.source = link.router_mac;
    adjacency.destination = spec.mac.value_or(link.mac);
    if (spec.kind == NextHopSpec::Kind::kGlean) {
        adjacency.kind = AdjacencyKind::kGlean;
        if (link.resolves) adjacency.flags = kResolves;
    } else if (spec.via) {
        const std::pair key{spec.port, *spec.via};
        const auto set = neighbors_.find(key);
        const auto learned = learned_.find(key);
        const bool known = learned != learned_.end();
        if (set != neighbors_.end()) {
            adjacency.destination = set->second;
        } else if (known && learned->second.mac) {
            adjacency.destination = *learned->second.mac;
        } else {
            adjacency.kind = AdjacencyKind::kIncomplete;
            if (link.resolves && !known) adjacency.flags = kResolves;
        }
    }
    if (adjacency.flags != 0) adjacency.destination = unresolved_mac(id);
    return adjacency;
}

void NextHops::publish(NextHopId id) {
    Entry& entry = entries_[id.value()];
    entry.adjacency = compile(id, entry);
    publisher_.broadcast(Command::set_adjacency(id, entry.adjacency));
}

void NextHops::republish_port(PortId port) {
    for (const auto& [spec, id] : by_spec_) {
        if (spec.port == port) publish(id);
    }
}

}  // namespace slash32
