// SPDX-License-Identifier: Apache-2.0
#include "drivers/ethdev/uplink.h"

#include "dp/base/limits.h"
#include "drivers/ethdev/queue.h"

#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <pthread.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string_view>
#include <vector>

namespace slash32 {
namespace {

// Not every device gives interrupts. Within it a link that went down is out of use.
constexpr auto kLinkPeriod = std::chrono::milliseconds(5);
constexpr uint64_t kWantedTx = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
                               RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
                               RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
constexpr uint64_t kWantedRss = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;

std::string reason(int code) {
    return rte_strerror(code < 0 ? -code : code);
}

// The kernel interface that a device is but a view of; such a device does not know its link. Empty:
// none.
std::string kernel_interface(const std::string& devargs) {
    constexpr std::string_view kKey = ",iface=";
    const bool view = devargs.starts_with("net_af_packet") || devargs.starts_with("net_af_xdp");
    const size_t at = devargs.find(kKey);
    if (!view || at == std::string::npos) return {};
    const size_t begin = at + kKey.size();
    return devargs.substr(begin, devargs.find(',', begin) - begin);
}

// Up, with a carrier. False as well where there is no such interface (any more).
bool interface_runs(int socket, const std::string& name) {
    ifreq request{};
    name.copy(request.ifr_name, sizeof request.ifr_name - 1);
    constexpr int kRuns = IFF_UP | IFF_RUNNING;
    if (ioctl(socket, SIOCGIFFLAGS, &request) != 0 || (request.ifr_flags & kRuns) != kRuns)
        return false;
    // The flags may tell of a loss up to a second late: the kernel saves up such events.
    ethtool_value link{.cmd = ETHTOOL_GLINK, .data = 0};
    request.ifr_data = reinterpret_cast<char*>(&link);
    return ioctl(socket, SIOCETHTOOL, &request) != 0 || link.data != 0;
}

uint32_t offloads_of(uint64_t capabilities) {
    constexpr uint64_t kChecksums = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    uint32_t offloads = 0;
    if ((capabilities & kChecksums) == kChecksums) {
        offloads |= kTxChecksum;
        if ((capabilities & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0) offloads |= kTxTso4 | kTxTso6;
    }
    if ((capabilities & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0) offloads |= kTxMultiSegment;
    return offloads;
}

// Finds the device in EAL, or makes it. `probed`: it was made.
Result<uint16_t> probe(const std::string& devargs, bool& probed) {
    const std::string name = devargs.substr(0, devargs.find(','));
    uint16_t device = 0;
    probed = false;
    if (rte_eth_dev_get_port_by_name(name.c_str(), &device) == 0) return device;
    if (const int code = rte_dev_probe(devargs.c_str()); code != 0) {
        return fail(
            ErrorCode::kUnavailable, "devargs",
            fmt::format("no such device, or it cannot be used: '{}': {}", devargs, reason(code)));
    }
    probed = true;
    if (rte_eth_dev_get_port_by_name(name.c_str(), &device) == 0) return device;
    rte_dev_iterator iterator{};
    RTE_ETH_FOREACH_MATCHING_DEV(device, devargs.c_str(), &iterator) {
        rte_eth_iterator_cleanup(&iterator);
        return device;
    }
    return fail(ErrorCode::kUnavailable, "devargs",
                fmt::format("'{}' is no Ethernet device", devargs));
}

}  // namespace

struct UplinkDriver::Port {
    UplinkPortSpec spec;
    uint16_t device = 0;
    bool probed = false;
    bool started = false;
    bool link_up = false;
    std::string interface;  // of the kernel, that the device is a view of
    std::vector<std::unique_ptr<EthRxQueue>> rx;
    EthTxPort tx;
    Mac mac;

    ~Port();
    Result<void> configure(const rte_eth_dev_info& info, rte_mempool* pool);
    Result<void> set_address();
    Result<void> start();
    void make_queues(uint16_t count);
};

UplinkDriver::Port::~Port() {
    if (!started && !probed) return;
    rte_eth_dev_info info{};
    const bool known = rte_eth_dev_info_get(device, &info) == 0;
    if (started) rte_eth_dev_stop(device);
    if (!probed) return;
    rte_eth_dev_close(device);
    if (known && info.device != nullptr) rte_dev_remove(info.device);
}

Result<void> UplinkDriver::Port::configure(const rte_eth_dev_info& info, rte_mempool* pool) {
    if (spec.mtu < info.min_mtu || spec.mtu > info.max_mtu) {
        return fail(ErrorCode::kInvalid, "mtu",
                    fmt::format("the device takes {} to {}", info.min_mtu, info.max_mtu));
    }
    const uint16_t rx_count = std::clamp<uint16_t>(spec.rx_queues, 1, info.max_rx_queues);
    const uint16_t tx_count = std::clamp<uint16_t>(spec.workers, 1, info.max_tx_queues);
    rte_eth_conf conf{};
    conf.rxmode.mtu = spec.mtu;
    conf.txmode.offloads = info.tx_offload_capa & kWantedTx;
    const int room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
    if (spec.mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + 2 * RTE_VLAN_HLEN > room)
        conf.rxmode.offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    if (rx_count > 1 && (info.flow_type_rss_offloads & kWantedRss) != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & kWantedRss;
    }
    if ((*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0) conf.intr_conf.lsc = 1;
    conf.intr_conf.rxq = 1;
    int code = rte_eth_dev_configure(device, rx_count, tx_count, &conf);
    if (code != 0) {
        conf.intr_conf.rxq = 0;  // not every device has them
        code = rte_eth_dev_configure(device, rx_count, tx_count, &conf);
    }
    uint16_t rx_size = spec.rx_descriptors;
    uint16_t tx_size = spec.tx_descriptors;
    if (code == 0) code = rte_eth_dev_adjust_nb_rx_tx_desc(device, &rx_size, &tx_size);
    for (uint16_t i = 0; code == 0 && i < rx_count; ++i)
        code = rte_eth_rx_queue_setup(device, i, rx_size, SOCKET_ID_ANY, nullptr, pool);
    for (uint16_t i = 0; code == 0 && i < tx_count; ++i)
        code = rte_eth_tx_queue_setup(device, i, tx_size, SOCKET_ID_ANY, nullptr);
    if (code != 0) {
        return fail(ErrorCode::kUnavailable, "devargs",
                    fmt::format("cannot set up '{}': {}", spec.devargs, reason(code)));
    }
    code = rte_eth_dev_set_mtu(device, spec.mtu);
    if (code != 0 && code != -ENOTSUP) {
        return fail(ErrorCode::kUnavailable, "mtu",
                    fmt::format("the device refuses {}: {}", spec.mtu, reason(code)));
    }
    tx.device = device;
    tx.queues = tx_count;
    tx.shared = tx_count < spec.workers;
    tx.offloads = offloads_of(conf.txmode.offloads);
    make_queues(rx_count);
    return {};
}

void UplinkDriver::Port::make_queues(uint16_t count) {
    for (uint16_t i = 0; i < count; ++i) {
        auto queue = std::make_unique<EthRxQueue>();
        queue->receive = eth_receive;
        queue->port = spec.id;
        queue->index = i;
        queue->device = device;
        rx.push_back(std::move(queue));
    }
    tx.transmit = eth_transmit;
    tx.port = spec.id;
}

Result<void> UplinkDriver::Port::set_address() {
    rte_ether_addr address{};
    if (spec.mac) {
        std::memcpy(address.addr_bytes, spec.mac->bytes.data(), sizeof address.addr_bytes);
        if (const int code = rte_eth_dev_default_mac_addr_set(device, &address); code != 0) {
            return fail(ErrorCode::kUnavailable, "mac",
                        fmt::format("the device refuses it: {}", reason(code)));
        }
    }
    rte_eth_macaddr_get(device, &address);
    std::memcpy(mac.bytes.data(), address.addr_bytes, mac.bytes.size());
    return {};
}

Result<void> UplinkDriver::Port::start() {
    if (const int code = rte_eth_dev_start(device); code != 0) {
        return fail(ErrorCode::kUnavailable, "devargs",
                    fmt::format("cannot start '{}': {}", spec.devargs, reason(code)));
    }
    started = true;
    // Neighbour discovery comes by multicast.
    if (rte_eth_allmulticast_enable(device) != 0) rte_eth_promiscuous_enable(device);
    for (const auto& queue : rx) {
        // A device without interrupts refuses this one quietly.
        if (rte_eth_dev_rx_intr_enable(device, queue->index) != 0) continue;
        rte_eth_dev_rx_intr_disable(device, queue->index);
        const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(device, queue->index);
        if (fd < 0) continue;
        queue->wake_fd = fd;
        queue->arm = eth_arm;
        queue->disarm = eth_disarm;
    }
    return {};
}

UplinkDriver::UplinkDriver(Options options)
    : options_(std::move(options)), socket_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "s32-uplink");
}

UplinkDriver::~UplinkDriver() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
    if (socket_ >= 0) close(socket_);
}

Result<UplinkHandles> UplinkDriver::add(const UplinkPortSpec& spec) {
    if (spec.devargs.empty()) return fail(ErrorCode::kInvalid, "devargs", "must not be empty");
    if (spec.mtu < kMinMtu || spec.mtu > kMaxMtu) {
        return fail(ErrorCode::kInvalid, "mtu", fmt::format("must be {} to {}", kMinMtu, kMaxMtu));
    }
    auto port = std::make_shared<Port>();
    port->spec = spec;
    port->interface = kernel_interface(spec.devargs);
    const auto device = probe(spec.devargs, port->probed);
    if (!device) {
        port->probed = false;
        return tl::unexpected(device.error());
    }
    port->device = *device;
    {
        const std::lock_guard lock(mutex_);
        const bool taken = std::any_of(ports_.begin(), ports_.end(), [&](const auto& other) {
            return other.second->device == *device || other.first == spec.id.value();
        });
        if (taken) {
            return fail(ErrorCode::kConflict, "devargs",
                        fmt::format("another port has the device '{}'", spec.devargs));
        }
    }
    rte_eth_dev_info info{};
    if (const int code = rte_eth_dev_info_get(*device, &info); code != 0) {
        return fail(ErrorCode::kUnavailable, "devargs",
                    fmt::format("'{}': {}", spec.devargs, reason(code)));
    }
    if (auto ok = port->configure(info, options_.pool); !ok) return tl::unexpected(ok.error());
    if (auto ok = port->set_address(); !ok) return tl::unexpected(ok.error());
    if (auto ok = port->start(); !ok) return tl::unexpected(ok.error());

    UplinkHandles handles{.port = {.tx = &port->tx, .rx = {}}, .mac = port->mac};
    for (const auto& queue : port->rx)
        handles.port.rx.push_back(queue.get());
    {
        const std::lock_guard lock(mutex_);
        ports_[spec.id.value()] = port;
    }
    changed_.notify_one();
    return handles;
}

void UplinkDriver::remove(PortId id, std::function<void()> done) {
    std::shared_ptr<Port> port;
    {
        const std::lock_guard lock(mutex_);
        if (const auto it = ports_.find(id.value()); it != ports_.end()) {
            port = std::move(it->second);
            ports_.erase(it);
        }
    }
    post([port = std::move(port), done = std::move(done)]() mutable {
        port.reset();
        if (done) done();
    });
}

void UplinkDriver::post(std::function<void()> action) {
    {
        const std::lock_guard lock(mutex_);
        actions_.push_back(std::move(action));
    }
    changed_.notify_one();
}

// The driver's thread.
void UplinkDriver::check_link(Port& port) {
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(port.device, &link) != 0) return;
    const bool up = link.link_status == RTE_ETH_LINK_UP &&
                    (port.interface.empty() || interface_runs(socket_, port.interface));
    if (up == port.link_up) return;
    port.link_up = up;
    port.tx.ready.store(up, std::memory_order_release);
    if (!options_.event) return;
    options_.event(DriverEvent{
        .type = up ? DriverEventType::kLinkUp : DriverEventType::kLinkDown,
        .port = port.spec.id,
        .path = port.spec.devargs,
        .reason = {},
        .features = 0,
        .mtu = port.spec.mtu,
        .queue_pairs = static_cast<uint16_t>(port.rx.size()),
    });
}

void UplinkDriver::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        std::deque<std::function<void()>> actions;
        actions.swap(actions_);
        std::vector<std::shared_ptr<Port>> ports;
        for (const auto& [id, port] : ports_)
            ports.push_back(port);
        lock.unlock();
        for (const auto& action : actions)
            action();
        actions.clear();
        for (const auto& port : ports)
            check_link(*port);
        ports.clear();
        lock.lock();
        if (!actions_.empty()) continue;
        if (stopping_) return;
        if (ports_.empty())
            changed_.wait(lock);
        else
            changed_.wait_for(lock, kLinkPeriod);
    }
}

}  // namespace slash32
