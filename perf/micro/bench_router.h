// SPDX-License-Identifier: Apache-2.0
// A router without devices for benchmarks of the packet path: two VM ports, a host route for each
// of kFlows destinations, and what their VMs send.
//
// A burst is made as a vhost device makes it: buffers from the pool, bytes just copied into them.
#pragma once

#include "ctrl/fib/fib.h"
#include "ctrl/flow/flow_memory.h"
#include "ctrl/policy/address_sets.h"
#include "ctrl/policy/compile.h"
#include "dp/stage/context.h"
#include "tests/support/packet.h"
#include "tests/support/quiescent.h"

#include <array>
#include <memory>
#include <vector>

struct rte_mempool;

namespace slash32::bench {

inline constexpr unsigned kFlows = 1024;
inline constexpr PortId kFrom{1};
inline constexpr PortId kTo{2};

enum class Filter : uint8_t {
    kOpen,     // nothing is tracked
    kHundred,  // 100 rules at both ports, the last of which lets UDP through
};

// A worker's context with both ports. One Router at a time uses a pool.
class Router {
  public:
    // Room for `flows` where ports are filtered.
    Router(rte_mempool* pool, Filter filter, size_t flows);

    WorkerContext& context() { return context_; }
    const PortConfig* in() const { return &configs_[0]; }
    uint64_t forwarded() { return context_.port_counters(kFrom).forwarded.get(); }

  private:
    class NoReaders final : public Reclaimer {
      public:
        void defer(Callback callback, void* argument) override { callback(argument); }
        void drain() override {}
    };

    void add_port(PortId id, const Mac& mac, const char* ipv4, const char* ipv6);
    void track(size_t flows);

    NoReaders reclaimer_;
    test::QuiescentPtr quiescent_;
    std::unique_ptr<Fib> fib_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<AddressSets> sets_;
    std::unique_ptr<FlowMemory> flow_memory_;
    std::array<PolicyPtr, 2> policies_;
    std::unique_ptr<WorkerCounterBlock> counters_;
    std::vector<const PortConfig*> ports_;
    std::vector<Adjacency> adjacencies_;
    std::vector<Capture*> captures_;
    std::array<TxPort, 2> devices_;
    std::array<PortConfig, 2> configs_;
    WorkerContext context_;
};

// Makes bursts of small UDP packets of one family, flow after flow.
class Sender {
  public:
    // `fresh`: every packet is the first of a flow, 64 M times.
    Sender(rte_mempool* pool, bool ipv6, bool fresh);

    // Fills kBurstSize packets and burst.live.
    void fill(Burst& burst);

  private:
    rte_mempool* pool_;
    std::vector<test::Bytes> frames_;
    size_t source_port_at_;
    bool fresh_;
    uint32_t next_ = 0;
};

}  // namespace slash32::bench
