// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/dataplane.h"

#include "ctrl/daemon/segment_routing.h"
#include "ctrl/log/log.h"
#include "dp/abi/punt.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_memzone.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <new>

namespace slash32 {
namespace {

constexpr unsigned kCaptureMbufs = 1024;
constexpr unsigned kDrainMax = 256;  // mbufs of one worker taken in a turn of control's loop

HugepageMode hugepage_mode(const std::string& huge) {
    if (huge == "always") return HugepageMode::kRequire;
    return huge == "never" ? HugepageMode::kNever : HugepageMode::kAuto;
}

// The cores this process may run on, in order.
std::vector<unsigned> allowed_cores() {
    cpu_set_t set;
    std::vector<unsigned> cores;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
    for (unsigned core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
    return cores;
}

HostLimits host_limits(const Config& config) {
    HostLimits limits = kDefaultHostLimits;
    for (const std::string& item : config.host_limits) {
        const auto [kind, packets] = *parse_host_limit(item);
        limits[static_cast<size_t>(kind)] = packets;
    }
    return limits;
}

// Shared memory by name, so that a DPDK secondary process can attach to it. Zeroed.
Result<void*> reserve_zone(const std::string& name, size_t bytes) {
    const rte_memzone* zone =
        rte_memzone_reserve_aligned(name.c_str(), bytes, SOCKET_ID_ANY, 0, kCacheLine);
    if (zone == nullptr)
        return fail(
            ErrorCode::kUnavailable, "memory.size_mb",
            fmt::format("no memory for {} ({} bytes): {}", name, bytes, rte_strerror(rte_errno)));
    std::memset(zone->addr, 0, bytes);
    return zone->addr;
}

int run_worker(void* worker) {
    static_cast<Worker*>(worker)->run();
    return 0;
}

void drain(const std::vector<rte_ring*>& rings, const std::function<void(rte_mbuf&)>& take) {
    for (rte_ring* ring : rings) {
        void* packet = nullptr;
        for (unsigned n = 0; n < kDrainMax && rte_ring_sc_dequeue(ring, &packet) == 0; ++n) {
            auto* mbuf = static_cast<rte_mbuf*>(packet);
            take(*mbuf);
            rte_pktmbuf_free(mbuf);
        }
    }
}

}  // namespace

DataPlane::~DataPlane() {
    stop_workers();
    publisher_.reset();
    workers_.clear();
    if (reclaimer_) reclaimer_->drain();
    flow_memory_.reset();
    sets_.reset();
    fib_.reset();
    for (const int fd : doorbells_)
        close(fd);
    if (control_doorbell_ >= 0) close(control_doorbell_);
    if (eal_started_) stop_eal();
}

Result<void> DataPlane::prepare(const Config& config) {
    const std::vector<unsigned> allowed = allowed_cores();
    for (const int64_t core : config.worker_cores)
        cores_.push_back(static_cast<unsigned>(core));
    if (cores_.empty())
        cores_.assign(allowed.begin() + (allowed.size() > 1 ? 1 : 0), allowed.end());
    if (cores_.size() > kMaxWorkers) cores_.resize(kMaxWorkers);

    EalOptions options;
    options.control_core =
        config.control_core < 0 ? allowed[0] : static_cast<unsigned>(config.control_core);
    options.worker_cores = cores_;
    options.memory_mb = static_cast<unsigned>(config.memory_mb);
    options.hugepages = hugepage_mode(config.huge);
    options.file_prefix = config.eal_prefix;
    options.log = [](int level, std::string_view line) {
        // DPDK's levels: 4 error, 5 warning, 6 notice, 7 info, 8 debug.
        const auto ours = level <= 4   ? spdlog::level::err
                          : level == 5 ? spdlog::level::warn
                          : level <= 7 ? spdlog::level::info
                                       : spdlog::level::debug;
        log("dpdk").log(ours, line);
    };
    for (const UplinkSpec& uplink : config.uplinks) {
        std::vector<std::string> devices = uplink.members;
        devices.push_back(uplink.devargs);
        for (const std::string& devargs : devices) {
            // Virtual devices are named after their driver, "net_tap0"; PCI ones by their address.
            const bool pci = devargs.find(':') < devargs.find(',');
            options.pci |= pci;
            if (pci) options.allow.push_back(devargs);
        }
    }
    auto started = start_eal(options);
    if (!started) return tl::unexpected<Error>(started.error());
    eal_ = *started;
    eal_started_ = true;

    if (const auto srv6 = read_segment_routing(config); srv6 && *srv6) domain_ = (*srv6)->domain;
    if (auto made = make_shared(config); !made) return made;
    std::vector<WorkerChannel> channels;
    for (size_t i = 0; i < cores_.size(); ++i) {
        if (auto made = make_worker(config, i); !made) return made;
        channels.push_back(WorkerChannel{rings_[i], doorbells_[i]});
    }
    resolver_ = make_resolver(punt_rings_, control_doorbell_);
    publisher_ = std::make_unique<Publisher>(channels, quiescent_);
    return {};
}

Result<void> DataPlane::make_shared(const Config& config) {
    auto pool = create_packet_pool(
        PoolOptions{.name = "packets", .mbufs = static_cast<unsigned>(config.mbufs)});
    if (!pool) return tl::unexpected<Error>(pool.error());
    pool_ = *pool;
    auto capture_pool =
        create_packet_pool(PoolOptions{.name = "captures", .mbufs = kCaptureMbufs, .cache = 0});
    if (!capture_pool) return tl::unexpected<Error>(capture_pool.error());
    capture_pool_ = *capture_pool;

    auto quiescent = reserve_zone("slash32_quiescent", rte_rcu_qsbr_get_memsize(kMaxWorkers + 1));
    if (!quiescent) return tl::unexpected<Error>(quiescent.error());
    quiescent_ = static_cast<rte_rcu_qsbr*>(*quiescent);
    rte_rcu_qsbr_init(quiescent_, kMaxWorkers + 1);
    reclaimer_ = std::make_unique<QsbrReclaimer>(quiescent_);

    auto fib = Fib::create(FibSizes{}, mapped_memory(), *reclaimer_);
    if (!fib) return tl::unexpected<Error>(fib.error());
    fib_ = std::move(*fib);
    if (auto made = make_firewall(config); !made) return made;

    control_doorbell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control_doorbell_ < 0) return fail(ErrorCode::kUnavailable, "", "no more file descriptors");
    return {};
}

Result<void> DataPlane::make_firewall(const Config& config) {
    auto generations = reserve_zone("slash32_generations", sizeof(Generations));
    if (!generations) return tl::unexpected<Error>(generations.error());
    generations_ = new (*generations) Generations;
    auto hop_use = reserve_zone("slash32_hop_use", sizeof(HopUse));
    if (!hop_use) return tl::unexpected<Error>(hop_use.error());
    hop_use_ = new (*hop_use) HopUse{};
    auto sets = AddressSets::create(mapped_memory(), *reclaimer_, *generations_);
    if (!sets) return tl::unexpected<Error>(sets.error());
    sets_ = std::move(*sets);
    const FlowSizes sizes{.flows = static_cast<size_t>(config.conntrack_flows),
                          .workers = cores_.size()};
    auto flows = FlowMemory::create(sizes, mapped_memory());
    if (!flows) return tl::unexpected<Error>(flows.error());
    flow_memory_ = std::move(*flows);
    return {};
}

Result<void> DataPlane::make_worker(const Config& config, size_t index) {
    auto ring = reserve_zone(fmt::format("slash32_ring_{}", index), sizeof(CommandRing));
    if (!ring) return tl::unexpected<Error>(ring.error());
    rings_.push_back(new (*ring) CommandRing);
    auto counters =
        reserve_zone(fmt::format("slash32_counters_{}", index), sizeof(WorkerCounterBlock));
    if (!counters) return tl::unexpected<Error>(counters.error());
    counters_.push_back(new (*counters) WorkerCounterBlock);

    constexpr unsigned kFlags = RING_F_SP_ENQ | RING_F_SC_DEQ;
    for (auto* rings : {&punt_rings_, &capture_rings_}) {
        const char* kind = rings == &punt_rings_ ? "punts" : "captures";
        rte_ring* made = rte_ring_create(fmt::format("{}_{}", kind, index).c_str(),
                                         kPuntRingEntries, SOCKET_ID_ANY, kFlags);
        if (made == nullptr)
            return fail(ErrorCode::kUnavailable, "memory.size_mb", "no memory for the punt rings");
        rings->push_back(made);
    }
    const int doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (doorbell < 0) return fail(ErrorCode::kUnavailable, "", "no more file descriptors");
    doorbells_.push_back(doorbell);

    WorkerResources resources{.id = WorkerId{static_cast<uint8_t>(index)},
                              .ring = rings_[index],
                              .doorbell = doorbell,
                              .control_doorbell = control_doorbell_,
                              .quiescent = quiescent_,
                              .counters = counters_[index],
                              .fib = fib_->view(),
                              .flows = &flow_memory_->tables(),
                              .workers = static_cast<unsigned>(cores_.size()),
                              .sets = {sets_->view(), generations_},
                              .domain = domain(),
                              .hop_use = hop_use_,
                              .pool = pool_,
                              .capture_pool = capture_pool_,
                              .punt_ring = punt_rings_[index],
                              .capture_ring = capture_rings_[index]};
    resources.busy = config.poll == "busy";
    resources.icmp_errors_per_second = static_cast<uint32_t>(config.icmp_errors_per_second);
    resources.punts_per_second = static_cast<uint32_t>(config.punts_per_second);
    resources.host_limits = host_limits(config);
    workers_.push_back(std::make_unique<Worker>(resources));
    if (!workers_.back()->ok())
        return fail(ErrorCode::kUnavailable, "", "no memory for a worker's tables");
    return {};
}

void DataPlane::start_workers() {
    for (size_t i = 0; i < workers_.size(); ++i)
        rte_eal_remote_launch(run_worker, workers_[i].get(), eal_.worker_lcores[i]);
    running_ = true;
}

void DataPlane::stop_workers() {
    if (!running_) return;
    for (const auto& worker : workers_)
        worker->stop();
    for (const unsigned lcore : eal_.worker_lcores)
        rte_eal_wait_lcore(lcore);
    running_ = false;
}

void DataPlane::reset_counters(PortId port) {
    for (WorkerCounterBlock* block : counters_)
        new (&block->ports[port.value()]) PortCounters;
}

void DataPlane::reset_rule(RuleId rule) {
    for (WorkerCounterBlock* block : counters_)
        new (&block->rules[rule.value()]) Counter;
}

void DataPlane::reset_sid(uint16_t counter) {
    for (WorkerCounterBlock* block : counters_)
        new (&block->sids[counter]) SidCounters;
}

void DataPlane::synchronize() {
    rte_rcu_qsbr_synchronize(quiescent_, RTE_QSBR_THRID_INVALID);
}

void DataPlane::drain_punts(const std::function<void(rte_mbuf&)>& take) {
    drain(punt_rings_, take);
}

void DataPlane::drain_captures(const std::function<void(rte_mbuf&)>& take) {
    drain(capture_rings_, take);
}

}  // namespace slash32
