// SPDX-License-Identifier: Apache-2.0
#include "dp/table/policy.h"

#include "dp/base/limits.h"
#include "dp/table/flow_key.h"
#include "dp/table/policy_hash.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <bit>

namespace slash32 {
namespace {

using Address = std::array<uint64_t, 2>;

Address masked(const Address& address, const Address& mask) {
    return {address[0] & mask[0], address[1] & mask[1]};
}

const PolicyRange* find_range(const PolicyTable& table, const PolicyProtocol& protocol,
                              uint16_t port) {
    const PolicyRange* first = table.ranges + protocol.first;
    const PolicyRange* last = first + protocol.count;
    const PolicyRange* at = std::upper_bound(
        first, last, port,
        [](uint16_t wanted, const PolicyRange& range) { return wanted < range.low; });
    if (at == first || port > (at - 1)->high) return nullptr;
    return at - 1;
}

// Takes the verdict of a class if it is better than what there is. True when none can be better.
bool consider(const PolicyTable& table, const PolicyClass& allows, const PolicyQuery& query,
              PolicyVerdict& verdict) {
    for (uint32_t i = 0; i < allows.count; ++i) {
        const PolicyProtocol& protocol = table.protocols[allows.first + i];
        if (protocol.protocol != query.protocol && protocol.protocol != kAnyProtocol) continue;
        const PolicyRange* range = find_range(table, protocol, query.port);
        if (range == nullptr || (verdict.allowed && !range->stateful)) continue;
        verdict.allowed = true;
        verdict.stateful = range->stateful;
        verdict.rule = range->rule;
        verdict.set = kNoSet;
        if (range->stateful) return true;
    }
    return false;
}

const PolicyPrefix& first_slot(const PolicyTable& table, const PolicyLength& length,
                               const Address& remote) {
    return length.slots[policy_hash(table.seed, masked(remote, length.mask)) & length.slot_mask];
}

const PolicyPrefix* find_prefix(const PolicyTable& table, const PolicyLength& length,
                                const Address& remote) {
    const Address address = masked(remote, length.mask);
    uint64_t at = policy_hash(table.seed, address) & length.slot_mask;
    while (length.slots[at].used != 0) {
        if (length.slots[at].address == address) return &length.slots[at];
        at = (at + 1) & length.slot_mask;
    }
    return nullptr;
}

bool consider_prefixes(const PolicyTable& table, const PolicyQuery& query, PolicyVerdict& verdict) {
    for (uint32_t i = 0; i < table.length_count; ++i) {
        const PolicyPrefix* prefix = find_prefix(table, table.lengths[i], query.remote);
        if (prefix != nullptr && consider(table, prefix->allows, query, verdict)) return true;
    }
    return false;
}

bool is_member(const AddressSetView& sets, SetId set, const Address& remote) {
    const VrfId key{set.value()};
    const NextHopId found = is_mapped_ipv4(remote) ? sets.members.lookup(key, ipv4_from(remote))
                                                   : sets.members.lookup(key, ipv6_from(remote));
    return found != kNoNextHop;
}

bool consider_sets(const AddressSetView& sets, const PolicyTable& table, const PolicyQuery& query,
                   PolicyVerdict& verdict) {
    for (uint32_t i = 0; i < table.set_count; ++i) {
        const PolicySet& candidate = table.sets[i];
        // The rules first: they are at hand, and most do not match.
        PolicyVerdict fresh = verdict;
        const bool best = consider(table, candidate.allows, query, fresh);
        if (fresh.allowed == verdict.allowed && fresh.stateful == verdict.stateful) continue;
        // Before the members are looked at (dp/abi/generations.h).
        fresh.set_generation =
            sets.generations->sets[candidate.set.value()].load(std::memory_order_acquire);
        if (!is_member(sets, candidate.set, query.remote)) continue;
        fresh.set = candidate.set;
        verdict = fresh;
        if (best) return true;
    }
    return false;
}

}  // namespace

void classify_bulk(const AddressSetView& sets, uint32_t mask, const PolicyTable* const* tables,
                   const PolicyQuery* queries, PolicyVerdict* verdicts) {
    uint32_t undecided = 0;
    for (uint32_t lanes = mask; lanes != 0; lanes &= lanes - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(lanes));
        verdicts[i] = PolicyVerdict{};
        const PolicyTable* table = tables[i];
        if (table == nullptr || consider(*table, table->any, queries[i], verdicts[i])) continue;
        undecided |= 1u << i;
        for (uint32_t n = 0; n < table->length_count; ++n)
            rte_prefetch0(&first_slot(*table, table->lengths[n], queries[i].remote));
    }
    for (uint32_t lanes = undecided; lanes != 0; lanes &= lanes - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(lanes));
        if (!consider_prefixes(*tables[i], queries[i], verdicts[i]))
            consider_sets(sets, *tables[i], queries[i], verdicts[i]);
    }
}

}  // namespace slash32
