// SPDX-License-Identifier: Apache-2.0
// Tells that routes of ours may be gone from the kernel: somebody else removed one, an interface
// changed (an interface that goes down takes its routes along without a word), or notifications
// were lost. What has become of them is for the listener to look up.
//
// Thread safety: the event loop's thread.
#pragma once

#include "ctrl/netlink/socket.h"
#include "dp/base/result.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

struct nlmsghdr;

namespace slash32 {

class RouteMonitor {
  public:
    struct Options {
        uint8_t protocol = 0;      // of our routes
        uint32_t own_port_id = 0;  // of the socket that we change them by
        std::function<void()> changed;
    };

    // In the network namespace of this thread. Errors: kUnavailable.
    static Result<std::unique_ptr<RouteMonitor>> start(asio::io_context& io, Options options);
    ~RouteMonitor();
    RouteMonitor(const RouteMonitor&) = delete;
    RouteMonitor& operator=(const RouteMonitor&) = delete;

  private:
    RouteMonitor(asio::io_context& io, Options options);
    Result<void> open();
    void wait();
    void read_all();
    bool concerns_us(const nlmsghdr* message) const;

    Options options_;
    NetlinkSocket socket_;
    asio::posix::stream_descriptor readable_;
    std::vector<char> buffer_;
};

}  // namespace slash32
