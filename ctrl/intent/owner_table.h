// SPDX-License-Identifier: Apache-2.0
// Owners by index, and how many objects each has. Belongs to the control thread.
//
// An owner without objects keeps its index until another needs the room. Limits: 1,023 owners.
#pragma once

#include "dp/base/result.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace slash32 {

struct OwnerCounts {
    uint32_t ports = 0;
    uint32_t routes = 0;
    uint32_t neighbors = 0;
    uint32_t groups = 0;  // and address sets
    uint32_t vrfs = 0;
    uint32_t stale = 0;
    bool any() const { return ports + routes + neighbors + groups + vrfs > 0; }
};

class OwnerTable {
  public:
    static constexpr size_t kMax = 1023;

    explicit OwnerTable(std::set<std::string> volatile_names)
        : volatile_names_(std::move(volatile_names)) {}

    // The owner's index, given out if it is new; `may_reuse` when nothing refers to the index of an
    // owner without objects. Errors: kLimit.
    Result<uint32_t> index(std::string_view name, bool may_reuse);
    const std::string& name(uint32_t index) const { return owners_[index].name; }
    // Whether its routes are kept out of the store.
    bool is_volatile(uint32_t index) const { return owners_[index].is_volatile; }
    OwnerCounts& counts(uint32_t index) { return owners_[index].counts; }

    // visit(name, counts), in order of name.
    template <typename Visit>
    void visit(Visit&& visit) const {
        for (const auto& [name, index] : by_name_)
            visit(name, owners_[index].counts);
    }

  private:
    struct Owner {
        std::string name;
        OwnerCounts counts;
        bool is_volatile = false;
    };

    std::set<std::string> volatile_names_;
    std::vector<Owner> owners_;
    std::map<std::string, uint32_t, std::less<>> by_name_;
};

}  // namespace slash32
