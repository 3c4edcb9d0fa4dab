// SPDX-License-Identifier: Apache-2.0
#include "ctrl/netlink/mirror.h"

#include "ctrl/log/log.h"

#include <libmnl/libmnl.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace slash32 {
namespace {

using namespace std::chrono_literals;

constexpr size_t kBufferBytes = 64 << 10;
// Room for what happens during a dump of a million routes, and for bulk changes of as many.
constexpr int kReceiveBytes = 64 << 20;
// The loop has other things to do as well.
constexpr int kReadsPerTurn = 32;
// A part that the kernel changed under us is asked for again, but a table that never rests must
// not keep us: what was missed is told by the notifications.
constexpr int kAttempts = 3;
constexpr auto kRetry = 200ms;

struct Part {
    uint16_t request;
    uint8_t family;
    size_t head_bytes;
};
// Links before what names them, objects before the routes over them.
constexpr std::array<Part, 6> kParts = {{
    {RTM_GETLINK, AF_UNSPEC, sizeof(ifinfomsg)},
    {RTM_GETADDR, AF_UNSPEC, sizeof(ifaddrmsg)},
    {RTM_GETNEXTHOP, AF_UNSPEC, sizeof(nhmsg)},
    {RTM_GETNEIGH, AF_UNSPEC, sizeof(ndmsg)},
    {RTM_GETROUTE, AF_INET, sizeof(rtmsg)},
    {RTM_GETROUTE, AF_INET6, sizeof(rtmsg)},
}};

}  // namespace

KernelMirror::KernelMirror(asio::io_context& io, KernelListener& listener)
    : listener_(listener),
      events_readable_(io),
      dump_readable_(io),
      retry_(io),
      buffer_(kBufferBytes) {}

KernelMirror::~KernelMirror() {
    // Closed with the sockets.
    if (events_readable_.is_open()) events_readable_.release();
    if (dump_readable_.is_open()) dump_readable_.release();
}

Result<std::unique_ptr<KernelMirror>> KernelMirror::start(asio::io_context& io,
                                                          KernelListener& listener) {
    std::unique_ptr<KernelMirror> mirror(new KernelMirror(io, listener));
    if (auto opened = mirror->open(); !opened) return tl::unexpected<Error>(opened.error());
    return mirror;
}

Result<void> KernelMirror::open() {
    constexpr uint32_t kGroups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR |
                                 RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    auto events = open_netlink(SOCK_NONBLOCK, kGroups);
    if (!events) return tl::unexpected<Error>(events.error());
    events_ = std::move(*events);
    const int fd = mnl_socket_get_fd(events_.get());
    // Beyond the bits of RTMGRP_*; kernels before 5.3 have no such objects.
    int group = RTNLGRP_NEXTHOP;
    mnl_socket_setsockopt(events_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof kReceiveBytes) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof kReceiveBytes);
    auto dump = open_netlink(SOCK_NONBLOCK, 0);
    if (!dump) return tl::unexpected<Error>(dump.error());
    dump_ = std::move(*dump);
    events_readable_.assign(fd);
    dump_readable_.assign(mnl_socket_get_fd(dump_.get()));
    resync();
    return {};
}

// Notifications wait in their socket until the dump has ended.
void KernelMirror::resync() {
    ++stats_.dumps;
    resync_wanted_ = false;
    part_ = 0;
    attempts_ = 0;
    listener_.dump_begins();
    ask_for_dump();
}

void KernelMirror::ask_for_dump() {
    std::array<char, 256> request{};
    nlmsghdr* header = mnl_nlmsg_put_header(request.data());
    header->nlmsg_type = kParts[part_].request;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header->nlmsg_seq = ++sequence_;
    // The family comes first in the fixed part of every request.
    auto* head =
        static_cast<uint8_t*>(mnl_nlmsg_put_extra_header(header, kParts[part_].head_bytes));
    head[0] = kParts[part_].family;
    interrupted_ = false;
    if (mnl_socket_sendto(dump_.get(), header, header->nlmsg_len) < 0) return dump_part_done(errno);
    wait_for_dump();
}

void KernelMirror::wait_for_dump() {
    dump_readable_.async_wait(asio::posix::descriptor_base::wait_read,
                              [this](const asio::error_code& error) {
                                  if (!error) read_dump();
                              });
}

void KernelMirror::read_dump() {
    for (int i = 0; i < kReadsPerTurn; ++i) {
        const ssize_t received = mnl_socket_recvfrom(dump_.get(), buffer_.data(), buffer_.size());
        if (received < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) break;
            return dump_part_done(errno);
        }
        if (take_dump(static_cast<size_t>(received))) return;
    }
    wait_for_dump();
}

// Whether the part has ended.
bool KernelMirror::take_dump(size_t bytes) {
    int left = static_cast<int>(bytes);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
         mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
        if (message->nlmsg_seq != sequence_) continue;  // of a dump that was given up
        interrupted_ |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
            int error = 0;
            if (mnl_nlmsg_get_payload_len(message) >= sizeof error)
                std::memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
            dump_part_done(-error);
            return true;
        }
        take(message);
    }
    return false;
}

void KernelMirror::dump_part_done(int error) {
    // A kernel without next-hop objects says so.
    const bool unsupported = error == EOPNOTSUPP || error == EINVAL;
    if (error != 0 && !unsupported) {
        log("routing").warn("cannot read the kernel's tables, trying again: {}",
                            std::strerror(error));
        retry_.expires_after(kRetry);
        retry_.async_wait([this](const asio::error_code& failed) {
            if (!failed) ask_for_dump();
        });
        return;
    }
    if (interrupted_ && ++attempts_ < kAttempts) return ask_for_dump();
    attempts_ = 0;
    if (++part_ < kParts.size()) return ask_for_dump();
    listener_.dump_ends();
    listener_.settled();
    stats_.complete = true;
    wait_for_events();
}

void KernelMirror::wait_for_events() {
    events_readable_.async_wait(asio::posix::descriptor_base::wait_read,
                                [this](const asio::error_code& error) {
                                    if (!error) read_events();
                                });
}

void KernelMirror::read_events() {
    for (int i = 0; i < kReadsPerTurn; ++i) {
        const ssize_t received = mnl_socket_recvfrom(events_.get(), buffer_.data(), buffer_.size());
        if (received < 0) {
            if (errno == ENOBUFS) {
                ++stats_.overruns;
                log("routing").info("the kernel's notifications overran: reading its tables anew");
                resync_wanted_ = true;
            } else if (errno != EINTR) {
                break;
            }
            continue;
        }
        int left = static_cast<int>(received);
        for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
             mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
            take(message);
    }
    listener_.settled();
    if (resync_wanted_) return resync();
    wait_for_events();
}

void KernelMirror::take(const nlmsghdr* message) {
    ++stats_.messages;
    const uint16_t type = message->nlmsg_type;
    const auto tell = [&](const auto& read, bool gone, const auto& told) {
        if (read)
            told(*read, gone);
        else
            ++stats_.unknown;
    };
    switch (type) {
        case RTM_NEWLINK:
        case RTM_DELLINK:
            return tell(read_link(message), type == RTM_DELLINK,
                        [this](const LinkMessage& m, bool gone) { listener_.link(m, gone); });
        case RTM_NEWADDR:
        case RTM_DELADDR:
            return tell(read_address(message), type == RTM_DELADDR,
                        [this](const AddressMessage& m, bool gone) { listener_.address(m, gone); });
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH:
            return tell(
                read_neighbor(message), type == RTM_DELNEIGH,
                [this](const NeighborMessage& m, bool gone) { listener_.neighbor(m, gone); });
        case RTM_NEWNEXTHOP:
        case RTM_DELNEXTHOP:
            return tell(
                read_next_hop(message), type == RTM_DELNEXTHOP,
                [this](const NextHopMessage& m, bool gone) { listener_.next_hop(m, gone); });
        case RTM_NEWROUTE:
        case RTM_DELROUTE: {
            const bool appended = (message->nlmsg_flags & NLM_F_APPEND) != 0;
            return tell(
                read_route(message), type == RTM_DELROUTE,
                [&](const RouteMessage& m, bool gone) { listener_.route(m, gone, appended); });
        }
        default:
            ++stats_.unknown;
            if (unknown_types_.insert(type).second)
                log("routing").info("netlink messages of type {} are not known here: skipped",
                                    type);
    }
}

}  // namespace slash32
