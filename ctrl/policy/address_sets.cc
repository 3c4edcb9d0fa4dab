// SPDX-License-Identifier: Apache-2.0
#include "ctrl/policy/address_sets.h"

#include "dp/base/limits.h"

#include <algorithm>
#include <utility>

namespace slash32 {
namespace {

constexpr size_t kMemberPrefixes = 65536;
constexpr NextHopId kMember{1};

VrfId key(SetId set) {
    return VrfId{set.value()};
}

}  // namespace

AddressSets::AddressSets(std::unique_ptr<Fib> fib, Generations& generations)
    : fib_(std::move(fib)), generations_(generations), sizes_(kMaxAddressSets) {
    for (size_t id = kMaxAddressSets - 1; id > 0; --id)
        free_.push_back(SetId{static_cast<uint16_t>(id)});
}

Result<std::unique_ptr<AddressSets>> AddressSets::create(const TableMemory& memory,
                                                         Reclaimer& reclaimer,
                                                         Generations& generations) {
    const FibSizes sizes{.hosts_ipv4 = kMaxSetMembers,
                         .hosts_ipv6 = kMaxSetMembers,
                         .prefixes_ipv4 = kMemberPrefixes,
                         .prefixes_ipv6 = kMemberPrefixes};
    auto fib = Fib::create(sizes, memory, reclaimer);
    if (!fib) return tl::unexpected<Error>(fib.error());
    return std::unique_ptr<AddressSets>(new AddressSets(std::move(*fib), generations));
}

Result<SetId> AddressSets::make() {
    if (free_.empty()) return fail(ErrorCode::kLimit, "", "no more address sets");
    const SetId set = free_.back();
    free_.pop_back();
    return set;
}

void AddressSets::destroy(SetId set) {
    fib_->remove_vrf(key(set));
    sizes_[set.value()] = 0;
    generations_.raise_set(set);
    free_.push_back(set);
}

Result<void> AddressSets::add(SetId set, const IpPrefix& member) {
    if (fib_->get(key(set), member)) return {};
    if (auto added = fib_->add(key(set), member, kMember); !added) return added;
    ++sizes_[set.value()];
    return {};
}

void AddressSets::remove(SetId set, const IpPrefix& member) {
    if (!fib_->remove(key(set), member)) return;
    --sizes_[set.value()];
    generations_.raise_set(set);
}

bool AddressSets::contains(SetId set, const IpAddress& address) const {
    return fib_->explain(key(set), address).has_value();
}

size_t AddressSets::size(SetId set) const {
    return sizes_[set.value()];
}

}  // namespace slash32
