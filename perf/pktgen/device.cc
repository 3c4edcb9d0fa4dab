// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/device.h"

#include <fmt/format.h>
#include <rte_bus_vdev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>

namespace slash32::pktgen {

namespace {

// Large enough that what is in a ring both ways never empties a pool.
constexpr unsigned kPoolSpare = 4096;
constexpr unsigned kPoolCache = 256;
constexpr double kCloseSeconds = 3;
// Linux's TCP sends from areas of this size.
constexpr uint32_t kSegmentBuffer = 32768;

tl::unexpected<Error> unavailable(const std::string& what, const std::string& message) {
    return fail(ErrorCode::kUnavailable, what, message);
}

bool is_socket(const std::string& path) {
    struct stat info = {};
    return lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

// virtio-user waits for its backend without a limit, in accept() and in recv(). A signal that does
// not restart system calls ends such a wait, and the device then reports that it failed.
class Patience {
  public:
    explicit Patience(double seconds) {
        struct sigaction action = {};
        action.sa_handler = [](int) {};
        sigaction(SIGALRM, &action, nullptr);
        itimerval timer = {};
        timer.it_value.tv_sec = static_cast<time_t>(seconds);
        timer.it_value.tv_usec =
            static_cast<suseconds_t>((seconds - static_cast<double>(timer.it_value.tv_sec)) * 1e6);
        if (seconds < 1e-3) timer.it_value.tv_usec = 1000;
        timer.it_interval.tv_usec = 100'000;
        setitimer(ITIMER_REAL, &timer, nullptr);
    }
    ~Patience() {
        const itimerval off = {};
        setitimer(ITIMER_REAL, &off, nullptr);
    }
    Patience(const Patience&) = delete;
    Patience& operator=(const Patience&) = delete;
};

// Everything on one core, DPDK's own threads too: the router has the others for itself.
Result<void> pin(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        return fail(ErrorCode::kInvalid, "--core", fmt::format("core {} cannot be used", core));
    return {};
}

Result<void> start_eal(const Options& options) {
    std::vector<std::string> words = {"s32-pktgen",
                                      fmt::format("--lcores=0@{}", options.core),
                                      "--no-pci",
                                      "--no-telemetry",
                                      "--single-file-segments",
                                      "--iova-mode=va",
                                      fmt::format("--file-prefix=s32-pktgen-{}", getpid()),
                                      fmt::format("--log-level={}", options.verbose ? 7 : 3)};
    if (options.hugepages) {
        words.push_back(fmt::format("--socket-mem={}", options.memory_mb));
        words.push_back("--in-memory");
    } else {
        words.push_back("--no-huge");
        words.push_back("--no-shconf");
        words.push_back(fmt::format("-m{}", options.memory_mb));
    }
    words.insert(words.end(), options.eal_args.begin(), options.eal_args.end());
    std::vector<char*> argv;
    argv.reserve(words.size());
    for (std::string& word : words)
        argv.push_back(word.data());
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
        return unavailable(
            "eal", fmt::format("DPDK did not start ({}): {}", rte_strerror(rte_errno),
                               options.hugepages ? "are there hugepages?" : "is there memory?"));
    }
    return {};
}

rte_eth_conf configure_offloads(const Options& options, const rte_eth_dev_info& info) {
    rte_eth_conf conf = {};
    if (!options.tso) return conf;
    conf.rxmode.offloads =
        info.rx_offload_capa &
        (RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER);
    conf.txmode.offloads =
        info.tx_offload_capa &
        (RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
    return conf;
}

}  // namespace

Devices::~Devices() {
    const Patience patience(kCloseSeconds);
    for (const Device& device : devices_) {
        rte_eth_dev_stop(device.port);
        rte_eth_dev_close(device.port);
    }
    if (eal_started_) rte_eal_cleanup();
    abandon();
}

void Devices::abandon() {
    for (const DeviceOptions& device : options_) {
        if (!device.socket.empty()) unlink(device.socket.c_str());
    }
}

Result<void> Devices::open(const Options& options) {
    if (auto pinned = pin(options.core); !pinned) return pinned;
    if (auto started = start_eal(options); !started) return started;
    eal_started_ = true;
    const Patience patience(options.connect_seconds);
    for (size_t i = 0; i < options.devices.size(); i++) {
        if (auto opened = open_one(options, options.devices[i], i); !opened) return opened;
    }
    return {};
}

Result<void> Devices::open_one(const Options& options, const DeviceOptions& device, size_t index) {
    if (!device.socket.empty()) {
        // What an earlier run left behind; anything but a socket is not ours to remove.
        if (is_socket(device.socket)) unlink(device.socket.c_str());
        options_.push_back(device);
    }
    if (rte_dev_probe(device.vdev.c_str()) != 0) {
        return unavailable(device.name,
                           device.socket.empty()
                               ? fmt::format("device \"{}\" cannot be opened", device.vdev)
                               : fmt::format("nobody has connected to {} within {:g} s",
                                             device.socket, options.connect_seconds));
    }
    Device opened;
    if (rte_eth_dev_get_port_by_name(device.name.c_str(), &opened.port) != 0)
        return unavailable(device.name, fmt::format("\"{}\" is no ethdev", device.vdev));
    devices_.push_back(opened);

    rte_eth_dev_info info;
    if (const int error = rte_eth_dev_info_get(opened.port, &info); error != 0)
        return unavailable(device.name, fmt::format("no information: {}", rte_strerror(-error)));
    const uint64_t needed = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    if (options.tso && sends(options, index) && (info.tx_offload_capa & needed) != needed)
        return unavailable(device.name, "has no TCP segmentation offload (--tso)");

    const uint32_t send_buffer =
        options.tso ? kSegmentBuffer : static_cast<uint32_t>(options.frame_bytes);
    // With what an encapsulation adds, and at least a cache line more than the template that is
    // copied into each buffer.
    const size_t added = device.sid ? kEncapsulationBytes + kSrhBytes : 0;
    const uint16_t send_room = static_cast<uint16_t>(
        RTE_PKTMBUF_HEADROOM + std::max<size_t>(send_buffer + added, added != 0 ? 256 : 128));
    const unsigned buffers =
        (static_cast<uint32_t>(options.frame_bytes) + send_buffer - 1) / send_buffer;
    const unsigned send_mbufs = options.tso ? (options.ring_entries + 64U) * buffers : 2048U;
    const unsigned receive_mbufs = options.ring_entries + kPoolSpare;
    devices_.back().send_buffer = send_buffer;
    devices_.back().send_pool =
        rte_pktmbuf_pool_create(fmt::format("send{}", index).c_str(), send_mbufs,
                                options.tso ? 0 : kPoolCache, 0, send_room, SOCKET_ID_ANY);
    rte_mempool* receive_pool = rte_pktmbuf_pool_create(
        fmt::format("receive{}", index).c_str(), receive_mbufs, kPoolCache, 0,
        static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + options.receive_buffer), SOCKET_ID_ANY);
    if (devices_.back().send_pool == nullptr || receive_pool == nullptr)
        return unavailable("--memory", fmt::format("{} MiB are too little", options.memory_mb));

    const rte_eth_conf conf = configure_offloads(options, info);
    int error = rte_eth_dev_configure(opened.port, 1, 1, &conf);
    uint16_t receive_entries = options.ring_entries;
    uint16_t send_entries = options.ring_entries;
    if (error == 0)
        error = rte_eth_dev_adjust_nb_rx_tx_desc(opened.port, &receive_entries, &send_entries);
    if (error == 0)
        error = rte_eth_rx_queue_setup(opened.port, 0, receive_entries, SOCKET_ID_ANY, nullptr,
                                       receive_pool);
    if (error == 0)
        error = rte_eth_tx_queue_setup(opened.port, 0, send_entries, SOCKET_ID_ANY, nullptr);
    if (error == 0) error = rte_eth_dev_start(opened.port);
    if (error != 0)
        return unavailable(device.name, fmt::format("does not start: {}", rte_strerror(-error)));
    return {};
}

Result<void> Devices::wait_links(double seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    for (size_t i = 0; i < devices_.size(); i++) {
        rte_eth_link link = {};
        while (rte_eth_link_get_nowait(devices_[i].port, &link) == 0 &&
               link.link_status != RTE_ETH_LINK_UP) {
            if (std::chrono::steady_clock::now() > deadline) {
                return unavailable(
                    fmt::format("device {}", i),
                    fmt::format("no link within {:g} s: nobody has connected to it", seconds));
            }
            usleep(1000);
        }
    }
    return {};
}

}  // namespace slash32::pktgen
