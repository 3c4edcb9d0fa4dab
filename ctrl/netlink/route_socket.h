// SPDX-License-Identifier: Apache-2.0
// Routes of ours in the kernel's tables, by rtnetlink(7) and libmnl(3).
//
// A route request is carried out in the caller's own context, so each call here is a system call or
// two and waits for nobody. All routes have one protocol number: what has it is ours, and nothing
// else is touched.
//
// Thread safety: one thread at a time.
#pragma once

#include "ctrl/netlink/socket.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct nlmsghdr;

namespace slash32 {

// Unicast, straight to an interface.
struct KernelRoute {
    IpPrefix prefix;
    uint32_t table = 254;    // RT_TABLE_MAIN
    uint32_t metric = 0;     // 0: the kernel's default, which for IPv6 is 1024
    uint32_t interface = 0;  // its index
    auto operator<=>(const KernelRoute&) const = default;
};

class RouteSocket {
  public:
    // In the network namespace of this thread. Errors: kUnavailable.
    static Result<std::unique_ptr<RouteSocket>> open(uint8_t protocol);

    // Errors: kConflict (the prefix has a route of this metric), kForbidden (CAP_NET_ADMIN),
    // kNotFound (no such interface), kUnavailable (it is down, ...).
    Result<void> add(const KernelRoute& route);
    // Also if there is none. Errors: kForbidden, kUnavailable.
    Result<void> remove(const KernelRoute& route);
    // Ours in all tables. Errors: kUnavailable.
    Result<std::vector<KernelRoute>> routes();

    // By which notifications name what we did ourselves.
    uint32_t port_id() const;

  private:
    // What the kernel answered: 0 or an errno, and its own words if it had any.
    struct Answer {
        int error = 0;
        std::string words;
    };

    RouteSocket(NetlinkSocket socket, uint8_t protocol);
    nlmsghdr* prepare(uint16_t type, uint16_t flags);
    nlmsghdr* prepare_route(uint16_t type, uint16_t flags, const KernelRoute& route);
    Answer ask(nlmsghdr* request, std::vector<KernelRoute>* routes);
    Answer read_answer(uint32_t sequence, std::vector<KernelRoute>* routes);
    Answer dump(Family family, std::vector<KernelRoute>& routes);

    NetlinkSocket socket_;
    uint8_t protocol_;
    uint32_t sequence_ = 0;
    std::vector<char> buffer_;
};

}  // namespace slash32
