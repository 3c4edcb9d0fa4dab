// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/hop_sets.h"

#include <linux/seg6_local.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace slash32 {

Result<HopSets::Id> HopSets::acquire(const Ways& ways) {
    const auto [at, fresh] = by_ways_.try_emplace(ways, next_);
    if (!fresh) {
        ++sets_.at(at->second).references;
        return at->second;
    }
    const auto group = plane_.create_hop_group();
    if (!group) {
        by_ways_.erase(at);
        return tl::unexpected<Error>(group.error());
    }
    Set& set = sets_[next_];
    set.ways = &at->first;
    set.group = *group;
    set.references = 1;
    evaluate(set);
    return next_++;
}

void HopSets::release(Id id) {
    const auto found = sets_.find(id);
    Set& set = found->second;
    if (--set.references > 0) return;
    plane_.remove_hop_group(set.group);
    for (const auto& [spec, hop] : set.members) {
        plane_.release_next_hop(hop);
        count_want(spec, -1);
    }
    by_ways_.erase(*set.ways);
    sets_.erase(found);
}

size_t HopSets::unresolved() const {
    size_t count = 0;
    for (const auto& [id, set] : sets_)
        if (set.members.empty()) count += set.references;
    return count;
}

void HopSets::set_interface(uint32_t interface, std::optional<PortId> port) {
    const auto found = ports_.find(interface);
    if (port ? found != ports_.end() && found->second == *port : found == ports_.end()) return;
    if (port)
        ports_[interface] = *port;
    else
        ports_.erase(found);
    evaluate_where([&](const Ways& ways) { return leads_over(ways, interface); });
}

std::optional<PortId> HopSets::port_of(uint32_t interface) const {
    const auto found = ports_.find(interface);
    return found == ports_.end() ? std::nullopt : std::optional(found->second);
}

uint32_t HopSets::interface_of(PortId port) const {
    for (const auto& [interface, candidate] : ports_)
        if (candidate == port) return interface;
    return 0;
}

bool HopSets::leads_over(const Ways& ways, uint32_t interface) const {
    return std::ranges::any_of(hops_of(ways),
                               [&](const HopMessage& hop) { return hop.interface == interface; });
}

bool HopSets::uses(uint32_t interface) const {
    return std::ranges::any_of(
        by_ways_, [&](const auto& entry) { return leads_over(entry.first, interface); });
}

void HopSets::set_object(const NextHopMessage& object) {
    objects_[object.id] = object;
    // A group of objects names this one.
    evaluate_where([](const Ways& ways) { return ways.next_hop_object != 0; });
}

bool HopSets::remove_object(uint32_t id) {
    if (objects_.erase(id) > 0)
        evaluate_where([](const Ways& ways) { return ways.next_hop_object != 0; });
    return std::ranges::any_of(
        by_ways_, [id](const auto& entry) { return entry.first.next_hop_object == id; });
}

void HopSets::refresh(PortId port) {
    const uint32_t interface = interface_of(port);
    evaluate_where([&](const Ways& ways) { return leads_over(ways, interface); });
}

void HopSets::set_failed(PortId port, const IpAddress& neighbor, bool failed) {
    const std::pair key{port, neighbor};
    const bool changed = failed ? failed_.insert(key).second : failed_.erase(key) > 0;
    if (changed) refresh(port);
}

void HopSets::add_object_hops(uint32_t id, uint16_t weight, std::vector<HopMessage>& hops) const {
    const auto found = objects_.find(id);
    // What a group names is no group.
    if (found == objects_.end() || !found->second.group.empty()) return;
    HopMessage hop = found->second.hop;
    hop.weight = weight;
    hops.push_back(hop);
}

std::vector<HopMessage> HopSets::hops_of(const Ways& ways) const {
    if (ways.next_hop_object == 0) return ways.hops;
    std::vector<HopMessage> hops;
    const auto found = objects_.find(ways.next_hop_object);
    if (found == objects_.end()) return hops;
    if (found->second.group.empty()) add_object_hops(ways.next_hop_object, 1, hops);
    for (const NextHopMessage::Member& member : found->second.group)
        add_object_hops(member.id, member.weight, hops);
    return hops;
}

// The kernel's segments that are ours, too (linux/seg6_local.h).
std::optional<NextHopSpec> HopSets::segment_of(const HopMessage& hop) const {
    const SegmentMessage& segment = *hop.segment;
    constexpr std::pair<uint32_t, SidBehavior> kBehaviors[] = {
        {SEG6_LOCAL_ACTION_END, SidBehavior::kEnd},
        {SEG6_LOCAL_ACTION_END_X, SidBehavior::kEndX},
        {SEG6_LOCAL_ACTION_END_DT4, SidBehavior::kEndDt4},
        {SEG6_LOCAL_ACTION_END_DT6, SidBehavior::kEndDt6},
        {SEG6_LOCAL_ACTION_END_DT46, SidBehavior::kEndDt46},
        {SEG6_LOCAL_ACTION_END_DX4, SidBehavior::kEndDx4},
        {SEG6_LOCAL_ACTION_END_DX6, SidBehavior::kEndDx6}};
    const auto* behavior =
        std::ranges::find(kBehaviors, segment.action, &std::pair<uint32_t, SidBehavior>::first);
    if (behavior == std::end(kBehaviors)) return std::nullopt;
    SidIntent sid{.sid = {IpAddress(Ip6{}), 128}, .behavior = behavior->second};
    constexpr std::pair<unsigned, SidFlavor> kFlavors[] = {
        {SEG6_LOCAL_FLV_OP_PSP, kSidPsp},
        {SEG6_LOCAL_FLV_OP_USP, kSidUsp},
        {SEG6_LOCAL_FLV_OP_USD, kSidUsd},
        {SEG6_LOCAL_FLV_OP_NEXT_CSID, kSidNextCsid}};
    for (const auto& [bit, flavor] : kFlavors)
        if ((segment.flavors >> bit & 1) != 0) sid.flavors |= flavor;
    if ((sid.flavors & kSidNextCsid) != 0) {
        sid.block_bits = segment.block_bits;
        sid.sid.length = static_cast<uint8_t>(segment.block_bits + segment.node_bits);
        if (sid.sid.length >= sid.sid.address.bits()) return std::nullopt;
    }
    NextHopSpec spec{.kind = NextHopSpec::Kind::kSid};
    if (segment.table != 0) {
        const auto table = tables_.find(segment.table);
        if (table == tables_.end()) return std::nullopt;
        sid.vrf = table->second;
    }
    if (segment.via) {
        const auto port = port_of(hop.interface);
        if (!port) return std::nullopt;
        spec.port = *port;
        spec.via = segment.via;
    }
    spec.segment_routing.sid = sid;
    return spec;
}

std::optional<NextHopSpec> HopSets::spec_of(const HopMessage& hop) const {
    const bool by_segments = hop.segment || !hop.segments.empty();
    if (!hop.usable || (by_segments && !plane_.routes_segments())) return std::nullopt;
    if (hop.segment) return segment_of(hop);
    if (!hop.segments.empty()) {
        NextHopSpec spec{.kind = NextHopSpec::Kind::kTunnel};
        spec.segment_routing.paths = {{.segments = hop.segments, .reduced = hop.reduced}};
        return spec;
    }
    const auto port = port_of(hop.interface);
    if (!port) return std::nullopt;
    return NextHopSpec{.kind = hop.via ? NextHopSpec::Kind::kPort : NextHopSpec::Kind::kGlean,
                       .port = *port,
                       .via = hop.via,
                       .mac = {}};
}

bool HopSets::is_doubtful(const HopMessage& hop, const NextHopSpec& spec) const {
    if (spec.kind == NextHopSpec::Kind::kTunnel)
        return plane_.reach(hop.segments.front()) == Reach::kNone;
    if (spec.kind == NextHopSpec::Kind::kSid) return false;
    const bool up = plane_.actual(spec.port).state == PortState::kRunning;
    return !up || (hop.via && failed_.contains({spec.port, *hop.via}));
}

// A way over a link that is down, to a neighbour that does not answer, or by a tunnel to nowhere,
// is taken only where there is no better one: what becomes of packets then says why.
void HopSets::add_way(const HopMessage& hop, Wanted& usable, Wanted& doubtful) const {
    const auto spec = spec_of(hop);
    if (!spec) return;
    Wanted& ways = is_doubtful(hop, *spec) ? doubtful : usable;
    if (ways.size() < kMaxGroupMembers || ways.contains(*spec))
        ways[*spec] = static_cast<uint16_t>(ways[*spec] + hop.weight);
}

void HopSets::refresh_tunnels() {
    evaluate_where([this](const Ways& ways) {
        return std::ranges::any_of(hops_of(ways),
                                   [](const HopMessage& hop) { return !hop.segments.empty(); });
    });
}

HopSets::Wanted HopSets::members_of(const Ways& ways) const {
    const auto only = [](NextHopSpec::Kind kind) {
        return Wanted{{NextHopSpec{.kind = kind, .port = {}, .via = {}, .mac = {}}, uint16_t{1}}};
    };
    switch (ways.type) {
        case RouteType::kLocal:
            return only(NextHopSpec::Kind::kHost);
        case RouteType::kBlackhole:
            return only(NextHopSpec::Kind::kBlackhole);
        case RouteType::kUnreachable:
            return only(NextHopSpec::Kind::kUnreachable);
        case RouteType::kUnicast:
        case RouteType::kOther:
            break;
    }
    const auto object = objects_.find(ways.next_hop_object);
    if (object != objects_.end() && object->second.blackhole)
        return only(NextHopSpec::Kind::kBlackhole);
    Wanted usable;
    Wanted doubtful;
    for (const HopMessage& hop : hops_of(ways))
        add_way(hop, usable, doubtful);
    return usable.empty() ? doubtful : usable;
}

void HopSets::evaluate(Set& set) {
    std::vector<std::pair<NextHopSpec, NextHopId>> members;
    std::vector<GroupMember> shares;
    for (const auto& [spec, weight] : members_of(*set.ways)) {
        const auto hop = plane_.acquire_next_hop(spec);
        if (!hop) continue;  // no more adjacencies: fewer ways
        members.emplace_back(spec, *hop);
        shares.push_back(GroupMember{*hop, weight});
        count_want(spec, 1);
    }
    plane_.set_hop_group(set.group, std::move(shares));
    std::swap(set.members, members);
    for (const auto& [spec, hop] : members) {
        plane_.release_next_hop(hop);
        count_want(spec, -1);
    }
}

template <typename Concerns>
void HopSets::evaluate_where(Concerns&& concerns) {
    for (auto& [id, set] : sets_)
        if (concerns(*set.ways)) evaluate(set);
}

void HopSets::count_want(const NextHopSpec& spec, int by) {
    if (!spec.via) return;
    const std::pair key{spec.port, *spec.via};
    const int before = wants_[key];
    const int after = before + by;
    if (after > 0)
        wants_[key] = after;
    else
        wants_.erase(key);
    if ((before > 0) != (after > 0)) want_(spec.port, *spec.via, after > 0);
}

}  // namespace slash32
