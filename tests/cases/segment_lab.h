// SPDX-License-Identifier: Apache-2.0
// Tenants, tunnels and segments in the Lab. vm1 and vm2 are in the flat network; of VRF 7, 10.7.0.1
// and 2001:db8:7::1 are vm3, with an open filter, and 10.7.0.0/24 and 2001:db8:7::/64 lead into a
// tunnel.
#pragma once

#include "tests/cases/packet_case.h"

#include <functional>
#include <string>
#include <vector>

namespace slash32::test {

inline constexpr VrfId kTenant{7};
inline constexpr NextHopId kTunnel{20};
inline constexpr NextHopId kSid{30};
inline constexpr NextHopId kIntoTenant{32};

inline const char* const kSource = "fc00:0:1::";
inline const char* const kPeer = "fc00:0:2::";      // where outer packets come from
inline const char* const kRemote = "fc00:0:2:7::";  // a segment of another node
inline const char* const kOurs = "fc00:0:1:7::";    // ours, in every case another

inline SegmentPath path(const std::vector<std::string>& segments, bool reduced = true) {
    SegmentPath out{.segments = {}, .reduced = reduced};
    for (const std::string& segment : segments)
        out.segments.push_back(parse_ip(segment)->ipv6());
    return out;
}

inline TunnelSettings settings() {
    return {.source = parse_ip(kSource)->ipv6(), .hop_limit = 64, .dscp = {}};
}

// vm3 in VRF 7, whose other addresses are behind the tunnel.
inline void tenant(Lab& lab) {
    lab.open_domain();
    PortConfig& vm = lab.port(kVm3);
    vm.vrf = kTenant;
    vm.flags = kFilterOpen;
    for (const char* own : {"10.7.0.1", "2001:db8:7::1"})
        lab.add_route(own, kHopVm3, kTenant);
    for (const char* behind : {"10.7.0.0/24", "2001:db8:7::/64"})
        lab.add_route(behind, kTunnel, kTenant);
    lab.add_tunnel(kTunnel, path({kRemote}), settings());
}

inline std::function<void(Lab&)> by_tunnel(const SegmentPath& path,
                                           const TunnelSettings& with = settings()) {
    return [=](Lab& lab) {
        tenant(lab);
        lab.add_tunnel(kTunnel, path, with);
    };
}

inline Layer from_vm() {
    return eth(kVm3Mac, kGatewayMac);
}
inline Layer to_fabric() {
    return eth(kUplinkMac, kNeighbourMac);
}
inline Layer from_fabric() {
    return eth(kNeighbourMac, kUplinkMac);
}
inline Layer to_vm3() {
    return eth(kGatewayMac, kVm3Mac);
}

// A segment of ours, as the only one.
inline std::function<void(Lab&)> with_sid(const LocalSid& sid,
                                          const char* prefix = "fc00:0:1:7::") {
    return [=](Lab& lab) {
        tenant(lab);
        lab.add_sid(kSid, prefix, sid);
    };
}

inline LocalSid lookup(SidBehavior behavior) {
    return {.behavior = behavior, .vrf = kTenant};
}

// Dropped, and its sender hears which byte is at fault (RFC 4443 section 3.4): a field of a header,
// or what comes behind the headers.
inline constexpr uint8_t kBadField = 0;
inline constexpr uint8_t kBadUpperLayer = 4;
inline constexpr uint32_t kSegmentsLeftAt = 40 + 3;
inline PacketCase told(const char* shows, const Packet& packet, DropReason why, uint8_t code,
                       uint32_t at, const std::function<void(Lab&)>& setup) {
    return {shows, kUplink, in(packet),
            refused(why, kUplink,
                    to_fabric() / ip6("2001:db8:ffff::1", kPeer) / icmp6(4, code, at) /
                        raw(packet.payload())),
            setup};
}

inline LocalSid endpoint(uint8_t flavors = 0) {
    return {.behavior = SidBehavior::kEnd, .flavors = flavors};
}

}  // namespace slash32::test
