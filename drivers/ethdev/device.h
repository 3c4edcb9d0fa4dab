// SPDX-License-Identifier: Apache-2.0
// An Ethernet device of DPDK, or a bond of several: found or made by its devargs, configured,
// started.
//
// Thread safety: one thread at a time, but for what workers do through the queues.
#pragma once

#include "dp/base/net.h"
#include "dp/base/result.h"
#include "drivers/ethdev/queue.h"
#include "drivers/ethdev/uplink.h"
#include "drivers/flow_offload/flow_offload.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

struct rte_mempool;

namespace slash32 {

class EthDevice {
  public:
    // Makes what the spec names, configures and starts it.
    // Errors: kInvalid naming the field, kUnavailable.
    static Result<std::unique_ptr<EthDevice>> open(const UplinkPortSpec& spec, rte_mempool* pool);
    // Stops the device, and detaches what open() made.
    ~EthDevice();
    EthDevice(const EthDevice&) = delete;
    EthDevice& operator=(const EthDevice&) = delete;

    struct Link {
        bool up = false;
        uint32_t speed_mbps = 0;  // 0: not known
    };
    // Asks the device, and the kernel where the device is but a view of one of its interfaces.
    // `socket`: any, to ask the kernel by.
    Link link(int socket) const;

    // What a bond says to its partner leaves only when something is sent, if nothing at all. To be
    // called at least every 100 ms.
    void keep_alive();

    // What it does of the router's work with received packets, and what it does not.
    std::vector<OffloadRule> offloads() const;

    // Whether it is that device of DPDK, or a bond of it.
    bool uses(uint16_t device) const;
    // The device of these devargs, if it has been made.
    static std::optional<uint16_t> find(const std::string& devargs);

    const Mac& mac() const { return mac_; }
    EthTxPort& tx() { return tx_; }
    const std::vector<std::unique_ptr<EthRxQueue>>& rx() const { return rx_; }

  private:
    explicit EthDevice(const UplinkPortSpec& spec) : spec_(spec) {}

    Result<void> make();
    Result<uint16_t> find_or_probe(const std::string& devargs);
    Result<void> make_bond();
    Result<void> set_up(rte_mempool* pool, uint16_t queues);
    Result<void> configure(rte_mempool* pool, uint16_t queues);
    Result<void> set_address();
    Result<void> start();
    void stop();
    Result<void> offload(rte_mempool* pool);
    std::string keep_hash_off(uint16_t queue) const;
    void make_queues(uint16_t count);

    const UplinkPortSpec spec_;
    uint16_t id_ = UINT16_MAX;       // of DPDK
    std::vector<uint16_t> probed_;   // devices that were made here
    std::vector<uint16_t> members_;  // of the bond
    bool bond_ = false;              // was made
    bool started_ = false;
    OffloadRule spread_;  // of received packets over the queues
    std::unique_ptr<FlowOffload> offload_;
    std::string no_offload_;  // why there is none
    std::string interface_;   // of the kernel, that the device is a view of
    std::vector<std::unique_ptr<EthRxQueue>> rx_;
    EthTxPort tx_;
    Mac mac_;
};

}  // namespace slash32
