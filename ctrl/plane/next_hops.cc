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
    const NextHopSpec over{
        .kind = NextHopSpec::Kind::kPort, .port = port, .via = address, .mac = {}};
    if (const auto found = by_spec_.find(over); found != by_spec_.end()) publish(found->second);
}

Adjacency NextHops::compile(const NextHopSpec& spec) const {
    Adjacency adjacency;
    if (spec.kind == NextHopSpec::Kind::kBlackhole) {
        adjacency.kind = AdjacencyKind::kBlackhole;
        return adjacency;
    }
    if (spec.kind == NextHopSpec::Kind::kUnreachable) {
        adjacency.kind = AdjacencyKind::kUnreachable;
        return adjacency;
    }
    const PortLink& link = links_.at(spec.port);
    adjacency.kind = AdjacencyKind::kEthernet;
    adjacency.port = spec.port;
    adjacency.mtu = link.mtu;
    adjacency.source = link.router_mac;
    adjacency.destination = spec.mac.value_or(link.mac);
    if (spec.via) {
        const auto neighbor = neighbors_.find({spec.port, *spec.via});
        if (neighbor == neighbors_.end())
            adjacency.kind = AdjacencyKind::kIncomplete;
        else
            adjacency.destination = neighbor->second;
    }
    return adjacency;
}

void NextHops::publish(NextHopId id) {
    Entry& entry = entries_[id.value()];
    entry.adjacency = compile(entry.spec);
    publisher_.broadcast(Command::set_adjacency(id, entry.adjacency));
}

void NextHops::republish_port(PortId port) {
    for (const auto& [spec, id] : by_spec_) {
        if (spec.kind == NextHopSpec::Kind::kPort && spec.port == port) publish(id);
    }
}

}  // namespace slash32
