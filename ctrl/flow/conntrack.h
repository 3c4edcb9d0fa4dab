// SPDX-License-Identifier: Apache-2.0
// The flow table as the control socket shows it: counts, listings, flushes, limits and timeouts.
//
// Control reads entries while workers use them. It is a reader of the quiescent-state variable
// like they are, for as long as it looks: an entry that it has seen alive is not used again
// meanwhile. Thread safety: the control thread alone.
#pragma once

#include "ctrl/api/services.h"
#include "ctrl/intent/store.h"
#include "dp/abi/flow.h"
#include "dp/abi/generations.h"

#include <cstddef>
#include <functional>

struct rte_rcu_qsbr;

namespace slash32 {

class Conntrack final : public ConntrackService {
  public:
    // All outlive it. `reader` is control's own number as a reader; `bytes` is the table's size.
    Conntrack(FlowTables& tables, Generations& generations, rte_rcu_qsbr* quiescent,
              unsigned reader, size_t bytes, Executor executor);
    ~Conntrack() override;

    FlowCounts counts() override;
    Page list(const FlowFilter&, uint64_t from, size_t limit) override;
    void flush(const FlowFilter&, std::function<void(uint64_t)> done) override;
    FlowSettings settings() override;
    Result<void> set(const FlowSettings&) override;

    // Ends every flow from or to the port.
    void flush_port(PortId port);

  private:
    template <typename Visit>
    uint64_t visit(uint64_t from, uint64_t count, Visit&& visit);
    void flush_from(const FlowFilter& filter, uint64_t from, uint64_t flushed,
                    std::function<void(uint64_t)> done);
    uint64_t end() const;

    FlowTables& tables_;
    Generations& generations_;
    rte_rcu_qsbr* quiescent_;
    unsigned reader_;
    size_t bytes_;
    Executor executor_;
};

}  // namespace slash32
