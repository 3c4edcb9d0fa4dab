// SPDX-License-Identifier: Apache-2.0
// Uplinks: any DPDK Ethernet device, named by its devargs.
//
// A device is probed when it is added, so that virtual and PCI devices come and go alike.
//
// Thread safety: the public functions may be called from any thread, one at a time. add() blocks
// for as long as the device takes to start; closing and link changes are handled by a thread of
// the driver's own, from which events and callbacks come. Limits: RTE_MAX_ETHPORTS (32) devices.
#pragma once

#include "dp/base/net.h"
#include "dp/base/result.h"
#include "drivers/driver_event.h"
#include "drivers/flow_offload/flow_offload.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct rte_mempool;

namespace slash32 {

enum class UplinkBond : uint8_t {
    kNone,
    kActiveBackup,
    kBalance,  // static, by the 5-tuple
    kLacp,     // IEEE 802.1AX, the same
};

struct UplinkPortSpec {
    PortId id;
    // "0000:03:00.0", "net_af_packet0,iface=eth1", ...
    std::string devargs;
    UplinkBond bond = UplinkBond::kNone;  // of `members`, devargs; then there are no others
    std::vector<std::string> members;
    uint16_t rx_queues = 1;  // wanted; fewer when the device has fewer
    uint16_t workers = 1;  // that may send: a queue each, shared under a lock when there are fewer
    uint16_t mtu = 1500;
    std::optional<Mac> mac;  // else the device's own
    uint16_t rx_descriptors = 1024;
    uint16_t tx_descriptors = 1024;
    bool damping = true;  // a link that flaps stays down for a while: see FlapDamper
    bool offload = true;  // what the device can do of the router's work: see FlowOffload
    std::string device_name() const { return bond == UplinkBond::kNone ? devargs : "bond"; }
};

// A part of an uplink's traffic, told by an 802.1Q tag.
struct VlanPortSpec {
    PortId id;
    PortId uplink;
    uint16_t vlan = 0;    // 1 to 4094
    uint16_t mtu = 1500;  // of its IP packets
};

// Packets, since the device was made.
struct UplinkCounters {
    uint64_t rx_missed = 0;     // no room in the receive queue: workers were too slow
    uint64_t rx_errors = 0;     // damaged ones
    uint64_t rx_no_buffer = 0;  // the memory pool was empty
    uint64_t tx_errors = 0;     // the device failed to send them, or refused them
};

struct UplinkHandles {
    PortHandles port;
    Mac mac;  // in use
};

class UplinkDriver {
  public:
    struct Options {
        rte_mempool* pool = nullptr;
        DriverEventHook event;  // kLinkUp and kLinkDown
    };

    explicit UplinkDriver(Options options);
    // Closes what is left. REQUIRES: no worker refers to a port any more.
    ~UplinkDriver();
    UplinkDriver(const UplinkDriver&) = delete;
    UplinkDriver& operator=(const UplinkDriver&) = delete;

    // Errors: kInvalid naming the field, kConflict (device in use), kUnavailable.
    Result<UplinkHandles> add(const UplinkPortSpec& spec);
    // What is sent there gets the tag. It has no receive queue: workers find its packets among
    // those of the uplink. REQUIRES: the uplink has been added.
    UplinkHandles add_vlan(const VlanPortSpec& spec);
    // Stops and detaches the device, or ends the VLAN. REQUIRES: workers have acknowledged that
    // they refer to it no more, and an uplink's VLANs have been removed.
    void remove(PortId id, std::function<void()> done);

    // What the device has counted since it was made; zeros for a VLAN.
    UplinkCounters counters(PortId id);
    // What it does of the router's work, and what it does not; nothing for a VLAN.
    std::vector<OffloadRule> offloads(PortId id);

  private:
    struct Port;
    struct Vlan;

    void run();
    void post(std::function<void()> action);
    void check_link(Port& port);
    void set_link(Port& port, bool up, bool held);
    void tell(const Port& port, PortId id, uint16_t mtu);

    Options options_;
    int socket_;  // to ask the kernel of its interfaces
    std::unordered_map<uint16_t, std::shared_ptr<Port>> ports_;  // guarded by mutex_
    std::unordered_map<uint16_t, std::shared_ptr<Vlan>> vlans_;  // the same

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> actions_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace slash32
