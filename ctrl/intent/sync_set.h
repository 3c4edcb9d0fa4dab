// SPDX-License-Identifier: Apache-2.0
// An owner's complete set while it is being collected, and the sets that are open.
//
// Belongs to the control thread. Staging changes nothing; the set is judged as a whole when it is
// committed (plan.h). A set belongs to a session and goes with it. Limits: kMaxOpen sets, each with
// no more objects than the router can hold.
#pragma once

#include "ctrl/intent/requests.h"
#include "ctrl/intent/route_table.h"
#include "dp/base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace slash32 {

// What a set is complete for.
struct SyncKinds {
    bool ports = true;
    bool routes = true;
    bool neighbors = true;
    bool security_groups = true;
    bool address_sets = true;
    bool vrfs = true;

    bool has(GroupKind kind) const {
        return kind == GroupKind::kSecurityGroup ? security_groups : address_sets;
    }
};

struct SyncSet {
    uint64_t id = 0;
    uint64_t session = 0;
    std::string owner;
    SyncKinds kinds;
    bool committing = false;  // closed to staging
    bool gone = false;        // aborted, or its session has ended

    std::map<std::string, PortApply> ports;
    std::map<std::pair<std::string, IpAddress>, NeighborApply> neighbors;
    std::map<GroupKey, GroupApply> groups;
    std::map<VrfId, VrfApply> vrfs;
    RouteTable routes;  // value.hop: index of `hops`; value.owner: 1 with force
    std::vector<HopRequest> hops;
    std::map<HopRequest, uint32_t> hop_indexes;

    // Later staging of the same object replaces the earlier. Errors: kInvalid (path $.params.sync)
    // for a kind that the set is not for, kLimit.
    Result<void> stage(PortApply request);
    Result<void> stage(const RouteApply& request);
    Result<void> stage(NeighborApply request);
    Result<void> stage(GroupApply request);
    Result<void> stage(VrfApply request);
};

class SyncSets {
  public:
    static constexpr size_t kMaxOpen = 8;

    // Errors: kConflict (the owner has an open set), kLimit.
    Result<std::shared_ptr<SyncSet>> begin(uint64_t session, std::string owner, SyncKinds kinds);
    // The set if it is open and of this session. Errors: kNotFound; kNotOwner when `owner` is given
    // and not the set's; kConflict while it is being committed.
    Result<std::shared_ptr<SyncSet>> find(uint64_t session, uint64_t id,
                                          const std::string* owner = nullptr);
    void end(uint64_t id);
    void close_session(uint64_t session);
    size_t open() const { return open_.size(); }

  private:
    uint64_t next_id_ = 1;
    std::map<uint64_t, std::shared_ptr<SyncSet>> open_;
};

}  // namespace slash32
