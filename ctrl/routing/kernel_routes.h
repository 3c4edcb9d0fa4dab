// SPDX-License-Identifier: Apache-2.0
// Routes in: of all that the kernel has for a prefix the best one stands in the forwarding tables,
// where no owner of ours has a route of its own for it.
//
// Best is a local address, then the lowest metric, as in the kernel. Thread safety: the control
// thread.
#pragma once

#include "ctrl/netlink/messages.h"
#include "ctrl/plane/forwarding_plane.h"
#include "ctrl/routing/hop_sets.h"
#include "dp/base/ids.h"
#include "dp/base/net.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

namespace slash32 {

class KernelRoutes {
  public:
    struct Options {
        std::map<uint32_t, VrfId> tables;  // the kernel's tables that are followed
        uint8_t own_protocol = 0;          // of the routes that we put there: left alone
    };

    KernelRoutes(ForwardingPlane& plane, HopSets& sets, Options options);
    KernelRoutes(const KernelRoutes&) = delete;
    KernelRoutes& operator=(const KernelRoutes&) = delete;

    void take(const RouteMessage& message, bool gone, bool appended);
    // Between them everything is told again; what is not goes.
    void begin_dump() { ++epoch_; }
    void end_dump();
    // A neighbour that has been found on the link, as a route to it alone.
    void add_neighbor(VrfId vrf, uint32_t interface, const IpAddress& address);
    void remove_neighbor(VrfId vrf, const IpAddress& address);

    struct Route {
        IpPrefix prefix;
        VrfId vrf;
        uint32_t table;  // 0: of no table, a neighbour
        uint32_t metric;
        HopSets::Id set;
        bool best;
    };
    // All routes, a bucket after the other. As many buckets as there are change with the routes.
    size_t buckets() const { return entries_.bucket_count(); }
    void visit(size_t bucket, const std::function<void(const Route&)>& see) const;

    size_t size() const { return entries_.size(); }  // prefixes
    size_t failed() const { return failed_; }        // that the tables had no room for

  private:
    struct Key {
        IpPrefix prefix;
        VrfId vrf;
        bool operator==(const Key&) const = default;
    };
    struct HashKey {
        size_t operator()(const Key& key) const noexcept;
    };
    struct Candidate {
        uint32_t table;
        uint32_t metric;
        HopSets::Id set;
        uint32_t epoch;
        bool local;
    };
    using Candidates = std::vector<Candidate>;  // the best first

    std::optional<VrfId> vrf_of(const RouteMessage& message) const;
    void add(const Key& key, const RouteMessage& message);
    void remove(const Key& key, const RouteMessage& message);
    void set_candidate(const Key& key, Candidate candidate, const Ways& ways);
    void withdraw(const Key& key, Candidates& candidates, Candidates::iterator which);
    void install(const Key& key, const Candidates& candidates);

    ForwardingPlane& plane_;
    HopSets& sets_;
    const Options options_;
    std::unordered_map<Key, Candidates, HashKey> entries_;
    uint32_t epoch_ = 1;
    size_t failed_ = 0;
};

}  // namespace slash32
