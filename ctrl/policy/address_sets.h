// SPDX-License-Identifier: Apache-2.0
// The address sets that rules refer to, as workers look them up: a member that is added or removed
// is one change of a shared table, whatever number of rules and ports refer to the set.
//
// A set is kept as the routes of a VRF are (ctrl/fib): host addresses in one hash table for all
// sets, shorter prefixes in a trie of the set's own. An address is in a set when a member covers
// it.
//
// Thread safety: the control thread alone, but for what view() gave out.
#pragma once

#include "ctrl/fib/fib.h"
#include "dp/abi/generations.h"
#include "dp/base/ids.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace slash32 {

class AddressSets {
  public:
    // `reclaimer` and `generations` outlive the sets. Errors: kLimit (no memory).
    static Result<std::unique_ptr<AddressSets>> create(const TableMemory& memory,
                                                       Reclaimer& reclaimer,
                                                       Generations& generations);

    // An empty set. Errors: kLimit.
    Result<SetId> make();
    // REQUIRES: no published policy refers to the set any more. Its id is used again later.
    void destroy(SetId set);

    // Visible to workers on return; what is there already is no error. Errors: kLimit, kInvalid.
    Result<void> add(SetId set, const IpPrefix& member);
    // Visible on return; flows that the set has let in are judged anew by their next packet. What
    // is not there is no error.
    void remove(SetId set, const IpPrefix& member);

    bool contains(SetId set, const IpAddress& address) const;
    size_t size(SetId set) const;
    FibView view() const { return fib_->view(); }

  private:
    AddressSets(std::unique_ptr<Fib> fib, Generations& generations);

    std::unique_ptr<Fib> fib_;
    Generations& generations_;
    std::vector<size_t> sizes_;  // members, by SetId
    std::vector<SetId> free_;
};

}  // namespace slash32
