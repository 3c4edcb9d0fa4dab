// SPDX-License-Identifier: Apache-2.0
// VM ports on TAP interfaces of the kernel: for containers, tests, and machines without vhost-user.
//
// The router owns the interface's queues; the kernel's side of the interface is the VM's network
// card. It may be moved to another network namespace once it exists.
//
// Thread safety: the public functions may be called from any thread, one at a time. Interfaces are
// made by the caller of add() (about a millisecond) and closed by a thread of the driver's own, as
// the kernel takes tens of milliseconds for that; events and callbacks come from that thread. An
// interface that somebody deletes takes its port down (kFailed) within a second.
#pragma once

#include "dp/base/net.h"
#include "dp/base/result.h"
#include "drivers/driver_event.h"

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

struct rte_mempool;

namespace slash32 {

struct TapPortSpec {
    PortId id;
    std::string interface;  // 1 to 15 characters
    uint16_t queue_pairs = 1;
    uint16_t mtu = 1500;     // of the interface
    std::optional<Mac> mac;  // of the interface: the VM's address; else the kernel's choice
    bool up = true;          // sets the interface up
    // A descriptor of the interface that somebody has kept open: it is taken over, and is the
    // driver's from then on; with one queue only. -1: the interface is made, and must not exist.
    int adopted = -1;
    bool carrier = true;   // of an interface that is made
    bool offloads = true;  // the kernel may leave checksums and TCP segmentation to us
};

class TapDriver {
  public:
    struct Options {
        rte_mempool* pool = nullptr;
        DriverEventHook event;
    };

    explicit TapDriver(Options options);
    // Closes what is left. REQUIRES: no worker refers to a port.
    ~TapDriver();
    TapDriver(const TapDriver&) = delete;
    TapDriver& operator=(const TapDriver&) = delete;

    // Errors: kInvalid, kConflict (the name is taken), kForbidden, kUnavailable.
    Result<PortHandles> add(const TapPortSpec& spec);
    // The port's first queue, for somebody to keep the interface by; -1: there is no such port. It
    // stays the driver's.
    int descriptor(PortId id);
    // Whether the kernel's side has a carrier.
    void set_carrier(PortId id, bool up);
    // Ends the interface. REQUIRES: workers have acknowledged that they refer to it no more.
    void remove(PortId id, std::function<void()> done);

  private:
    struct Port;

    void run();
    void check_faults();
    void post(std::function<void()> action);

    Options options_;

    std::mutex mutex_;
    std::unordered_map<uint16_t, std::shared_ptr<Port>> ports_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> actions_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace slash32
