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
    // The interface stays when the daemon ends (and is taken over when it starts again); it goes
    // with remove(). Otherwise an interface of that name must not exist before.
    bool persistent = false;
    // The kernel may leave checksums and TCP segmentation to us.
    bool offloads = true;
};

class TapDriver {
  public:
    struct Options {
        rte_mempool* pool = nullptr;
        DriverEventHook event;
    };

    explicit TapDriver(Options options);
    // Closes what is left; persistent interfaces stay. REQUIRES: no worker refers to a port.
    ~TapDriver();
    TapDriver(const TapDriver&) = delete;
    TapDriver& operator=(const TapDriver&) = delete;

    // Errors: kInvalid, kConflict (the name is taken), kForbidden, kUnavailable.
    Result<PortHandles> add(const TapPortSpec& spec);
    // Whether the kernel's side has a carrier; it has at first.
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
