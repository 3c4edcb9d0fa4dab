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

// Both ports and the contexts of one or more workers over them. One Router at a time uses a pool.
class Router {
  public:
    // Room for `flows` where ports are filtered.
    Router(rte_mempool* pool, Filter filter, size_t flows, unsigned workers = 1);

    WorkerContext& context(unsigned worker = 0) { return workers_[worker]->context; }
    const PortConfig* port(PortId id) const { return &configs_[id.value() - 1]; }
    // Of one worker.
    uint64_t forwarded(PortId from = kFrom, unsigned worker = 0) {
        return context(worker).port_counters(from).forwarded.get();
    }

  private:
    class NoReaders final : public Reclaimer {
      public:
        void defer(Callback callback, void* argument) override { callback(argument); }
        void drain() override {}
    };

    struct Worker {
        WorkerContext context;
        WorkerCounterBlock counters;
    };

    void add_port(PortId id, const Mac& mac, const char* ipv4, const char* ipv6);
    void add_hop(NextHopId id, PortId port, const Mac& mac);
    void track(size_t flows);

    NoReaders reclaimer_;
    test::QuiescentPtr quiescent_;
    std::unique_ptr<Fib> fib_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<AddressSets> sets_;
    std::unique_ptr<FlowMemory> flow_memory_;
    std::array<PolicyPtr, 2> policies_;
    std::vector<const PortConfig*> ports_;
    std::vector<Adjacency> adjacencies_;
    std::vector<const NextHopGroup*> groups_;
    std::vector<Capture*> captures_;
    std::array<TxPort, 2> devices_;
    std::array<PortConfig, 2> configs_;
    std::vector<std::unique_ptr<Worker>> workers_;
};

enum class Packets : uint8_t {
    kForward,  // of kFrom's VM, flow after flow
    kAnswers,  // of kTo's VM, to the same flows
    kFresh,    // of kFrom's VM, each the first of a flow, 64 M times
};

// Makes bursts of small UDP packets of one family.
class Sender {
  public:
    Sender(rte_mempool* pool, bool ipv6, Packets packets);

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
