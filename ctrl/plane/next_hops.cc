// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/next_hops.h"

#include "dp/base/assert.h"

namespace slash32 {

NextHops::NextHops(Publisher& publisher) : publisher_(publisher), entries_(1) {}

Result<NextHopId> NextHops::acquire(const NextHopSpec& spec) {
    if (const auto found = by_spec_.find(spec); found != by_spec_.end()) {
        ++entries_[found->second.value()].references;
        return found->second;
    }
    NextHopId id;
    if (!free_.empty()) {
        id = free_.back();
        free_.pop_back();
    } else if (entries_.size() < kMaxAdjacencies) {
        id = NextHopId{static_cast<uint32_t>(entries_.size())};
        entries_.emplace_back();
    } else {
        return fail(ErrorCode::kLimit, "", "no more next hops: all adjacencies are in use");
    }
    entries_[id.value()] = Entry{.spec = spec, .adjacency = {}, .references = 1};
    by_spec_.emplace(spec, id);
    publish(id);
    return id;
}

void NextHops::release(NextHopId id) {
    Entry& entry = entries_[id.value()];
    S32_ASSERT(entry.references > 0);
    if (--entry.references > 0) return;
    by_spec_.erase(entry.spec);
    entry.adjacency = Adjacency{};
    publisher_.broadcast(Command::set_adjacency(id, entry.adjacency));
    // A burst may have read the id from the FIB before its route went away.
    publisher_.when_quiescent([this, id] { free_.push_back(id); });
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

Adjacency NextHops::compile(NextHopId id, const NextHopSpec& spec) const {
    Adjacency adjacency;
    switch (spec.kind) {
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
            return compile_over(id, spec);
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
        adjacency.resolves = link.resolves;
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
            adjacency.resolves = link.resolves && !known;
        }
    }
    if (adjacency.resolves) adjacency.destination = unresolved_mac(id);
    return adjacency;
}

void NextHops::publish(NextHopId id) {
    Entry& entry = entries_[id.value()];
    entry.adjacency = compile(id, entry.spec);
    publisher_.broadcast(Command::set_adjacency(id, entry.adjacency));
}

void NextHops::republish_port(PortId port) {
    for (const auto& [spec, id] : by_spec_) {
        if (spec.port == port) publish(id);
    }
}

}  // namespace slash32
