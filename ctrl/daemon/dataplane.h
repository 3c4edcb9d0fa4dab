// SPDX-License-Identifier: Apache-2.0
// The running data plane: DPDK, packet pools, tables, workers on their cores, and control's ends of
// what they share.
//
// Thread safety: the control thread; workers run on threads of DPDK's. Limits: one a process.
#pragma once

#include "ctrl/daemon/config.h"
#include "ctrl/fib/fib.h"
#include "ctrl/flow/flow_memory.h"
#include "ctrl/policy/address_sets.h"
#include "ctrl/publish/publisher.h"
#include "ctrl/publish/qsbr_reclaimer.h"
#include "dp/abi/counters.h"
#include "dp/abi/generations.h"
#include "dp/worker/worker.h"
#include "drivers/eal.h"
#include "drivers/resolver.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

struct rte_mempool;
struct rte_mbuf;
struct rte_ring;
struct rte_rcu_qsbr;

namespace slash32 {

class DataPlane {
  public:
    DataPlane() = default;
    ~DataPlane();
    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;

    // Starts DPDK and makes everything; workers do not run yet.
    Result<void> prepare(const Config& config);
    // REQUIRES: prepare() has succeeded.
    void start_workers();
    // Ends the workers; nothing is forwarded any more.
    void stop_workers();

    size_t worker_count() const { return workers_.size(); }
    unsigned worker_core(size_t worker) const { return cores_[worker]; }
    const WorkerCounterBlock& counters(size_t worker) const { return *counters_[worker]; }
    // Sets every worker's counters of a port to zero. REQUIRES: no worker counts for the port.
    void reset_counters(PortId port);
    // The same of a rule. REQUIRES: no worker decides by it.
    void reset_rule(RuleId rule);
    // The same of a local segment's counter. REQUIRES: no worker counts by it.
    void reset_sid(uint16_t counter);
    Publisher& publisher() { return *publisher_; }
    QsbrReclaimer& reclaimer() { return *reclaimer_; }
    Fib& fib() { return *fib_; }
    AddressSets& address_sets() { return *sets_; }
    Generations& generations() { return *generations_; }
    HopUse& hop_use() { return *hop_use_; }
    // nullptr: there is no segment routing.
    const SrDomain* domain() const { return domain_ ? &*domain_ : nullptr; }
    FlowTables& flows() { return flow_memory_->tables(); }
    size_t flow_bytes() const { return flow_memory_->bytes(); }
    // Readers: workers by their ids, and control by kControlReader.
    rte_rcu_qsbr* quiescent() { return quiescent_; }
    static constexpr unsigned kControlReader = kMaxWorkers;
    rte_mempool* pool() { return pool_; }
    rte_mempool* capture_pool() { return capture_pool_; }
    // Where packets go whose next hop is to be found; they come back by drain_punts().
    TxPort* resolver() { return resolver_.get(); }
    bool hugepages() const { return eal_.hugepages; }
    // eventfd that becomes readable when a worker has acknowledged or punted something.
    int doorbell() const { return control_doorbell_; }
    // Waits until no worker can be in a burst that began before. Any thread but workers'.
    void synchronize();

    // Takes up to a bounded number of punted mbufs (captured copies) and hands each to `take`,
    // which does not keep it.
    void drain_punts(const std::function<void(rte_mbuf&)>& take);
    void drain_captures(const std::function<void(rte_mbuf&)>& take);

  private:
    Result<void> make_shared(const Config& config);
    Result<void> make_firewall(const Config& config);
    Result<void> make_worker(const Config& config, size_t index);

    EalInfo eal_;
    bool eal_started_ = false;
    bool running_ = false;
    std::vector<unsigned> cores_;
    rte_mempool* pool_ = nullptr;
    rte_mempool* capture_pool_ = nullptr;
    rte_rcu_qsbr* quiescent_ = nullptr;
    int control_doorbell_ = -1;
    std::vector<CommandRing*> rings_;            // in memzones, by worker
    std::vector<WorkerCounterBlock*> counters_;  // in memzones, by worker
    std::vector<int> doorbells_;
    std::vector<rte_ring*> punt_rings_;
    std::vector<rte_ring*> capture_rings_;
    std::unique_ptr<ResolverPort> resolver_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::unique_ptr<QsbrReclaimer> reclaimer_;
    std::unique_ptr<Fib> fib_;
    Generations* generations_ = nullptr;  // in a memzone
    HopUse* hop_use_ = nullptr;           // the same
    std::unique_ptr<AddressSets> sets_;
    std::optional<SrDomain> domain_;
    std::unique_ptr<FlowMemory> flow_memory_;
    std::unique_ptr<Publisher> publisher_;
};

}  // namespace slash32
