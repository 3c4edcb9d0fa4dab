// SPDX-License-Identifier: Apache-2.0
// A router without devices for benchmarks of the packet path: two VM ports and an uplink, a host
// route for each of kFlows destinations behind a VM and in a tunnel, and what is sent there.
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
inline constexpr PortId kWire{3};
inline constexpr unsigned kVmPorts = 2;
inline constexpr unsigned kPortCount = 3;

enum class Filter : uint8_t {
    kOpen,     // nothing is tracked
    kHundred,  // 100 rules at both ports, the last of which lets UDP through
};

// The ports and the contexts of one or more workers over them. One Router at a time uses a pool.
class Router {
  public:
    // Room for `flows` where ports are filtered.
    Router(rte_mempool* pool, Filter filter, size_t flows, unsigned workers = 1);

    // Until then there is no segment routing.
    void route_segments() {
        for (const auto& worker : workers_)
            worker->context.domain = &domain_;
    }
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

    PortConfig& add_port(PortId id);
    void add_vm(PortId id, const Mac& mac, const char* ipv4, const char* ipv6);
    void add_hop(NextHopId id, PortId port, const Mac& mac);
    void add_segments();
    void track(size_t flows);

    NoReaders reclaimer_;
    test::QuiescentPtr quiescent_;
    std::unique_ptr<Fib> fib_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<AddressSets> sets_;
    std::unique_ptr<FlowMemory> flow_memory_;
    std::array<PolicyPtr, kVmPorts> policies_;
    std::vector<const PortConfig*> ports_;
    std::vector<Adjacency> adjacencies_;
    std::vector<const NextHopGroup*> groups_;
    std::vector<Capture*> captures_;
    std::array<TxPort, kPortCount> devices_;
    std::array<PortConfig, kPortCount> configs_;
    SrDomain domain_;
    Encapsulation encapsulation_;
    LocalSid sid_;
    std::vector<std::unique_ptr<Worker>> workers_;
};

enum class Packets : uint8_t {
    kForward,     // of kFrom's VM, flow after flow
    kAnswers,     // of kTo's VM, to the same flows
    kFresh,       // of kFrom's VM, each the first of a flow, 64 M times
    kIntoTunnel,  // of kFrom's VM, to what is behind the tunnel
    kFromWire,    // as kForward, received from the uplink
    kFromTunnel,  // the same in a tunnel to a segment of the router
};

// The port that receives them.
PortId source_of(Packets packets);

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
