// SPDX-License-Identifier: Apache-2.0
#include "drivers/ethdev/device.h"

#include "dp/base/limits.h"

#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_bond.h>
#include <rte_eth_bond_8023ad.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace slash32 {
namespace {

constexpr uint64_t kWantedTx = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
                               RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
                               RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
constexpr uint64_t kWantedRss = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
// How often a bond looks at members that give no interrupts.
constexpr uint32_t kBondLinkPeriodMs = 5;

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

// By what the device spreads packets over its queues.
OffloadRule spread_by(uint64_t rss, uint16_t queues) {
    OffloadRule rule{.name = "spread by addresses and ports", .hardware = false, .reason = {}};
    constexpr std::pair<uint64_t, std::string_view> kFields[] = {{RTE_ETH_RSS_IP, "addresses"},
                                                                 {RTE_ETH_RSS_TCP, "TCP ports"},
                                                                 {RTE_ETH_RSS_UDP, "UDP ports"}};
    std::string missing;
    for (const auto& [fields, name] : kFields) {
        if ((rss & fields) == 0) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", name);
    }
    rule.hardware = queues > 1 && rss != 0;
    if (!missing.empty()) rule.reason = "the device does not hash " + missing;
    if (queues <= 1) rule.reason = "there is one queue";
    return rule;
}

std::string bond_name(const UplinkPortSpec& spec) {
    return fmt::format("net_bonding{}", spec.id.value());
}

uint8_t bond_mode(UplinkBond bond) {
    switch (bond) {
        case UplinkBond::kNone:
        case UplinkBond::kActiveBackup:
            break;
        case UplinkBond::kBalance:
            return BONDING_MODE_BALANCE;
        case UplinkBond::kLacp:
            return BONDING_MODE_8023AD;
    }
    return BONDING_MODE_ACTIVE_BACKUP;
}

}  // namespace

Result<std::unique_ptr<EthDevice>> EthDevice::open(const UplinkPortSpec& spec, rte_mempool* pool) {
    std::unique_ptr<EthDevice> device(new EthDevice(spec));
    if (auto ok = device->make(); !ok) return tl::unexpected(ok.error());
    if (auto ok = device->set_up(pool, spec.rx_queues); !ok) return tl::unexpected(ok.error());
    if (auto ok = device->offload(pool); !ok) return tl::unexpected(ok.error());
    return device;
}

EthDevice::~EthDevice() {
    offload_.reset();
    stop();
    if (bond_) {
        rte_eth_dev_close(id_);  // lets go of the members
        rte_eth_bond_free(bond_name(spec_).c_str());
    }
    for (const uint16_t device : probed_) {
        rte_eth_dev_info info{};
        const bool known = rte_eth_dev_info_get(device, &info) == 0;
        rte_eth_dev_close(device);
        if (known && info.device != nullptr) rte_dev_remove(info.device);
    }
}

Result<void> EthDevice::make() {
    if (spec_.bond != UplinkBond::kNone) return make_bond();
    const auto found = find_or_probe(spec_.devargs);
    if (!found) return tl::unexpected(found.error());
    id_ = *found;
    interface_ = kernel_interface(spec_.devargs);
    return {};
}

// Finds the device in EAL, or makes it.
Result<uint16_t> EthDevice::find_or_probe(const std::string& devargs) {
    if (const auto present = find(devargs)) return *present;
    if (const int code = rte_dev_probe(devargs.c_str()); code != 0) {
        return fail(
            ErrorCode::kUnavailable, "devargs",
            fmt::format("no such device, or it cannot be used: '{}': {}", devargs, reason(code)));
    }
    if (const auto made = find(devargs)) {
        probed_.push_back(*made);
        return *made;
    }
    uint16_t device = 0;
    rte_dev_iterator iterator{};
    RTE_ETH_FOREACH_MATCHING_DEV(device, devargs.c_str(), &iterator) {
        rte_eth_iterator_cleanup(&iterator);
        probed_.push_back(device);
        return device;
    }
    return fail(ErrorCode::kUnavailable, "devargs",
                fmt::format("'{}' is no Ethernet device", devargs));
}

Result<void> EthDevice::make_bond() {
    const int bond = rte_eth_bond_create(bond_name(spec_).c_str(), bond_mode(spec_.bond), 0);
    if (bond < 0) {
        return fail(ErrorCode::kUnavailable, "bond",
                    fmt::format("a bond cannot be made: {}", reason(rte_errno)));
    }
    bond_ = true;
    id_ = static_cast<uint16_t>(bond);
    for (const std::string& devargs : spec_.members) {
        if (!kernel_interface(devargs).empty()) {
            return fail(ErrorCode::kInvalid, "members",
                        fmt::format("'{}' does not know its link, so a bond would not see it go: "
                                    "bond in the kernel, and give that interface",
                                    devargs));
        }
        const auto member = find_or_probe(devargs);
        if (!member) return tl::unexpected<Error>(member.error());
        if (rte_eth_bond_slave_add(id_, *member) != 0) {
            return fail(ErrorCode::kUnavailable, "members",
                        fmt::format("'{}' cannot be a member of a bond", devargs));
        }
        members_.push_back(*member);
    }
    if (spec_.bond != UplinkBond::kActiveBackup)
        rte_eth_bond_xmit_policy_set(id_, BALANCE_XMIT_POLICY_LAYER34);
    rte_eth_bond_link_monitoring_set(id_, kBondLinkPeriodMs);
    return {};
}

Result<void> EthDevice::set_up(rte_mempool* pool, uint16_t queues) {
    stop();
    if (auto ok = configure(pool, queues); !ok) return ok;
    if (auto ok = set_address(); !ok) return ok;
    return start();
}

Result<void> EthDevice::configure(rte_mempool* pool, uint16_t queues) {
    rte_eth_dev_info info{};
    if (const int code = rte_eth_dev_info_get(id_, &info); code != 0) {
        return fail(ErrorCode::kUnavailable, "devargs",
                    fmt::format("'{}': {}", spec_.device_name(), reason(code)));
    }
    if (spec_.mtu < info.min_mtu || spec_.mtu > info.max_mtu) {
        return fail(ErrorCode::kInvalid, "mtu",
                    fmt::format("the device takes {} to {}", info.min_mtu, info.max_mtu));
    }
    const uint16_t rx_count = std::clamp<uint16_t>(queues, 1, info.max_rx_queues);
    // Some devices want as many of the one kind as of the other.
    const uint16_t tx_count =
        std::clamp(std::max(spec_.workers, rx_count), uint16_t{1}, info.max_tx_queues);
    rte_eth_conf conf{};
    conf.rxmode.mtu = spec_.mtu;
    conf.txmode.offloads = info.tx_offload_capa & kWantedTx;
    const int room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
    if (spec_.mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + 2 * RTE_VLAN_HLEN > room)
        conf.rxmode.offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    const uint64_t rss = info.flow_type_rss_offloads & kWantedRss;
    if (rx_count > 1 && rss != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss;
    }
    spread_ = spread_by(rss, rx_count);
    if ((*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0) conf.intr_conf.lsc = 1;
    conf.intr_conf.rxq = 1;
    int code = rte_eth_dev_configure(id_, rx_count, tx_count, &conf);
    if (code != 0) {
        conf.intr_conf.rxq = 0;  // not every device has them
        code = rte_eth_dev_configure(id_, rx_count, tx_count, &conf);
    }
    uint16_t rx_size = spec_.rx_descriptors;
    uint16_t tx_size = spec_.tx_descriptors;
    if (code == 0) code = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx_size, &tx_size);
    for (uint16_t i = 0; code == 0 && i < rx_count; ++i)
        code = rte_eth_rx_queue_setup(id_, i, rx_size, SOCKET_ID_ANY, nullptr, pool);
    for (uint16_t i = 0; code == 0 && i < tx_count; ++i)
        code = rte_eth_tx_queue_setup(id_, i, tx_size, SOCKET_ID_ANY, nullptr);
    if (code != 0) {
        return fail(ErrorCode::kUnavailable, "devargs",
                    fmt::format("cannot set up '{}': {}", spec_.device_name(), reason(code)));
    }
    // The members of a bond are set up when it starts, with this MTU.
    code = bond_ ? 0 : rte_eth_dev_set_mtu(id_, spec_.mtu);
    if (code != 0 && code != -ENOTSUP) {
        return fail(ErrorCode::kUnavailable, "mtu",
                    fmt::format("the device refuses {}: {}", spec_.mtu, reason(code)));
    }
    tx_.device = id_;
    tx_.queues = tx_count;
    // A bond sends what it has to say to its partner by whoever sends.
    tx_.shared = tx_count < spec_.workers || bond_;
    tx_.offloads = offloads_of(conf.txmode.offloads);
    make_queues(rx_count);
    return {};
}

void EthDevice::make_queues(uint16_t count) {
    rx_.clear();
    for (uint16_t i = 0; i < count; ++i) {
        auto queue = std::make_unique<EthRxQueue>();
        queue->receive = eth_receive;
        queue->port = spec_.id;
        queue->index = i;
        queue->device = id_;
        rx_.push_back(std::move(queue));
    }
    tx_.transmit = eth_transmit;
    tx_.port = spec_.id;
}

Result<void> EthDevice::set_address() {
    rte_ether_addr address{};
    if (spec_.mac) {
        std::memcpy(address.addr_bytes, spec_.mac->bytes.data(), sizeof address.addr_bytes);
        if (const int code = rte_eth_dev_default_mac_addr_set(id_, &address); code != 0) {
            return fail(ErrorCode::kUnavailable, "mac",
                        fmt::format("the device refuses it: {}", reason(code)));
        }
    }
    rte_eth_macaddr_get(id_, &address);
    std::memcpy(mac_.bytes.data(), address.addr_bytes, mac_.bytes.size());
    return {};
}

Result<void> EthDevice::start() {
    if (const int code = rte_eth_dev_start(id_); code != 0) {
        return fail(ErrorCode::kUnavailable, "devargs",
                    fmt::format("cannot start '{}': {}", spec_.device_name(), reason(code)));
    }
    started_ = true;
    // Neighbour discovery comes by multicast.
    if (rte_eth_allmulticast_enable(id_) != 0) rte_eth_promiscuous_enable(id_);
    for (const auto& queue : rx_) {
        // A device without interrupts refuses this one quietly.
        if (rte_eth_dev_rx_intr_enable(id_, queue->index) != 0) continue;
        rte_eth_dev_rx_intr_disable(id_, queue->index);
        const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(id_, queue->index);
        if (fd < 0) continue;
        queue->wake_fd = fd;
        queue->arm = eth_arm;
        queue->disarm = eth_disarm;
    }
    return {};
}

void EthDevice::stop() {
    if (std::exchange(started_, false)) rte_eth_dev_stop(id_);
}

// Control traffic gets a queue of its own, behind the others, where the device can be told to put
// it there.
Result<void> EthDevice::offload(rte_mempool* pool) {
    if (!spec_.offload) no_offload_ = "switched off: offload = false";
    if (bond_) no_offload_ = "the members of a bond are not asked";
    if (!no_offload_.empty()) return {};
    const auto queues = static_cast<uint16_t>(rx_.size());
    std::optional<uint16_t> control_queue;
    std::string no_queue = FlowOffload::refusal_to_steer(id_);
    if (no_queue.empty()) {
        if (auto more = set_up(pool, static_cast<uint16_t>(queues + 1)); !more) {
            no_queue = more.error().message;
            if (auto ok = set_up(pool, queues); !ok) return ok;
        } else if (rx_.size() == queues) {
            no_queue = "the device has no queue to spare";
        } else {
            control_queue = queues;
            if (spread_.hardware) spread_.reason = keep_hash_off(queues);
        }
    }
    offload_ = std::make_unique<FlowOffload>(id_, control_queue, no_queue);
    return {};
}

// Has the device spread packets over the other queues alone. Returns why it cannot.
std::string EthDevice::keep_hash_off(uint16_t queue) const {
    constexpr uint16_t kGroup = RTE_ETH_RETA_GROUP_SIZE;
    rte_eth_dev_info info{};
    rte_eth_dev_info_get(id_, &info);
    std::vector<rte_eth_rss_reta_entry64> table((info.reta_size + kGroup - 1) / kGroup);
    for (uint16_t i = 0; i < info.reta_size; ++i) {
        table[i / kGroup].mask |= uint64_t{1} << i % kGroup;
        table[i / kGroup].reta[i % kGroup] = static_cast<uint16_t>(i % queue);
    }
    const int code =
        table.empty() ? -ENOTSUP : rte_eth_dev_rss_reta_update(id_, table.data(), info.reta_size);
    if (code == 0) return {};
    return "other packets come to the queue of control traffic too: " + reason(code);
}

std::vector<OffloadRule> EthDevice::offloads() const {
    std::vector<OffloadRule> rules = offload_ ? offload_->rules() : FlowOffload::none(no_offload_);
    rules.push_back(spread_);
    return rules;
}

EthDevice::Link EthDevice::link(int socket) const {
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(id_, &link) != 0) return {};
    const bool known = link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN;
    return Link{.up = link.link_status == RTE_ETH_LINK_UP &&
                      (interface_.empty() || interface_runs(socket, interface_)),
                .speed_mbps = known ? link.link_speed : 0};
}

bool EthDevice::uses(uint16_t device) const {
    return id_ == device || std::ranges::find(members_, device) != members_.end();
}

std::optional<uint16_t> EthDevice::find(const std::string& devargs) {
    const std::string name = devargs.substr(0, devargs.find(','));
    uint16_t device = 0;
    if (rte_eth_dev_get_port_by_name(name.c_str(), &device) != 0) return {};
    return device;
}

void EthDevice::keep_alive() {
    if (!bond_) return;
    rte_spinlock_lock(&tx_.locks[0].lock);
    rte_eth_tx_burst(id_, 0, nullptr, 0);
    rte_spinlock_unlock(&tx_.locks[0].lock);
}

}  // namespace slash32
