// SPDX-License-Identifier: Apache-2.0
#include "ctrl/netlink/socket.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace slash32 {

void CloseNetlink::operator()(mnl_socket* socket) const {
    mnl_socket_close(socket);
}

Result<NetlinkSocket> open_netlink(int flags, uint32_t groups) {
    NetlinkSocket socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags));
    if (!socket || mnl_socket_bind(socket.get(), groups, MNL_SOCKET_AUTOPID) != 0) {
        return fail(ErrorCode::kUnavailable, "",
                    fmt::format("no netlink socket: {}", std::strerror(errno)));
    }
    int on = 1;
    for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK})
        mnl_socket_setsockopt(socket.get(), option, &on, sizeof on);
    return socket;
}

}  // namespace slash32
