// SPDX-License-Identifier: Apache-2.0
// What would become of a packet, and why: the real stages, run by control on a probe.
//
// The stages see the routes and configurations that workers see, and counters of their own; the
// probe stops before it would be sent. So the answer cannot differ from what a worker does.
// Thread safety: the control thread alone.
#pragma once

#include "ctrl/api/services.h"
#include "ctrl/explain/probe.h"
#include "ctrl/fib/fib.h"
#include "ctrl/plane/forwarding_plane.h"
#include "dp/abi/counters.h"
#include "dp/base/pages.h"
#include "dp/stage/context.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace slash32 {

class Explainer final : public ExplainService {
  public:
    using PortName = std::function<std::string(PortId)>;

    // Everything given outlives the explainer.
    Explainer(const ForwardingPlane& plane, const Fib& fib, const AddressSets& sets,
              const SrDomain* domain, rte_mempool* pool, PortName name);
    ~Explainer() override;

    // Errors: kNotFound (port), those of make_probe.
    Result<ExplainAnswer> explain(const ExplainQuery& query) override;

  private:
    static Probe make_query_probe(const ExplainQuery& query, const PortConfig& in);
    void load_tables();
    // `taken`: the member of a group.
    std::string describe_route(PortId in, const Probe& probe, NextHopId taken) const;
    ExplainAnswer::Step judge(const char* stage, const Burst& burst, PortId in, const Probe& probe,
                              ExplainAnswer& answer);
    std::optional<DropReason> dropped(PortId in) const;
    std::string describe_filter(const PortConfig& port);

    const ForwardingPlane& plane_;
    const Fib& fib_;
    rte_mempool* pool_;
    PortName name_;
    PageArray<const PortConfig*> ports_;
    PageArray<Adjacency> adjacencies_;
    PageArray<const NextHopGroup*> groups_;
    PageArray<Capture*> captures_;
    std::unique_ptr<WorkerCounterBlock> counters_;
    rte_ring* punt_ring_ = nullptr;
    WorkerContext context_;
};

}  // namespace slash32
