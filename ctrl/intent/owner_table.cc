// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/owner_table.h"

namespace slash32 {

Result<uint32_t> OwnerTable::index(std::string_view name, bool may_reuse) {
    const auto known = by_name_.find(name);
    if (known != by_name_.end()) return known->second;
    uint32_t index = static_cast<uint32_t>(owners_.size());
    if (owners_.size() < kMax) {
        owners_.emplace_back();
    } else {
        auto idle = by_name_.begin();
        while (may_reuse && idle != by_name_.end() && owners_[idle->second].counts.any())
            ++idle;
        if (!may_reuse || idle == by_name_.end()) {
            return fail(ErrorCode::kLimit, "$.params.owner", "too many owners");
        }
        index = idle->second;
        by_name_.erase(idle);
    }
    const std::string text(name);
    owners_[index] = Owner{text, {}, volatile_names_.contains(text)};
    by_name_.emplace(text, index);
    return index;
}

}  // namespace slash32
