// SPDX-License-Identifier: Apache-2.0
#include "drivers/ethdev/uplink.h"

#include "dp/base/limits.h"
#include "drivers/ethdev/device.h"
#include "drivers/ethdev/flap_damper.h"
#include "drivers/ethdev/vlan.h"

#include <fmt/format.h>
#include <pthread.h>
#include <rte_ethdev.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace slash32 {
namespace {

// Not every device gives interrupts. Within it a link that went down is out of use.
constexpr auto kLinkPeriod = std::chrono::milliseconds(5);

Result<void> check(const UplinkPortSpec& spec) {
    const bool bond = spec.bond != UplinkBond::kNone;
    if (bond && spec.members.empty())
        return fail(ErrorCode::kInvalid, "members", "a bond needs members");
    if (!bond && spec.devargs.empty())
        return fail(ErrorCode::kInvalid, "devargs", "must not be empty");
    if (spec.mtu < kMinMtu || spec.mtu > kMaxMtu) {
        return fail(ErrorCode::kInvalid, "mtu", fmt::format("must be {} to {}", kMinMtu, kMaxMtu));
    }
    return {};
}

}  // namespace

struct UplinkDriver::Vlan {
    VlanPortSpec spec;
    std::weak_ptr<Port> uplink;
    VlanTxPort tx;
};

struct UplinkDriver::Port {
    UplinkPortSpec spec;
    std::unique_ptr<EthDevice> device;

    // Of the driver's thread alone.
    bool device_up = false;  // as the device says
    bool up = false;         // and not held down
    bool held = false;       // by the damper
    uint32_t speed_mbps = 0;
    uint32_t losses = 0;
    FlapDamper damper;
    std::vector<std::shared_ptr<Vlan>> vlans;
};

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
    if (auto ok = check(spec); !ok) return tl::unexpected<Error>(ok.error());
    std::vector<std::string> wanted = spec.members;
    if (spec.bond == UplinkBond::kNone) wanted = {spec.devargs};
    {
        const std::lock_guard lock(mutex_);
        for (const std::string& devargs : wanted) {
            const auto present = EthDevice::find(devargs);
            const bool taken = present && std::ranges::any_of(ports_, [&](const auto& other) {
                                   return other.second->device->uses(*present);
                               });
            if (taken || ports_.contains(spec.id.value())) {
                return fail(ErrorCode::kConflict, "devargs",
                            fmt::format("another port has the device '{}'", devargs));
            }
        }
    }
    auto opened = EthDevice::open(spec, options_.pool);
    if (!opened) return tl::unexpected<Error>(opened.error());
    auto port = std::make_shared<Port>();
    port->spec = spec;
    port->device = std::move(*opened);

    UplinkHandles handles{.port = {.tx = &port->device->tx(), .rx = {}},
                          .mac = port->device->mac()};
    for (const auto& queue : port->device->rx())
        handles.port.rx.push_back(queue.get());
    {
        const std::lock_guard lock(mutex_);
        ports_[spec.id.value()] = port;
    }
    changed_.notify_one();
    return handles;
}

UplinkHandles UplinkDriver::add_vlan(const VlanPortSpec& spec) {
    auto vlan = std::make_shared<Vlan>();
    std::shared_ptr<Port> uplink;
    {
        const std::lock_guard lock(mutex_);
        uplink = ports_.at(spec.uplink.value());
        vlans_[spec.id.value()] = vlan;
    }
    EthDevice& device = *uplink->device;
    vlan->spec = spec;
    vlan->uplink = uplink;
    vlan->tx.transmit = vlan_transmit;
    vlan->tx.port = spec.id;
    vlan->tx.offloads = device.tx().offloads.load();
    vlan->tx.uplink = &device.tx();
    vlan->tx.vlan = spec.vlan;
    post([this, uplink, vlan] {
        uplink->vlans.push_back(vlan);
        vlan->tx.ready.store(uplink->up, std::memory_order_release);
        if (uplink->up) tell(*uplink, vlan->spec.id, vlan->spec.mtu);
    });
    return UplinkHandles{.port = {.tx = &vlan->tx, .rx = {}}, .mac = device.mac()};
}

void UplinkDriver::remove(PortId id, std::function<void()> done) {
    std::shared_ptr<Port> port;
    std::shared_ptr<Vlan> vlan;
    {
        const std::lock_guard lock(mutex_);
        if (auto found = ports_.extract(id.value())) port = std::move(found.mapped());
        if (auto found = vlans_.extract(id.value())) vlan = std::move(found.mapped());
    }
    post([port = std::move(port), vlan = std::move(vlan), done = std::move(done)]() mutable {
        if (vlan != nullptr) {
            if (const auto uplink = vlan->uplink.lock()) std::erase(uplink->vlans, vlan);
        }
        port.reset();
        if (done) done();
    });
}

UplinkCounters UplinkDriver::counters(PortId id) {
    const std::lock_guard lock(mutex_);
    const auto found = ports_.find(id.value());
    rte_eth_stats stats{};
    if (found == ports_.end()) return {};
    EthDevice& device = *found->second->device;
    if (rte_eth_stats_get(device.tx().device, &stats) != 0) return {};
    return UplinkCounters{.rx_missed = stats.imissed,
                          .rx_errors = stats.ierrors,
                          .rx_no_buffer = stats.rx_nombuf,
                          .tx_errors = stats.oerrors + device.tx().refused.load()};
}

std::vector<OffloadRule> UplinkDriver::offloads(PortId id) {
    const std::lock_guard lock(mutex_);
    const auto found = ports_.find(id.value());
    return found == ports_.end() ? std::vector<OffloadRule>() : found->second->device->offloads();
}

void UplinkDriver::post(std::function<void()> action) {
    {
        const std::lock_guard lock(mutex_);
        actions_.push_back(std::move(action));
    }
    changed_.notify_one();
}

// The driver's thread, as all below.
void UplinkDriver::check_link(Port& port) {
    port.device->keep_alive();
    const EthDevice::Link link = port.device->link(socket_);
    const auto now = FlapDamper::Clock::now();
    if (port.device_up && !link.up) {
        ++port.losses;
        if (port.spec.damping) port.damper.lost(now);
    }
    port.device_up = link.up;
    port.speed_mbps = link.speed_mbps;
    const bool held = port.damper.suppressed(now);
    set_link(port, link.up && !held, held);
}

// `held`: down for the damper, whatever the device says.
void UplinkDriver::set_link(Port& port, bool up, bool held) {
    if (up == port.up && held == port.held) return;
    port.up = up;
    port.held = held;
    port.device->tx().ready.store(up, std::memory_order_release);
    for (const auto& vlan : port.vlans)
        vlan->tx.ready.store(up, std::memory_order_release);
    tell(port, port.spec.id, port.spec.mtu);
    for (const auto& vlan : port.vlans)
        tell(port, vlan->spec.id, vlan->spec.mtu);
}

// Of the port itself or of one of its VLANs.
void UplinkDriver::tell(const Port& port, PortId id, uint16_t mtu) {
    if (!options_.event) return;
    std::string reason;
    if (port.held) {
        const auto left = port.damper.remaining(FlapDamper::Clock::now());
        reason = fmt::format(
            "the link flaps: lost {} times, held down until it has been quiet, {} s at the least",
            port.losses, left.count() / 1000 + 1);
    }
    options_.event(DriverEvent{
        .type = port.up ? DriverEventType::kLinkUp : DriverEventType::kLinkDown,
        .port = id,
        .path = port.spec.device_name(),
        .reason = std::move(reason),
        .features = 0,
        .mtu = mtu,
        .queue_pairs = static_cast<uint16_t>(port.device->rx().size()),
        .link = LinkInfo{.speed_mbps = port.speed_mbps, .losses = port.losses},
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
