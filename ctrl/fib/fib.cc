// SPDX-License-Identifier: Apache-2.0
#include "ctrl/fib/fib.h"

#include <fmt/format.h>

#include <array>
#include <new>
#include <random>
#include <string>
#include <type_traits>

namespace slash32 {
namespace {

constexpr size_t kSizeMax = size_t{1} << 28;

// Whether all bits beyond the length are zero, and the length is one of the family's.
bool is_canonical(const IpPrefix& prefix) {
    if (prefix.length > prefix.address.bits()) return false;
    for (unsigned i = 0; i < prefix.address.bytes.size(); ++i) {
        const unsigned covered = prefix.length > 8 * i ? prefix.length - 8 * i : 0;
        const unsigned host_mask = covered >= 8 ? 0 : 0xffU >> covered;
        if ((prefix.address.bytes[i] & host_mask) != 0) return false;
    }
    return true;
}

IpPrefix cut(IpAddress address, unsigned length) {
    for (unsigned i = 0; i < address.bytes.size(); ++i) {
        const unsigned covered = length > 8 * i ? length - 8 * i : 0;
        if (covered < 8) {
            address.bytes[i] = static_cast<uint8_t>(address.bytes[i] & ~(0xffU >> covered));
        }
    }
    return IpPrefix{address, static_cast<uint8_t>(length)};
}

HashSeed random_seed() {
    std::random_device device;
    const auto word = [&device] { return uint64_t{device()} << 32 | device(); };
    // Odd factors lose nothing of what they multiply.
    return {.a = word(), .b = word() | 1, .c = word() | 1};
}

std::string describe(VrfId vrf, const IpPrefix& prefix) {
    return fmt::format("{} in VRF {}", to_string(prefix), vrf.value());
}

}  // namespace

struct Fib::Shared {
    FibTables tables;
    std::array<TrieRoot<Ip4>, kMaxVrfs> roots_ipv4;
    std::array<TrieRoot<Ip6>, kMaxVrfs> roots_ipv6;
};

Result<std::unique_ptr<Fib>> Fib::create(const FibSizes& sizes, const TableMemory& memory,
                                         Reclaimer& reclaimer) {
    for (const size_t size :
         {sizes.hosts_ipv4, sizes.hosts_ipv6, sizes.prefixes_ipv4, sizes.prefixes_ipv6}) {
        if (size == 0 || size > kSizeMax) {
            return fail(
                ErrorCode::kInvalid, "",
                fmt::format("a table size of {} routes is not between 1 and {}", size, kSizeMax));
        }
    }
    void* shared = memory.allocate(sizeof(Shared), alignof(Shared));
    if (shared == nullptr) {
        return fail(ErrorCode::kLimit, "", "no memory for the forwarding tables");
    }
    std::unique_ptr<Fib> fib(new Fib(sizes, memory, reclaimer, shared));
    if (!fib->create_hosts(sizes)) {
        return fail(ErrorCode::kLimit, "",
                    fmt::format("no memory for {} IPv4 and {} IPv6 host routes", sizes.hosts_ipv4,
                                sizes.hosts_ipv6));
    }
    return fib;
}

Fib::Fib(const FibSizes& sizes, const TableMemory& memory, Reclaimer& reclaimer, void* shared)
    : memory_(memory),
      tables_([shared] {
          auto* made = new (shared) Shared{};
          made->tables.roots_ipv4 = made->roots_ipv4.data();
          made->tables.roots_ipv6 = made->roots_ipv6.data();
          return &made->tables;
      }()),
      retired_(reclaimer),
      hosts_ipv4_(tables_->host_ipv4, memory, retired_),
      hosts_ipv6_(tables_->host_ipv6, memory, retired_),
      tries_ipv4_(tables_->roots_ipv4, sizes.prefixes_ipv4, memory, retired_),
      tries_ipv6_(tables_->roots_ipv6, sizes.prefixes_ipv6, memory, retired_) {}

bool Fib::create_hosts(const FibSizes& sizes) {
    return hosts_ipv4_.create(sizes.hosts_ipv4, random_seed()) &&
           hosts_ipv6_.create(sizes.hosts_ipv6, random_seed());
}

Fib::~Fib() {
    // The tables go before the writers, which do not touch them in their destructors.
    hosts_ipv4_.destroy();
    hosts_ipv6_.destroy();
    memory_.release(tables_, sizeof(Shared));
}

template <>
HostWriter<Ip4>& Fib::hosts<Ip4>() {
    return hosts_ipv4_;
}
template <>
HostWriter<Ip6>& Fib::hosts<Ip6>() {
    return hosts_ipv6_;
}
template <>
TrieWriter<Ip4>& Fib::tries<Ip4>() {
    return tries_ipv4_;
}
template <>
TrieWriter<Ip6>& Fib::tries<Ip6>() {
    return tries_ipv6_;
}

Result<void> Fib::add(VrfId vrf, const IpPrefix& prefix, NextHopId next_hop) {
    if (vrf.value() >= kMaxVrfs) {
        return fail(ErrorCode::kInvalid, "", fmt::format("there is no VRF {}", vrf.value()));
    }
    if (next_hop == kNoNextHop || next_hop.value() >= kMaxNextHops) {
        return fail(ErrorCode::kInvalid, "",
                    fmt::format("{} is not a next hop id", next_hop.value()));
    }
    if (!is_canonical(prefix)) {
        return fail(ErrorCode::kInvalid, "",
                    fmt::format("{} has host bits set or a wrong length", to_string(prefix)));
    }
    bound_retired();
    return prefix.address.is_ipv4() ? add_to(vrf, prefix.address.ipv4(), prefix, next_hop)
                                    : add_to(vrf, prefix.address.ipv6(), prefix, next_hop);
}

template <typename Address>
Result<void> Fib::add_to(VrfId vrf, const Address& address, const IpPrefix& prefix,
                         NextHopId next_hop) {
    const FibOutcome outcome = prefix.is_host()
                                   ? hosts<Address>().set(vrf, address, next_hop)
                                   : tries<Address>().set(vrf, address, prefix.length, next_hop);
    if (outcome != FibOutcome::kFull) return {};
    const size_t size = prefix.is_host() ? hosts<Address>().size() : tries<Address>().size();
    return fail(ErrorCode::kLimit, "",
                fmt::format("no room for {}: the table holds {} {}", describe(vrf, prefix), size,
                            prefix.is_host() ? "host routes" : "prefixes"));
}

Result<void> Fib::remove(VrfId vrf, const IpPrefix& prefix) {
    if (vrf.value() < kMaxVrfs && is_canonical(prefix)) {
        bound_retired();
        return prefix.address.is_ipv4() ? remove_from(vrf, prefix.address.ipv4(), prefix)
                                        : remove_from(vrf, prefix.address.ipv6(), prefix);
    }
    return fail(ErrorCode::kNotFound, "", fmt::format("no route {}", describe(vrf, prefix)));
}

template <typename Address>
Result<void> Fib::remove_from(VrfId vrf, const Address& address, const IpPrefix& prefix) {
    using Removal = typename TrieWriter<Address>::Removal;
    Removal removal = Removal::kAbsent;
    if (!prefix.is_host()) {
        removal = tries<Address>().erase(vrf, address, prefix.length);
    } else if (hosts<Address>().erase(vrf, address)) {
        removal = Removal::kRemoved;
    }
    if (removal == Removal::kRemoved) return {};
    if (removal == Removal::kAbsent) {
        return fail(ErrorCode::kNotFound, "", fmt::format("no route {}", describe(vrf, prefix)));
    }
    return fail(ErrorCode::kLimit, "",
                fmt::format("no memory to remove {}", describe(vrf, prefix)));
}

size_t Fib::remove_vrf(VrfId vrf) {
    if (vrf.value() >= kMaxVrfs) return 0;
    return hosts_ipv4_.erase_vrf(vrf) + hosts_ipv6_.erase_vrf(vrf) + tries_ipv4_.erase_vrf(vrf) +
           tries_ipv6_.erase_vrf(vrf);
}

void Fib::prefetch(VrfId vrf, const IpPrefix& prefix) const {
    if (!prefix.is_host()) return;
    if (prefix.address.is_ipv4()) {
        hosts_ipv4_.prefetch(vrf, prefix.address.ipv4());
    } else {
        hosts_ipv6_.prefetch(vrf, prefix.address.ipv6());
    }
}

std::optional<NextHopId> Fib::get(VrfId vrf, const IpPrefix& prefix) const {
    if (vrf.value() >= kMaxVrfs || !is_canonical(prefix)) return std::nullopt;
    NextHopId id = kNoNextHop;
    if (prefix.address.is_ipv4()) {
        const Ip4 address = prefix.address.ipv4();
        id = prefix.is_host() ? view().lookup_host(vrf, address)
                              : tries_ipv4_.get(vrf, address, prefix.length);
    } else {
        const Ip6 address = prefix.address.ipv6();
        id = prefix.is_host() ? view().lookup_host(vrf, address)
                              : tries_ipv6_.get(vrf, address, prefix.length);
    }
    return id == kNoNextHop ? std::nullopt : std::optional(id);
}

std::optional<FibRoute> Fib::explain(VrfId vrf, const IpAddress& address) const {
    if (vrf.value() >= kMaxVrfs) return std::nullopt;
    return address.is_ipv4() ? explain_in(vrf, address.ipv4()) : explain_in(vrf, address.ipv6());
}

template <typename Address>
std::optional<FibRoute> Fib::explain_in(VrfId vrf, const Address& address) const {
    const IpAddress any(address);
    if (const NextHopId id = view().lookup_host(vrf, address); id != kNoNextHop) {
        return FibRoute{IpPrefix{any, any.bits()}, id};
    }
    const auto* root = tables_->roots<Address>()[vrf.value()].load(std::memory_order_relaxed);
    if (root == nullptr) return std::nullopt;
    TrieWalk<Address> walk(root, address);
    while (walk.step()) {
    }
    if (walk.next_hop() == kNoNextHop) return std::nullopt;
    return FibRoute{cut(any, walk.length()), walk.next_hop()};
}

void Fib::for_each(VrfId vrf, const Visitor& visit) const {
    if (vrf.value() >= kMaxVrfs) return;
    const auto host = [&](VrfId of, const auto& address, NextHopId id) {
        if (of != vrf) return;
        const IpAddress any(address);
        visit(of, FibRoute{IpPrefix{any, any.bits()}, id});
    };
    const auto prefix = [&](VrfId of, const auto& address, unsigned length, NextHopId id) {
        visit(of, FibRoute{IpPrefix{IpAddress(address), static_cast<uint8_t>(length)}, id});
    };
    hosts_ipv4_.for_each(host);
    hosts_ipv6_.for_each(host);
    tries_ipv4_.for_each(vrf, prefix);
    tries_ipv6_.for_each(vrf, prefix);
}

FibUsage Fib::usage() const {
    return {
        .hosts_ipv4 = hosts_ipv4_.size(),
        .hosts_ipv6 = hosts_ipv6_.size(),
        .prefixes_ipv4 = tries_ipv4_.size(),
        .prefixes_ipv6 = tries_ipv6_.size(),
        .host_bytes_ipv4 = hosts_ipv4_.bytes(),
        .host_bytes_ipv6 = hosts_ipv6_.bytes(),
        .prefix_bytes_ipv4 = tries_ipv4_.bytes_used(),
        .prefix_bytes_ipv6 = tries_ipv6_.bytes_used(),
        .reserved_bytes = tries_ipv4_.bytes_reserved() + tries_ipv6_.bytes_reserved(),
        .retired_pending = retired_.pending(),
        .host_moves = tables_->host_ipv4.moves.load(std::memory_order_relaxed) +
                      tables_->host_ipv6.moves.load(std::memory_order_relaxed),
    };
}

void Fib::bound_retired() {
    if (retired_.pending() > kRetiredMax) [[unlikely]]
        retired_.drain();
}

}  // namespace slash32
