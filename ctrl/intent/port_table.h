// SPDX-License-Identifier: Apache-2.0
// Ports by name, by index and by PortId: those that owners want, and the uplinks of the
// configuration. Belongs to the control thread.
//
// An index stays the same while the port exists or a change refers to it (a pin). Limits:
// kMaxPorts.
#pragma once

#include "ctrl/intent/model.h"
#include "ctrl/plane/plane.h"
#include "dp/base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slash32 {

// A wanted port as it stands; replaced whole.
struct PortRecord {
    PortIntent intent;
    uint64_t revision = 0;
};
using PortRecordPtr = std::shared_ptr<const PortRecord>;

struct PortSlot {
    std::string name;
    PortRecordPtr record;              // null: an uplink, or not wanted (any more)
    std::optional<UplinkSpec> uplink;  // an uplink, or the host's view of it
    bool host_view = false;
    PortId id;            // kNoPort while the plane has no such port
    std::string failure;  // why the plane could not make it at start
    bool stale = false;
    uint32_t routes = 0;  // in the RIB, that lead to it
    uint32_t pins = 0;

    bool exists() const { return record != nullptr || uplink.has_value(); }
    // Of the configuration file: an uplink, or the host's view of one.
    bool is_configured() const { return uplink.has_value(); }
    bool is_uplink() const { return is_configured() && !host_view; }
};

// What the port of the host's view of an uplink is called: no other port has such a name.
inline std::string host_view_name(const std::string& uplink) {
    return "host:" + uplink;
}

class PortTable {
  public:
    static constexpr uint16_t kNone = UINT16_MAX;

    // The index of an existing port, or kNone.
    uint16_t find(std::string_view name) const;
    // The index of a port by the plane's id, or kNone.
    uint16_t find(PortId id) const;
    PortSlot& at(uint16_t index) { return slots_[index]; }
    const PortSlot& at(uint16_t index) const { return slots_[index]; }

    // An index for the name, whether the port exists or not, with a pin more. Errors: kLimit.
    Result<uint16_t> pin(std::string_view name);
    void unpin(uint16_t index);
    void set_id(uint16_t index, PortId id);
    // Frees the index when nothing holds it.
    void free_if_unused(uint16_t index);

    // visit(index, slot) → bool, for existing ports after `name` in order, while it returns true.
    template <typename Visit>
    void visit_after(std::string_view name, Visit&& visit) const {
        for (auto at = by_name_.upper_bound(name); at != by_name_.end(); ++at) {
            const PortSlot& slot = slots_[at->second];
            if (slot.exists() && !visit(at->second, slot)) return;
        }
    }
    template <typename Visit>
    void visit_all(Visit&& visit) const {
        visit_after("", [&](uint16_t index, const PortSlot& slot) {
            visit(index, slot);
            return true;
        });
    }

  private:
    std::vector<PortSlot> slots_;
    std::vector<uint16_t> free_;
    std::vector<uint16_t> by_id_ = std::vector<uint16_t>(kMaxPorts, kNone);
    std::map<std::string, uint16_t, std::less<>> by_name_;
};

}  // namespace slash32
