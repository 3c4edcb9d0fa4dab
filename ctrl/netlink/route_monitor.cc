// SPDX-License-Identifier: Apache-2.0
#include "ctrl/netlink/route_monitor.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace slash32 {
namespace {

constexpr size_t kBufferBytes = 32 << 10;
// Of messages that are not ours, a turn of the loop.
constexpr int kReadsPerTurn = 64;

}  // namespace

RouteMonitor::RouteMonitor(asio::io_context& io, Options options)
    : options_(std::move(options)), readable_(io), buffer_(kBufferBytes) {}

RouteMonitor::~RouteMonitor() {
    if (readable_.is_open()) readable_.release();  // closed with the socket
}

Result<std::unique_ptr<RouteMonitor>> RouteMonitor::start(asio::io_context& io, Options options) {
    std::unique_ptr<RouteMonitor> monitor(new RouteMonitor(io, std::move(options)));
    if (auto opened = monitor->open(); !opened) return tl::unexpected<Error>(opened.error());
    return monitor;
}

Result<void> RouteMonitor::open() {
    auto socket = open_netlink(SOCK_NONBLOCK, RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
    if (!socket) return tl::unexpected<Error>(socket.error());
    socket_ = std::move(*socket);
    readable_.assign(mnl_socket_get_fd(socket_.get()));
    wait();
    return {};
}

void RouteMonitor::wait() {
    readable_.async_wait(asio::posix::descriptor_base::wait_read,
                         [this](const asio::error_code& error) {
                             if (error) return;
                             read_all();
                             wait();
                         });
}

void RouteMonitor::read_all() {
    bool concerned = false;
    for (int i = 0; i < kReadsPerTurn; ++i) {
        const ssize_t received = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
        if (received < 0) {
            // ENOBUFS: the kernel had more to tell than there was room for.
            concerned |= errno == ENOBUFS;
            if (errno == ENOBUFS || errno == EINTR) continue;
            break;
        }
        int left = static_cast<int>(received);
        for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
             mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
            concerned |= concerns_us(message);
    }
    if (concerned) options_.changed();
}

bool RouteMonitor::concerns_us(const nlmsghdr* message) const {
    if (message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK) return true;
    if (message->nlmsg_type != RTM_DELROUTE || message->nlmsg_pid == options_.own_port_id ||
        mnl_nlmsg_get_payload_len(message) < sizeof(rtmsg)) {
        return false;
    }
    const auto* head = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
    return head->rtm_protocol == options_.protocol;
}

}  // namespace slash32
