// SPDX-License-Identifier: Apache-2.0
// The forwarding tables as control sees them: all routes of all VRFs, with the next hop id of each.
//
// Every change is visible to workers when the call returns; none of them ever finds a route missing
// that is present before and after. What a change took out is reused after a grace period of the
// Reclaimer.
//
// Thread safety: one thread (control) for everything but what `view()` gave out.
// Limits: FibSizes; a prefix of the full length is a host route and counts as one.
#pragma once

#include "ctrl/fib/host_writer.h"
#include "ctrl/fib/reclaimer.h"
#include "ctrl/fib/retire_queue.h"
#include "ctrl/fib/table_memory.h"
#include "ctrl/fib/trie_writer.h"
#include "dp/abi/fib.h"
#include "dp/base/limits.h"
#include "dp/base/net.h"
#include "dp/base/result.h"
#include "dp/table/fib.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

namespace slash32 {

// Routes, all VRFs together. Each from 1 to 2^28.
struct FibSizes {
    size_t hosts_ipv4 = kMaxHostRoutes;
    size_t hosts_ipv6 = kMaxHostRoutes;
    size_t prefixes_ipv4 = kMaxPrefixes;
    size_t prefixes_ipv6 = kMaxPrefixes;
};

struct FibUsage {
    size_t hosts_ipv4 = 0;
    size_t hosts_ipv6 = 0;
    size_t prefixes_ipv4 = 0;
    size_t prefixes_ipv6 = 0;
    size_t host_bytes_ipv4 = 0;  // address space; resident is what has been written
    size_t host_bytes_ipv6 = 0;
    size_t prefix_bytes_ipv4 = 0;  // in nodes
    size_t prefix_bytes_ipv6 = 0;
    size_t reserved_bytes = 0;   // taken from TableMemory for nodes, used and free
    size_t retired_pending = 0;  // objects that wait for a grace period
    uint32_t host_moves = 0;     // words moved to make room, both families; wraps around
};

struct FibRoute {
    IpPrefix prefix;
    NextHopId next_hop;
    bool operator==(const FibRoute&) const = default;
};

class Fib {
  public:
    using Visitor = std::function<void(VrfId, const FibRoute&)>;

    // Errors: kInvalid (a size out of range), kLimit (no memory). `reclaimer` outlives the Fib.
    static Result<std::unique_ptr<Fib>> create(const FibSizes& sizes, const TableMemory& memory,
                                               Reclaimer& reclaimer);
    // REQUIRES: no reader uses a view any more.
    ~Fib();
    Fib(const Fib&) = delete;
    Fib& operator=(const Fib&) = delete;

    // Inserts the route, or gives it another next hop. Errors: kInvalid (VRF, prefix or next hop
    // out of range; host bits set), kLimit (table or memory full); then nothing has changed.
    Result<void> add(VrfId vrf, const IpPrefix& prefix, NextHopId next_hop);

    // Errors: kNotFound; kLimit (no memory for the smaller node); then nothing has changed.
    Result<void> remove(VrfId vrf, const IpPrefix& prefix);

    // Removes all routes of the VRF; returns their number. Cannot fail.
    size_t remove_vrf(VrfId vrf);

    // Brings into the cache what add() or remove() of a host route will need. A bulk load that
    // calls this some routes ahead runs several times faster.
    void prefetch(VrfId vrf, const IpPrefix& prefix) const;

    // The next hop of exactly this prefix.
    std::optional<NextHopId> get(VrfId vrf, const IpPrefix& prefix) const;

    // What a worker would find for the address, and by which prefix.
    std::optional<FibRoute> explain(VrfId vrf, const IpAddress& address) const;

    // All routes of a VRF in no order; it reads the whole host table, so it is for people and
    // tests. REQUIRES: `visit` changes nothing here.
    void for_each(VrfId vrf, const Visitor& visit) const;

    FibUsage usage() const;

    // For workers; valid as long as the Fib is.
    FibView view() const { return FibView(tables_); }

  private:
    Fib(const FibSizes& sizes, const TableMemory& memory, Reclaimer& reclaimer, void* shared);
    bool create_hosts(const FibSizes& sizes);

    template <typename Address>
    HostWriter<Address>& hosts();
    template <typename Address>
    TrieWriter<Address>& tries();
    template <typename Address>
    Result<void> add_to(VrfId vrf, const Address& address, const IpPrefix& prefix,
                        NextHopId next_hop);
    template <typename Address>
    Result<void> remove_from(VrfId vrf, const Address& address, const IpPrefix& prefix);
    template <typename Address>
    std::optional<FibRoute> explain_in(VrfId vrf, const Address& address) const;
    void bound_retired();

    // More than this many retired objects make a change wait for a grace period.
    static constexpr size_t kRetiredMax = size_t{1} << 17;

    // Shared with workers, in TableMemory: FibTables and the roots of all VRFs.
    struct Shared;

    TableMemory memory_;
    FibTables* tables_;
    RetireQueue retired_;
    HostWriter<Ip4> hosts_ipv4_;
    HostWriter<Ip6> hosts_ipv6_;
    TrieWriter<Ip4> tries_ipv4_;
    TrieWriter<Ip6> tries_ipv6_;
};

}  // namespace slash32
