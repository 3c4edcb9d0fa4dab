// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/kernel_routes.h"

#include "ctrl/log/log.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace slash32 {
namespace {

constexpr uint32_t kNeverSwept = UINT32_MAX;

Ways ways_of(const RouteMessage& message) {
    Ways ways{.type = message.type, .next_hop_object = message.next_hop_object, .hops = {}};
    if (message.type == RouteType::kUnicast && ways.next_hop_object == 0) ways.hops = message.hops;
    return ways;
}

// Not for the forwarding of packets: loopback, link-local, groups.
bool is_of_the_link(const IpPrefix& prefix) {
    const auto& bytes = prefix.address.bytes;
    if (prefix.address.is_ipv4()) return bytes[0] == 127 || bytes[0] >= 224;
    const Ip6 address = prefix.address.ipv6();
    const bool loopback =
        prefix.length == 128 && bytes[15] == 1 &&
        std::all_of(bytes.begin(), bytes.end() - 1, [](uint8_t b) { return b == 0; });
    return address.is_multicast() || address.is_link_local() || loopback;
}

bool same_way(const HopMessage& a, const HopMessage& b) {
    return a.interface == b.interface && a.via == b.via && a.segments == b.segments;
}

}  // namespace

size_t KernelRoutes::HashKey::operator()(const Key& key) const noexcept {
    uint64_t words[2];
    std::memcpy(words, key.prefix.address.bytes.data(), sizeof words);
    const uint64_t rest = uint64_t{key.vrf.value()} << 16 | uint64_t{key.prefix.length} << 8 |
                          static_cast<uint64_t>(key.prefix.address.family);
    constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
    uint64_t hash = (words[0] ^ rest) * kOdd;
    hash = (hash ^ hash >> 32 ^ words[1]) * kOdd;
    return hash ^ hash >> 29;
}

KernelRoutes::KernelRoutes(ForwardingPlane& plane, HopSets& sets, Options options)
    : plane_(plane), sets_(sets), options_(std::move(options)) {
    plane_.on_owner_route_gone([this](VrfId vrf, const IpPrefix& prefix) {
        const auto found = entries_.find(Key{prefix, vrf});
        return found == entries_.end() ? std::nullopt
                                       : std::optional(sets_.group(found->second.front().set));
    });
}

std::optional<VrfId> KernelRoutes::vrf_of(const RouteMessage& message) const {
    if (message.type == RouteType::kOther || message.protocol == options_.own_protocol ||
        is_of_the_link(message.prefix)) {
        return std::nullopt;
    }
    const auto found = options_.tables.find(message.table);
    return found == options_.tables.end() ? std::nullopt : std::optional(found->second);
}

void KernelRoutes::take(const RouteMessage& message, bool gone, bool appended) {
    const auto vrf = vrf_of(message);
    if (!vrf) return;
    const Key key{message.prefix, *vrf};
    if (gone) return remove(key, message);
    // The kernel goes by the first; an IPv6 one is told whole, as one route of several ways.
    if (appended && message.prefix.address.is_ipv4() && entries_.contains(key)) return;
    add(key, message);
}

void KernelRoutes::add(const Key& key, const RouteMessage& message) {
    set_candidate(key,
                  Candidate{.table = message.table,
                            .metric = message.metric,
                            .set = 0,
                            .epoch = epoch_,
                            .local = message.type == RouteType::kLocal},
                  ways_of(message));
}

void KernelRoutes::set_candidate(const Key& key, Candidate candidate, const Ways& ways) {
    const auto set = sets_.acquire(ways);
    if (!set) {
        ++failed_;
        return;
    }
    candidate.set = *set;
    Candidates& candidates = entries_[key];
    const auto same = std::ranges::find_if(candidates, [&](const Candidate& other) {
        return other.table == candidate.table && other.metric == candidate.metric;
    });
    const HopSets::Id before = candidates.empty() ? 0 : candidates.front().set;
    std::optional<HopSets::Id> replaced;
    if (same != candidates.end()) {
        replaced = same->set;
        *same = candidate;
    } else {
        candidates.push_back(candidate);
    }
    if (candidates.size() > 1) {
        std::ranges::sort(candidates, {}, [](const Candidate& c) {
            return std::tuple(!c.local, c.metric, c.table);
        });
    }
    if (candidates.front().set != before) install(key, candidates);
    if (replaced) sets_.release(*replaced);
}

// A message of an IPv6 route may name one way of several.
void KernelRoutes::remove(const Key& key, const RouteMessage& message) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    Candidates& candidates = found->second;
    const auto which = std::ranges::find_if(candidates, [&](const Candidate& candidate) {
        return candidate.table == message.table && candidate.metric == message.metric &&
               candidate.epoch != kNeverSwept;
    });
    if (which == candidates.end()) return;
    Ways left = sets_.ways(which->set);
    if (left.type == RouteType::kUnicast && left.next_hop_object == 0 && !message.hops.empty()) {
        const size_t before = left.hops.size();
        std::erase_if(left.hops, [&](const HopMessage& hop) {
            return std::ranges::any_of(message.hops,
                                       [&](const HopMessage& gone) { return same_way(hop, gone); });
        });
        if (left.hops.size() == before) return;  // one that stood behind ours
        if (!left.hops.empty()) return set_candidate(key, *which, left);
    }
    withdraw(key, candidates, which);
    if (candidates.empty()) entries_.erase(found);
}

void KernelRoutes::withdraw(const Key& key, Candidates& candidates, Candidates::iterator which) {
    const HopSets::Id set = which->set;
    const bool was_best = which == candidates.begin();
    candidates.erase(which);
    if (was_best) install(key, candidates);
    sets_.release(set);
}

void KernelRoutes::install(const Key& key, const Candidates& candidates) {
    if (candidates.empty()) return plane_.forget_route(key.vrf, key.prefix);
    const NextHopId group = sets_.group(candidates.front().set);
    if (auto learned = plane_.learn_route(key.vrf, key.prefix, group); !learned) {
        if (failed_++ == 0)
            log("routing").error("no room for the kernel's route to {}: {}", to_string(key.prefix),
                                 learned.error().message);
    }
}

void KernelRoutes::visit(size_t bucket, const std::function<void(const Route&)>& see) const {
    for (auto at = entries_.begin(bucket); at != entries_.end(bucket); ++at) {
        const auto& [key, candidates] = *at;
        for (const Candidate& candidate : candidates) {
            see(Route{.prefix = key.prefix,
                      .vrf = key.vrf,
                      .table = candidate.table,
                      .metric = candidate.metric,
                      .set = candidate.set,
                      .best = &candidate == &candidates.front()});
        }
    }
}

void KernelRoutes::end_dump() {
    for (auto at = entries_.begin(); at != entries_.end();) {
        Candidates& candidates = at->second;
        for (size_t i = candidates.size(); i-- > 0;) {
            if (candidates[i].epoch == epoch_ || candidates[i].epoch == kNeverSwept) continue;
            withdraw(at->first, candidates, candidates.begin() + static_cast<ptrdiff_t>(i));
        }
        at = candidates.empty() ? entries_.erase(at) : std::next(at);
    }
}

void KernelRoutes::add_neighbor(VrfId vrf, uint32_t interface, const IpAddress& address) {
    set_candidate(
        Key{IpPrefix{address, address.bits()}, vrf},
        Candidate{.table = 0, .metric = 0, .set = 0, .epoch = kNeverSwept, .local = false},
        Ways{.type = RouteType::kUnicast,
             .next_hop_object = 0,
             .hops = {HopMessage{.interface = interface, .via = address}}});
}

void KernelRoutes::remove_neighbor(VrfId vrf, const IpAddress& address) {
    const auto found = entries_.find(Key{IpPrefix{address, address.bits()}, vrf});
    if (found == entries_.end()) return;
    Candidates& candidates = found->second;
    const auto which = std::ranges::find_if(
        candidates, [](const Candidate& candidate) { return candidate.epoch == kNeverSwept; });
    if (which == candidates.end()) return;
    withdraw(found->first, candidates, which);
    if (candidates.empty()) entries_.erase(found);
}

}  // namespace slash32
