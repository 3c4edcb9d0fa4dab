// SPDX-License-Identifier: Apache-2.0
// What the modes of s32-frontend share: a number of frontends on one event loop, commands from
// standard input, and one JSON object a line on standard output.
//
// Not thread-safe. Times in the output are CLOCK_MONOTONIC nanoseconds ("mono_ns"), which scripts
// compare with their own.
#pragma once

#include "tests/frontend/frontend.h"
#include "tests/frontend/probe.h"

#include <nlohmann/json.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace slash32::frontend {

// The largest frame that is sent without segmentation offload.
inline constexpr size_t kMaxPlainFrameBytes = 9300;

// Options of the command line that every mode has.
struct ToolOptions {
    std::string dir;  // sockets are DIR/PREFIX<number>.sock
    std::string prefix = "vm";
    bool client = false;  // connect to the backend's sockets instead of listening
    Mac gateway;          // destination of what is sent
    uint16_t queue_pairs = 1;
    uint16_t ring_size = 64;
    bool no_indirect = false;
    bool no_event_index = false;
    bool no_mergeable = false;
    bool offloads = false;
    uint16_t mtu = 0;
    uint64_t wait_ms = 30'000;  // for all ports to run

    FrontendOptions frontend(const std::string& path) const;
    std::string path(uint32_t port) const;
};

// Prints one line and flushes it. "mono_ns" is added when absent.
void emit(nlohmann::json object);

// The file limit of this process, as high as it may go: a port takes eight descriptors.
void raise_file_limit();

// Lines of standard input, as they come.
class CommandReader : private EventLoop::Handler {
  public:
    explicit CommandReader(EventLoop& loop);
    ~CommandReader() override;
    bool has_command() const { return !commands_.empty(); }
    // REQUIRES: has_command(). The end of the input reads as "quit".
    std::string take();

  private:
    void on_event(int fd, uint32_t events) override;
    void read_some();

    EventLoop& loop_;
    std::string partial_;
    std::deque<std::string> commands_;
    bool ended_ = false;
};

// Ports first..first+count-1. Emits "ready" whenever all of them run, with the times of the last
// connection and start, and "down" when the first of them stops running.
class Fleet {
  public:
    explicit Fleet(const ToolOptions& options) : options_(options) {}
    // Emits the error and returns false when a socket cannot be opened.
    bool open(const std::vector<uint32_t>& ports);
    bool wait_ready();
    bool ready() const { return running_ == ports_.size(); }
    size_t running() const { return running_; }
    size_t size() const { return ports_.size(); }
    Frontend& at(size_t i) { return *ports_[i]; }
    EventLoop& loop() { return loop_; }
    const ToolOptions& options() const { return options_; }
    // Called with the index of a port whose receive queue has something.
    std::function<void(size_t)> on_receive;
    void set_quiet(bool quiet) { quiet_ = quiet; }

  private:
    void state_changed(size_t i);

    ToolOptions options_;
    EventLoop loop_;
    std::vector<std::unique_ptr<Frontend>> ports_;
    std::vector<bool> was_running_;
    size_t running_ = 0;
    bool quiet_ = false;
};

// The modes. Each returns the process's exit status.
struct ScaleOptions {
    uint32_t count = 2;
    uint32_t packets = 10;  // each port sends in a round
    size_t bytes = 64;
    std::string pattern = "ring";
    uint32_t window = 8;         // frames of one port under way at a time
    uint64_t timeout_ms = 2000;  // without progress, after which the rest is lost
    uint32_t active = 0;         // ports that send; 0: all
    bool manual = false;         // the first round waits for "go", too
};
int run_scale(const ToolOptions& tool, const ScaleOptions& options);

struct StreamOptions {
    uint32_t from = 0;
    uint32_t to = 1;
    double rate = 1000;  // frames a second
    size_t bytes = 100;
    double duration_s = 0;  // 0: until told to quit
};
int run_stream(const ToolOptions& tool, const StreamOptions& options);

struct HostileOptions {
    std::string name;    // a case, or "list", or "all"
    uint32_t count = 2;  // ports: 0 is hostile, 1 (and 2) are witnesses
    double rate = 500;   // witness frames a second, with three ports
    uint64_t observe_ms = 500;
};
int run_hostile(const ToolOptions& tool, const HostileOptions& options);

struct HostOptions {
    uint32_t port = 0;
    std::string ip;  // overrides the numbering scheme
    std::string mac;
    std::string target;  // ping
    uint32_t count = 3;
    uint64_t interval_ms = 200;
    uint64_t timeout_ms = 1000;
};
int run_echo(const ToolOptions& tool, const HostOptions& options);
int run_ping(const ToolOptions& tool, const HostOptions& options);
int run_frames(const ToolOptions& tool, const HostOptions& options);

}  // namespace slash32::frontend
