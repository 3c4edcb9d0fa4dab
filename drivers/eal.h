// SPDX-License-Identifier: Apache-2.0
// Starting and ending DPDK's environment, and the packet pools.
//
// Thread safety: the main thread, once a process. Limits: a process starts it at most once; after
// a failed start the process can only say why and exit.
#pragma once

#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

struct rte_mempool;

namespace slash32 {

enum class HugepageMode : uint8_t {
    kAuto,     // used where enough are free and a hugetlbfs is mounted, else done without
    kRequire,  // a start without them fails
    kNever,
};

struct EalOptions {
    unsigned control_core = 0;
    std::vector<unsigned> worker_cores;  // one lcore each, in order; a core may be named repeatedly
    // Memory for packets and tables. Without hugepages this is the size of the address range, of
    // which only what is used becomes resident; with them it is what must be free at the start.
    unsigned memory_mb = 256;
    HugepageMode hugepages = HugepageMode::kAuto;
    std::string file_prefix = "slash32";  // a second instance with the same one is refused
    bool pci = false;                     // looks for PCI devices; off: none is touched
    std::vector<std::string> allow;       // devargs of PCI devices; empty: all that are bound
    std::vector<std::string> vdevs;       // devargs of virtual devices made at the start
    int log_level = 5;                    // of DPDK's libraries: 1 emergency ... 8 debug
    // One line of DPDK's log, without its line end; may come from any thread. Level as above.
    std::function<void(int level, std::string_view line)> log;
};

struct EalInfo {
    bool hugepages = false;
    // Worker i runs as this lcore, for rte_eal_remote_launch.
    std::vector<unsigned> worker_lcores;
};

// Errors: kInvalid with the path of the option ("workers.cores", "memory.size_mb", ...),
// kConflict when another instance runs, kUnavailable else. Ends within 2 s either way.
Result<EalInfo> start_eal(const EalOptions& options);
// After every worker has returned and every driver is gone.
void stop_eal();
// Changes `log_level` while running.
void set_eal_log_level(int level);

struct PoolOptions {
    std::string name;
    unsigned mbufs = 32768;
    uint16_t data_room = 2176;    // bytes: 2,048 and the headroom
    uint16_t private_bytes = 64;  // holds a PuntInfo
    unsigned cache = 256;         // mbufs kept by each worker
};

// A pool whose memory is resident from the start, so that no packet pays for a page fault.
// Errors: kUnavailable when the memory is short.
Result<rte_mempool*> create_packet_pool(const PoolOptions& options);

}  // namespace slash32
