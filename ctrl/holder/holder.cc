// SPDX-License-Identifier: Apache-2.0
#include "ctrl/holder/holder.h"

#include "ctrl/holder/message.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>

namespace slash32 {
namespace {

using Clock = std::chrono::steady_clock;

int listen_at(const std::string& path) {
    const auto address = holder_address(path);
    if (!address) return -1;
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    unlink(path.c_str());
    const mode_t mask = umask(0077);
    const bool good =
        fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0 &&
        listen(fd, 1) == 0;
    umask(mask);
    if (good) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

class Holder {
  public:
    Holder(int listener, int first, unsigned seconds)
        : listener_(listener), daemon_(first), seconds_(seconds) {}

    void run() {
        for (;;) {
            std::array<pollfd, 2> waits = {pollfd{listener_, POLLIN, 0},
                                           pollfd{daemon_, POLLIN, 0}};
            const int ready = poll(waits.data(), waits.size(), timeout_ms());
            if (ready < 0) continue;  // EINTR
            if ((waits[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) read_one();
            if ((waits[0].revents & POLLIN) != 0) welcome();
            if (daemon_ < 0 && (held_.empty() || Clock::now() >= end_)) return;
        }
    }

  private:
    int timeout_ms() const {
        if (daemon_ >= 0) return -1;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - Clock::now());
        return static_cast<int>(std::max<int64_t>(0, left.count()));
    }

    // A later daemon takes the place of one whose end has not been seen yet.
    void welcome() {
        const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        if (daemon_ >= 0) close(daemon_);
        daemon_ = fd;
        for (const auto& [name, descriptor] : held_)
            send_message(fd, holder_message(HolderMessage::Kind::kHeld, name), descriptor);
        send_message(fd, holder_message(HolderMessage::Kind::kEnd, ""), -1);
    }

    void read_one() {
        HolderMessage message;
        int descriptor = -1;
        if (!receive_message(daemon_, message, descriptor)) {
            close(daemon_);
            daemon_ = -1;
            end_ = Clock::now() + std::chrono::seconds(seconds_);
            return;
        }
        if (message.kind == HolderMessage::Kind::kSeconds) seconds_ = message.seconds;
        if (message.kind == HolderMessage::Kind::kDrop) drop(message.text());
        if (message.kind == HolderMessage::Kind::kKeep && descriptor >= 0) {
            drop(message.text());
            held_[message.text()] = descriptor;
        } else if (descriptor >= 0) {
            close(descriptor);
        }
    }

    void drop(const std::string& name) {
        const auto found = held_.find(name);
        if (found == held_.end()) return;
        close(found->second);
        held_.erase(found);
    }

    int listener_;
    int daemon_;  // -1: it has gone
    unsigned seconds_;
    Clock::time_point end_;
    std::map<std::string, int> held_;
};

}  // namespace

int run_holder(const std::string& path, int first, unsigned seconds) {
    prctl(PR_SET_NAME, "slash32-holder");
    // The daemon's end is not this process's.
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    const int listener = listen_at(path);
    if (listener < 0) return 1;
    send_message(first, holder_message(HolderMessage::Kind::kEnd, ""), -1);
    Holder(listener, first, seconds).run();
    unlink(path.c_str());
    return 0;
}

}  // namespace slash32
