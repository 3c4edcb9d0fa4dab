// SPDX-License-Identifier: Apache-2.0
// VRFs by number. Belongs to the control thread.
//
// VRF 0 and those that the configuration file names are always there, without a record.
#pragma once

#include "ctrl/intent/model.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string_view>

namespace slash32 {

// A wanted VRF as it stands; replaced whole.
struct VrfRecord {
    VrfIntent intent;
    uint64_t revision = 0;
};
using VrfRecordPtr = std::shared_ptr<const VrfRecord>;

struct VrfSlot {
    VrfRecordPtr record;
    bool stale = false;
};

class VrfTable {
  public:
    using Map = std::map<VrfId, VrfSlot>;

    bool exists(VrfId id) const { return is_configured(id) || vrfs_.contains(id); }
    bool is_configured(VrfId id) const { return configured_.contains(id); }
    // nullptr when there is no record.
    const VrfSlot* find(VrfId id) const {
        const auto at = vrfs_.find(id);
        return at != vrfs_.end() ? &at->second : nullptr;
    }
    const Map& all() const { return vrfs_; }
    const std::set<VrfId>& configured() const { return configured_; }

    void configure(VrfId id) { configured_.insert(id); }
    // Adds, or replaces the record of; null removes.
    void set(VrfId id, const VrfRecordPtr& record, bool stale) {
        if (record) {
            vrfs_[id] = {record, stale};
        } else {
            vrfs_.erase(id);
        }
    }
    // REQUIRES: the VRF has a record.
    void set_stale(VrfId id, bool stale) { vrfs_.at(id).stale = stale; }

  private:
    Map vrfs_;
    std::set<VrfId> configured_{VrfId{0}};
};

}  // namespace slash32
