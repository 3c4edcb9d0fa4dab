// SPDX-License-Identifier: Apache-2.0
#include "ctrl/policy/compile.h"

#include "dp/base/assert.h"
#include "dp/base/limits.h"
#include "dp/table/flow_key.h"
#include "dp/table/policy_hash.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <random>
#include <set>
#include <vector>

namespace slash32 {
namespace {

using Address = std::array<uint64_t, 2>;

// The rules of one remote, by protocol.
using Remote = std::map<uint16_t, std::vector<const PolicyRule*>>;

struct Sorted {
    Remote any;
    std::map<uint8_t, std::map<Address, Remote>> prefixes;  // by length, then address
    std::map<SetId, Remote> sets;
    bool empty() const { return any.empty() && prefixes.empty() && sets.empty(); }
};

FlowAddress address_of(const IpAddress& address) {
    return address.is_ipv4() ? flow_address(address.ipv4()) : flow_address(address.ipv6());
}

// The mask of a prefix's length over an address as a FlowKey has it.
Address mask_of(Family family, uint8_t length) {
    std::array<uint8_t, 16> bytes{};
    const unsigned bits = length + (family == Family::kIpv4 ? 96u : 0u);
    for (unsigned i = 0; i < bits; ++i)
        bytes[i / 8] |= static_cast<uint8_t>(0x80 >> (i % 8));
    Address mask;
    std::memcpy(mask.data(), bytes.data(), sizeof mask);
    return mask;
}

Remote& remote_of(Sorted& sorted, const PolicyRule& rule) {
    if (rule.prefix) {
        S32_ASSERT(rule.prefix->address.family == rule.family);
        return sorted.prefixes[rule.prefix->length][address_of(rule.prefix->address)];
    }
    return rule.set != kNoSet ? sorted.sets[rule.set] : sorted.any;
}

Sorted sort(std::span<const PolicyRule> rules, PolicyDirection direction, Family family) {
    Sorted sorted;
    for (const PolicyRule& rule : rules) {
        if (rule.direction != direction || rule.family != family) continue;
        S32_ASSERT(rule.low <= rule.high);
        const uint16_t protocol = rule.protocol ? *rule.protocol : kAnyProtocol;
        remote_of(sorted, rule)[protocol].push_back(&rule);
    }
    return sorted;
}

// Which of two matching rules decides.
struct Decides {
    bool operator()(const PolicyRule* a, const PolicyRule* b) const {
        if (a->stateful != b->stateful) return a->stateful;
        if (a->id != b->id) return a->id < b->id;
        return a < b;
    }
};

// Cuts overlapping ranges into ones apart from each other, each with the rule that decides it.
void append_ranges(const std::vector<const PolicyRule*>& rules, std::vector<PolicyRange>& out) {
    std::vector<std::pair<uint32_t, const PolicyRule*>> starts;
    std::vector<std::pair<uint32_t, const PolicyRule*>> ends;  // one beyond
    for (const PolicyRule* rule : rules) {
        starts.emplace_back(rule->low, rule);
        ends.emplace_back(uint32_t{rule->high} + 1, rule);
    }
    std::ranges::sort(starts, {}, &std::pair<uint32_t, const PolicyRule*>::first);
    std::ranges::sort(ends, {}, &std::pair<uint32_t, const PolicyRule*>::first);
    std::set<const PolicyRule*, Decides> active;
    const size_t begin = out.size();
    size_t start = 0;
    for (size_t end = 0; end < ends.size();) {
        const uint32_t at = start < starts.size() ? std::min(starts[start].first, ends[end].first)
                                                  : ends[end].first;
        while (end < ends.size() && ends[end].first == at)
            active.erase(ends[end++].second);
        while (start < starts.size() && starts[start].first == at)
            active.insert(starts[start++].second);
        if (active.empty()) continue;
        const uint32_t next = start < starts.size() ? std::min(starts[start].first, ends[end].first)
                                                    : ends[end].first;
        const PolicyRule& rule = **active.begin();
        if (out.size() > begin && out.back().rule == rule.id &&
            out.back().stateful == rule.stateful && uint32_t{out.back().high} + 1 == at) {
            out.back().high = static_cast<uint16_t>(next - 1);
        } else {
            out.push_back({static_cast<uint16_t>(at), static_cast<uint16_t>(next - 1), rule.id,
                           rule.stateful});
        }
    }
}

// Everything of one table before it is laid out.
struct Draft {
    std::vector<PolicyRange> ranges;
    std::vector<PolicyProtocol> protocols;
    std::vector<PolicySet> sets;
    struct Length {
        Address mask;
        std::vector<PolicyPrefix> slots;
    };
    std::vector<Length> lengths;
    PolicyClass any;
    Address seed;

    PolicyClass add(const Remote& remote) {
        const PolicyClass allows{static_cast<uint32_t>(protocols.size()),
                                 static_cast<uint32_t>(remote.size())};
        for (const auto& [protocol, rules] : remote) {
            const auto first = static_cast<uint32_t>(ranges.size());
            append_ranges(rules, ranges);
            protocols.push_back({protocol, first, static_cast<uint32_t>(ranges.size()) - first});
        }
        return allows;
    }

    void add_length(Family family, uint8_t bits, const std::map<Address, Remote>& prefixes) {
        Length& length = lengths.emplace_back();
        length.mask = mask_of(family, bits);
        length.slots.resize(std::bit_ceil(prefixes.size() * 2));
        const uint64_t slot_mask = length.slots.size() - 1;
        for (const auto& [address, remote] : prefixes) {
            uint64_t at = policy_hash(seed, address) & slot_mask;
            while (length.slots[at].used != 0)
                at = (at + 1) & slot_mask;
            length.slots[at] = {address, add(remote), 1};
        }
    }
};

Draft draft(const Sorted& sorted, Family family) {
    Draft made;
    std::random_device device;
    for (uint64_t& word : made.seed)
        word = uint64_t{device()} << 32 | device();
    made.any = made.add(sorted.any);
    // The longest first: most prefixes of most policies are host addresses.
    for (auto at = sorted.prefixes.rbegin(); at != sorted.prefixes.rend(); ++at)
        made.add_length(family, at->first, at->second);
    for (const auto& [set, remote] : sorted.sets)
        made.sets.push_back({set, made.add(remote)});
    return made;
}

// Places objects one behind the other; with no memory given, it only counts.
class Layout {
  public:
    explicit Layout(std::byte* memory) : memory_(memory) {}
    template <typename T>
    T* put(const T* from, size_t count) {
        static_assert(std::is_trivially_copyable_v<T>);
        used_ = (used_ + alignof(T) - 1) & ~(alignof(T) - 1);
        T* at = reinterpret_cast<T*>(memory_ + used_);
        if (memory_ != nullptr && count != 0) std::memcpy(at, from, count * sizeof(T));
        used_ += count * sizeof(T);
        return at;
    }
    size_t used() const { return used_; }

  private:
    std::byte* memory_;
    size_t used_ = 0;
};

size_t lay_out(const Draft& made, std::byte* memory) {
    Layout layout(memory);
    PolicyTable table{};
    PolicyTable* const at = layout.put(&table, 1);
    std::vector<PolicyLength> lengths;
    for (const Draft::Length& length : made.lengths) {
        lengths.push_back({length.mask, layout.put(length.slots.data(), length.slots.size()),
                           length.slots.size() - 1});
    }
    table.any = made.any;
    table.seed = made.seed;
    table.length_count = static_cast<uint32_t>(lengths.size());
    table.set_count = static_cast<uint32_t>(made.sets.size());
    table.lengths = layout.put(lengths.data(), lengths.size());
    table.sets = layout.put(made.sets.data(), made.sets.size());
    table.protocols = layout.put(made.protocols.data(), made.protocols.size());
    table.ranges = layout.put(made.ranges.data(), made.ranges.size());
    if (memory != nullptr) std::memcpy(at, &table, sizeof table);
    return layout.used();
}

}  // namespace

void PolicyDeleter::operator()(const Policy* policy) const {
    if (policy == nullptr) return;
    for (const auto& families : policy->tables) {
        for (const PolicyTable* table : families)
            std::free(const_cast<PolicyTable*>(table));
    }
    delete policy;
}

Result<PolicyPtr> compile_policy(std::span<const PolicyRule> rules, uint32_t generation) {
    S32_ASSERT(generation != 0);
    if (rules.size() > kMaxRulesPerPort) {
        return fail(ErrorCode::kLimit, "",
                    fmt::format("{} rules; a port has at most {}", rules.size(), kMaxRulesPerPort));
    }
    auto* policy = new Policy;
    PolicyPtr made(policy);
    policy->generation = generation;
    for (const auto direction : {PolicyDirection::kEgress, PolicyDirection::kIngress}) {
        for (const Family family : {Family::kIpv4, Family::kIpv6}) {
            const Sorted sorted = sort(rules, direction, family);
            if (sorted.empty()) continue;
            const Draft drafted = draft(sorted, family);
            const size_t bytes = (lay_out(drafted, nullptr) + 63) & ~size_t{63};
            void* memory = std::aligned_alloc(64, bytes);
            if (memory == nullptr) return fail(ErrorCode::kLimit, "", "no memory for a policy");
            lay_out(drafted, static_cast<std::byte*>(memory));
            policy->tables[static_cast<unsigned>(direction)][family == Family::kIpv6 ? 1 : 0] =
                static_cast<const PolicyTable*>(memory);
        }
    }
    return made;
}

}  // namespace slash32
