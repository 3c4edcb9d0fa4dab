// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/port_table.h"

#include "dp/base/assert.h"

namespace slash32 {

uint16_t PortTable::find(std::string_view name) const {
    const auto known = by_name_.find(name);
    if (known == by_name_.end() || !slots_[known->second].exists()) return kNone;
    return known->second;
}

uint16_t PortTable::find(PortId id) const {
    return id.value() < by_id_.size() ? by_id_[id.value()] : kNone;
}

Result<uint16_t> PortTable::pin(std::string_view name) {
    const auto known = by_name_.find(name);
    if (known != by_name_.end()) {
        ++slots_[known->second].pins;
        return known->second;
    }
    uint16_t index = 0;
    if (!free_.empty()) {
        index = free_.back();
        free_.pop_back();
    } else if (slots_.size() + 1 < kMaxPorts) {  // id 0 is never assigned
        index = static_cast<uint16_t>(slots_.size());
        slots_.emplace_back();
    } else {
        return fail(ErrorCode::kLimit, "", "no more ports can be held");
    }
    slots_[index] = PortSlot{};
    slots_[index].name = name;
    slots_[index].pins = 1;
    by_name_.emplace(slots_[index].name, index);
    return index;
}

void PortTable::unpin(uint16_t index) {
    S32_ASSERT(slots_[index].pins > 0);
    --slots_[index].pins;
    free_if_unused(index);
}

void PortTable::set_id(uint16_t index, PortId id) {
    PortSlot& slot = slots_[index];
    if (slot.id != kNoPort) by_id_[slot.id.value()] = kNone;
    slot.id = id;
    if (id != kNoPort) by_id_[id.value()] = index;
}

void PortTable::free_if_unused(uint16_t index) {
    PortSlot& slot = slots_[index];
    if (slot.exists() || slot.pins != 0 || slot.id != kNoPort) return;
    by_name_.erase(slot.name);
    slot = PortSlot{};
    free_.push_back(index);
}

}  // namespace slash32
