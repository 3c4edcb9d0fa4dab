// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/host_link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace slash32 {

PortApply host_port(const HostLink& link) {
    PortApply request;
    PortIntent& port = request.intent;
    port.name = link.interface;
    port.owner = kHostOwner;
    port.kind = PortKind::kTap;
    port.tap = link.interface;
    port.mac = link.mac;
    for (const IpAddress& address : link.addresses)
        port.addresses.push_back(FixedAddress{address, address.bits()});
    port.port_security = false;
    port.announce = Announce::kWithdrawn;
    return request;
}

void refuse_router_advertisements(const std::string& interface) {
    const std::string path = fmt::format("/proc/sys/net/ipv6/conf/{}/accept_ra", interface);
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    [[maybe_unused]] const ssize_t written = write(fd, "0", 1);
    close(fd);
}

}  // namespace slash32
