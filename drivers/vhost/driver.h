// SPDX-License-Identifier: Apache-2.0
// VM ports over vhost-user, on librte_vhost itself.
//
// One device thread registers, starts and unregisters every socket; callers only queue requests
// to it and never wait. A client port that has no frontend holds nothing in the library: its
// directory is watched, and the socket is connected to when it appears, with retries from 20 ms
// to 1 s while it exists but does not answer. The library's own reconnecting (once a second) is
// not used, and nobody probes a frontend with a connection of his own.
//
// Thread safety: the public functions may be called from any thread. Events come from the device
// thread. Limits: one driver a process; 1,024 ports (librte_vhost's devices and descriptors), of
// which a connected client costs one, a connected server two, of the library's 1,024 descriptors.
// A server's first frontend may wait up to a second: the library notices a new listening socket at
// its next time-out. Live migration: VHOST_F_LOG_ALL is offered and served as the library does it.
#pragma once

#include "dp/base/result.h"
#include "drivers/driver_event.h"
#include "drivers/vhost/port.h"
#include "drivers/vhost/watcher.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace slash32 {

class VhostDriver {
  public:
    struct Options {
        rte_mempool* pool = nullptr;        // what is received is copied into its buffers
        DriverEventHook event;              // called on the device thread
        std::function<void()> synchronize;  // waits for the workers' grace period
    };

    // REQUIRES: EAL has started. Errors: kUnavailable.
    static Result<std::unique_ptr<VhostDriver>> create(Options options);
    // Takes all ports down. REQUIRES: no worker refers to them any more.
    ~VhostDriver();
    VhostDriver(const VhostDriver&) = delete;
    VhostDriver& operator=(const VhostDriver&) = delete;

    // Starts to wait for the frontend. What is returned may be given to workers at once.
    // Errors: kInvalid and kConflict naming the field, kLimit, kUnavailable (descriptors).
    Result<PortHandles> add(const VhostPortSpec& spec);
    // Disconnects and forgets the port; `done` comes on the device thread, and the handles are
    // gone by then. REQUIRES: workers have acknowledged that they refer to it no more. An unknown
    // port is done at once.
    void remove(PortId id, std::function<void()> done);
    // Takes the port down; an event kFailed with `reason` follows. It comes back when its socket
    // is made anew (client), after a second (server), or by retry().
    void fail(PortId id, std::string reason);
    void retry(PortId id);

  private:
    enum class State : uint8_t { kWaiting, kConnected, kRunning, kFailed };

    // The device thread's own view of a port.
    struct Entry {
        VhostPort* port = nullptr;
        State state = State::kWaiting;
        bool registered = false;
        uint64_t due_ns = 0;  // of the next try; 0: none is planned
        uint64_t delay_ns = 0;
        std::string connected_to;  // identity of the client's socket
        std::string told;          // what the last kWaiting event said
        uint64_t told_rings = 0;   // features, MTU and pairs of the last kRingsReady
    };
    struct Remove {
        PortId id;
        std::function<void()> done;
    };
    struct Fail {
        PortId id;
        std::string reason;
    };
    struct Retry {
        PortId id;
    };
    struct Add {
        PortId id;
    };
    using Request = std::variant<Add, Remove, Fail, Retry, VhostNotice>;

    explicit VhostDriver(Options options);
    Result<void> check(const VhostPortSpec& spec) const;
    void post(Request request);

    // Device thread.
    void run();
    void handle(Add& request);
    void handle(Remove& request);
    void handle(Fail& request);
    void handle(Retry& request);
    void handle(VhostNotice& notice);
    void check_faults();
    void on_path(const std::string& path);
    void run_due(uint64_t now_ns);
    int timeout_ms(uint64_t now_ns) const;
    void plan(Entry& entry, uint64_t delay_ns);
    void unplan(Entry& entry);
    void attempt(Entry& entry);
    std::string start_client(Entry& entry);
    std::string start_server(Entry& entry);
    std::string enrol(Entry& entry);
    void unregister(Entry& entry);
    void take_down(Entry& entry, const std::string& reason);
    void report_rings(Entry& entry);
    void waiting(Entry& entry, const std::string& error);
    void emit(DriverEventType type, const Entry& entry, std::string reason = {});
    Entry* find(PortId id);

    friend struct VhostCallbacks;

    Options options_;
    VhostPort::Context context_;
    int epoll_fd_ = -1;
    int wake_fd_ = -1;
    int fault_fd_ = -1;
    SocketWatcher watcher_;

    // Guards what add() and the callbacks share with the device thread; held briefly.
    std::mutex mutex_;
    bool stopping_ = false;
    std::deque<Request> requests_;
    std::unordered_map<std::string, VhostPort*> by_path_;
    std::unordered_map<uint16_t, std::unique_ptr<VhostPort>> ports_;

    // Where the library's next socket will probably be; also read on its event thread.
    std::atomic<int> next_socket_{-1};

    // Device thread only.
    std::unordered_map<uint16_t, Entry> entries_;
    std::set<std::pair<uint64_t, uint16_t>> due_;
    uint64_t retry_missing_ns_ = 0;

    std::thread thread_;
};

}  // namespace slash32
