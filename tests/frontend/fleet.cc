// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/fleet.h"

#include "dp/base/assert.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace slash32::frontend {

FrontendOptions ToolOptions::frontend(const std::string& path) const {
    FrontendOptions f = FrontendOptions::small(path);
    f.server = !client;
    f.queue_pairs = queue_pairs;
    f.tx.ring_size = f.tx.segments = f.rx.ring_size = ring_size;
    f.indirect = !no_indirect;
    f.event_index = !no_event_index;
    f.mergeable = !no_mergeable;
    f.mtu = mtu;
    f.tx.max_frame_bytes = offloads ? kMaxFrameBytes : kMaxPlainFrameBytes;
    if (offloads) f.offloads = kAllOffloads;
    return f;
}

std::string ToolOptions::path(uint32_t port) const {
    return dir + "/" + prefix + std::to_string(port) + ".sock";
}

void emit(nlohmann::json object) {
    if (!object.contains("mono_ns")) object["mono_ns"] = now_ns();
    const std::string line = object.dump() + "\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fflush(stdout);
}

void raise_file_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    constexpr rlim_t kWanted = 65536;
    const rlimit more{kWanted, std::max(limit.rlim_max, kWanted)};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

CommandReader::CommandReader(EventLoop& loop) : loop_(loop) {
    struct stat status {};
    const bool pollable =
        fstat(STDIN_FILENO, &status) == 0 &&
        (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || isatty(STDIN_FILENO) == 1);
    if (pollable) {
        loop_.add(STDIN_FILENO, EPOLLIN, this);
        return;
    }
    while (!ended_)
        read_some();  // a file, or /dev/null: all is there already
}

CommandReader::~CommandReader() {
    loop_.remove(STDIN_FILENO);
}

void CommandReader::read_some() {
    std::array<char, 4096> buffer;
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n <= 0) {
        ended_ = true;
        loop_.remove(STDIN_FILENO);
        commands_.push_back("quit");
        return;
    }
    partial_.append(buffer.data(), static_cast<size_t>(n));
    for (size_t end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n')) {
        if (end != 0) commands_.push_back(partial_.substr(0, end));
        partial_.erase(0, end + 1);
    }
}

void CommandReader::on_event(int /*fd*/, uint32_t /*events*/) {
    read_some();
}

std::string CommandReader::take() {
    S32_ASSERT(!commands_.empty());
    std::string command = commands_.front();
    commands_.pop_front();
    return command;
}

bool Fleet::open(const std::vector<uint32_t>& ports) {
    was_running_.assign(ports.size(), false);
    for (size_t i = 0; i < ports.size(); i++) {
        ports_.push_back(
            std::make_unique<Frontend>(options_.frontend(options_.path(ports[i])), &loop_));
        ports_[i]->on_state = [this, i](Frontend&) { state_changed(i); };
        ports_[i]->on_call = [this, i](Frontend& f) {
            if (on_receive && f.ready()) on_receive(i);
        };
        if (auto opened = ports_[i]->open(); !opened) {
            emit({{"event", "error"}, {"port", ports[i]}, {"message", opened.error().message}});
            return false;
        }
    }
    return true;
}

void Fleet::state_changed(size_t i) {
    const bool runs = ports_[i]->running();
    if (runs == was_running_[i]) return;
    was_running_[i] = runs;
    if (!runs && ready() && !quiet_) {
        emit({{"event", "down"}, {"port_index", i}, {"reason", ports_[i]->error()}});
    }
    running_ = runs ? running_ + 1 : running_ - 1;
    if (!runs || !ready() || quiet_) return;
    uint64_t first_connected = UINT64_MAX;
    uint64_t last_connected = 0;
    for (const auto& port : ports_) {
        first_connected = std::min(first_connected, port->connected_at_ns());
        last_connected = std::max(last_connected, port->connected_at_ns());
    }
    emit({{"event", "ready"},
          {"ports", ports_.size()},
          {"queue_pairs", ports_[i]->queue_pairs()},
          {"features", ports_[i]->features()},
          {"first_connected_ns", first_connected},
          {"last_connected_ns", last_connected}});
}

bool Fleet::wait_ready() {
    if (loop_.run_until(options_.wait_ms, [this] { return ready(); })) return true;
    nlohmann::json missing = nlohmann::json::array();
    for (size_t i = 0; i < ports_.size() && missing.size() < 10; i++) {
        if (!was_running_[i]) missing.push_back({{"index", i}, {"reason", ports_[i]->error()}});
    }
    emit({{"event", "error"},
          {"message", "not all ports run"},
          {"running", running_},
          {"ports", ports_.size()},
          {"missing", missing}});
    return false;
}

}  // namespace slash32::frontend
