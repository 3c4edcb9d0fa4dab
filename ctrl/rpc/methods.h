// SPDX-License-Identifier: Apache-2.0
// Every method of the control socket and who may call it. docs/protocol.md describes them,
// docs/schema/ holds their schemas, and a test keeps the three lists the same.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace slash32::rpc {

inline constexpr int kApiVersion = 1;

enum class Access {
    kRead,   // any admitted peer
    kWrite,  // read-write peers only
};

struct Method {
    std::string_view name;
    Access access;
};

inline constexpr std::array kMethods{
    Method{"hello", Access::kRead},
    Method{"status", Access::kRead},
    Method{"port.apply", Access::kWrite},
    Method{"port.delete", Access::kWrite},
    Method{"port.get", Access::kRead},
    Method{"port.list", Access::kRead},
    Method{"vrf.apply", Access::kWrite},
    Method{"vrf.delete", Access::kWrite},
    Method{"vrf.get", Access::kRead},
    Method{"vrf.list", Access::kRead},
    Method{"route.apply", Access::kWrite},
    Method{"route.delete", Access::kWrite},
    Method{"route.get", Access::kRead},
    Method{"route.list", Access::kRead},
    Method{"sid.list", Access::kRead},
    Method{"neighbor.apply", Access::kWrite},
    Method{"neighbor.delete", Access::kWrite},
    Method{"neighbor.get", Access::kRead},
    Method{"neighbor.list", Access::kRead},
    Method{"sg.apply", Access::kWrite},
    Method{"sg.members", Access::kWrite},
    Method{"sg.delete", Access::kWrite},
    Method{"sg.get", Access::kRead},
    Method{"sg.list", Access::kRead},
    Method{"addrset.apply", Access::kWrite},
    Method{"addrset.update", Access::kWrite},
    Method{"addrset.delete", Access::kWrite},
    Method{"addrset.get", Access::kRead},
    Method{"addrset.list", Access::kRead},
    Method{"conntrack.list", Access::kRead},
    Method{"conntrack.count", Access::kRead},
    Method{"conntrack.flush", Access::kWrite},
    Method{"conntrack.config", Access::kWrite},
    Method{"sync.begin", Access::kWrite},
    Method{"sync.commit", Access::kWrite},
    Method{"sync.abort", Access::kWrite},
    Method{"watch", Access::kRead},
    Method{"stats", Access::kRead},
    Method{"worker.stages", Access::kWrite},
    Method{"rings", Access::kRead},
    Method{"memory", Access::kRead},
    Method{"offload", Access::kRead},
    Method{"host.status", Access::kRead},
    Method{"host.routes", Access::kRead},
    Method{"host.drain", Access::kWrite},
    Method{"host.undrain", Access::kWrite},
    Method{"log.get", Access::kRead},
    Method{"log.set", Access::kWrite},
    Method{"explain", Access::kRead},
    Method{"capture.start", Access::kWrite},
    Method{"capture.stop", Access::kWrite},
};

constexpr std::optional<Access> access_of(std::string_view method) {
    for (const Method& known : kMethods) {
        if (known.name == method) return known.access;
    }
    return std::nullopt;
}

}  // namespace slash32::rpc
