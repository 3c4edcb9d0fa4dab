// SPDX-License-Identifier: Apache-2.0
// What is addressed to the router, and what goes to nobody: echo, broadcast, multicast, DHCP.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

const char* const kVm1LinkLocal = "fe80::5054:ff:fe00:1";

Packet vm1(Layer ip) {
    return eth(kVm1Mac, kGatewayMac) / std::move(ip);
}

std::vector<PacketCase> echoes() {
    return {
        {"answers echo to the gateway", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.254")) / icmp4(8, 0, 0x12340001) / raw(counting(56))),
         answered(kVm1, eth(kGatewayMac, kVm1Mac) / ip4("10.0.0.254", "10.0.0.1") /
                            icmp4(0, 0, 0x12340001) / raw(counting(56)))},
        {"answers echo with a hop limit of 1", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.254").ttl(1)) / icmp4(8, 0, 1)),
         answered(kVm1,
                  eth(kGatewayMac, kVm1Mac) / ip4("10.0.0.254", "10.0.0.1") / icmp4(0, 0, 1))},
        {"answers echo to the link-local gateway", kVm1,
         in(vm1(ip6(kVm1LinkLocal, "fe80::1")) / icmp6(128, 0, 0x12340001) / raw(counting(56))),
         answered(kVm1, eth(kGatewayMac, kVm1Mac) / ip6("fe80::1", kVm1LinkLocal) /
                            icmp6(129, 0, 0x12340001) / raw(counting(56)))},
        {"answers echo to the link-local gateway from a global address", kVm1,
         in(vm1(ip6("2001:db8::1", "fe80::1")) / icmp6(128, 0, 0x12340001) / raw(counting(57))),
         answered(kVm1, eth(kGatewayMac, kVm1Mac) / ip6("fe80::1", "2001:db8::1") /
                            icmp6(129, 0, 0x12340001) / raw(counting(57)))},
        {"answers echo to a further gateway", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.253")) / icmp4(8, 0, 1)),
         answered(kVm1, eth(kGatewayMac, kVm1Mac) / ip4("10.0.0.253", "10.0.0.1") / icmp4(0, 0, 1)),
         [](Lab& lab) {
             PortConfig& port = lab.port(kVm1);
             port.gateways[port.gateway_count++] = parse_ip("10.0.0.253").value();
         }},
        {"answers echo to the uplink's own address", kUplink,
         in(eth(kNeighbourMac, kUplinkMac) / ip4("198.51.100.7", "192.0.2.1") / icmp4(8, 0, 9)),
         answered(kUplink, eth(kUplinkMac, kNeighbourMac) / ip4("192.0.2.1", "198.51.100.7") /
                               icmp4(0, 0, 9))},
        {"answers echo on a port without groups", kVm3,
         in(eth(kVm3Mac, kGatewayMac) / ip4("10.0.0.3", "10.0.0.254") / icmp4(8, 0)),
         answered(kVm3, eth(kGatewayMac, kVm3Mac) / ip4("10.0.0.254", "10.0.0.3") / icmp4(0, 0))},
        {"refuses fragments of echo to the gateway", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.254").fragment(0, true)) / icmp4(8, 0) / raw(Bytes(8))),
         dropped(DropReason::kGatewayUnserved)},
        {"refuses later fragments to the gateway", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.254").fragment(16, false).proto(17)) / raw(Bytes(8))),
         dropped(DropReason::kGatewayUnserved)},
        {"refuses TCP to the gateway", kVm1, in(vm1(ip4("10.0.0.1", "10.0.0.254")) / tcp(1000, 22)),
         dropped(DropReason::kGatewayUnserved)},
        {"refuses echo replies to the gateway", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.254")) / icmp4(0, 0)),
         dropped(DropReason::kGatewayUnserved)},
        {"refuses ICMP timestamp to the gateway", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.254")) / icmp4(13, 0) / raw(Bytes(12))),
         dropped(DropReason::kGatewayUnserved)},
        {"refuses TCP to the uplink's own address", kUplink,
         in(eth(kNeighbourMac, kUplinkMac) / ip4("198.51.100.7", "192.0.2.1") / tcp(1, 179)),
         dropped(DropReason::kNotForRouter)},
        {"tells UDP to the gateway that no port listens", kVm1,
         in(vm1(ip4("10.0.0.1", "10.0.0.254")) / udp(1000, 33434) / raw(counting(12))),
         refused(DropReason::kGatewayUnserved, kVm1,
                 eth(kGatewayMac, kVm1Mac) / ip4("10.0.0.254", "10.0.0.1").tos(0xc0).df() /
                     icmp4(3, 3) /
                     raw((vm1(ip4("10.0.0.1", "10.0.0.254")) / udp(1000, 33434) / raw(counting(12)))
                             .payload()))},
        {"tells IPv6 UDP to the gateway that no port listens", kVm1,
         in(vm1(ip6("2001:db8::1", "fe80::1")) / udp(1000, 33434)),
         refused(DropReason::kGatewayUnserved, kVm1,
                 eth(kGatewayMac, kVm1Mac) / ip6("fe80::1", "2001:db8::1") / icmp6(1, 4) /
                     raw((vm1(ip6("2001:db8::1", "fe80::1")) / udp(1000, 33434)).payload()))},
    };
}

std::vector<PacketCase> groups() {
    const auto broadcast = [](Layer ip, Layer next) {
        return in(eth(kVm1Mac, kBroadcastMac) / std::move(ip) / std::move(next));
    };
    const auto multicast = [](Layer ip, Layer next) {
        return in(eth(kVm1Mac, mac("01:00:5e:00:00:fb")) / std::move(ip) / std::move(next));
    };
    const auto multicast6 = [](Layer ip, Layer next) {
        return in(eth(kVm1Mac, mac("33:33:00:00:00:fb")) / std::move(ip) / std::move(next));
    };
    return {
        {"hands DHCP discovery to the hook", kVm1,
         broadcast(ip4("0.0.0.0", "255.255.255.255"), udp(68, 67)),
         dropped(DropReason::kDhcpNoServer)},
        {"hands DHCP with an address to the hook", kVm1,
         broadcast(ip4("10.0.0.1", "255.255.255.255"), udp(68, 67)),
         dropped(DropReason::kDhcpNoServer)},
        {"hands DHCP from a port without groups to the hook", kVm3,
         in(eth(kVm3Mac, kBroadcastMac) / ip4("0.0.0.0", "255.255.255.255") / udp(68, 67)),
         dropped(DropReason::kDhcpNoServer)},
        {"refuses DHCP discovery from another MAC", kVm1,
         in(eth(mac("52:54:00:00:00:77"), kBroadcastMac) / ip4("0.0.0.0", "255.255.255.255") /
            udp(68, 67)),
         dropped(DropReason::kSpoofedMac)},
        {"hands DHCPv6 to the hook", kVm1,
         multicast6(ip6(kVm1LinkLocal, "ff02::1:2"), udp(546, 547)),
         dropped(DropReason::kDhcpNoServer)},
        {"carries no limited broadcast", kVm1,
         broadcast(ip4("10.0.0.1", "255.255.255.255"), udp(137, 137)),
         dropped(DropReason::kBroadcast)},
        {"carries no limited broadcast in a unicast frame", kVm1,
         in(vm1(ip4("10.0.0.1", "255.255.255.255")) / udp(137, 137)),
         dropped(DropReason::kBroadcast)},
        {"carries no unicast packet in a broadcast frame", kVm1,
         broadcast(ip4("10.0.0.1", "10.0.0.2"), udp(1, 2)), dropped(DropReason::kBroadcast)},
        {"carries no unicast packet in a multicast frame", kVm1,
         multicast(ip4("10.0.0.1", "10.0.0.2"), udp(1, 2)), dropped(DropReason::kMulticast)},
        {"carries no IPv6 unicast packet in a broadcast frame", kVm1,
         broadcast(ip6("2001:db8::1", "2001:db8::2"), udp(1, 2)), dropped(DropReason::kBroadcast)},
        {"carries no IPv6 unicast packet in a multicast frame", kVm1,
         multicast6(ip6("2001:db8::1", "2001:db8::2"), udp(1, 2)), dropped(DropReason::kMulticast)},
        {"does not answer echo in a broadcast frame", kVm1,
         broadcast(ip4("10.0.0.1", "10.0.0.254"), icmp4(8, 0)), dropped(DropReason::kBroadcast)},
        {"carries no multicast", kVm1, multicast(ip4("10.0.0.1", "224.0.0.251"), udp(5353, 5353)),
         dropped(DropReason::kMulticast)},
        {"carries no echo to a multicast group", kVm1,
         multicast(ip4("10.0.0.1", "224.0.0.1"), icmp4(8, 0)), dropped(DropReason::kMulticast)},
        {"carries no multicast with an expired hop limit", kVm1,
         multicast(ip4("10.0.0.1", "224.0.0.251").ttl(1), udp(5353, 5353)),
         dropped(DropReason::kMulticast)},
        {"carries no IPv6 multicast", kVm1,
         multicast6(ip6(kVm1LinkLocal, "ff02::fb"), udp(5353, 5353)),
         dropped(DropReason::kMulticast)},
        {"carries no routable IPv6 multicast", kVm1,
         multicast6(ip6("2001:db8::1", "ff0e::1"), udp(1, 2)), dropped(DropReason::kMulticast)},
        {"absorbs IGMP", kVm1,
         in(eth(kVm1Mac, mac("01:00:5e:00:00:16")) /
            ip4("10.0.0.1", "224.0.0.22", {0x94, 4, 0, 0}).ttl(1).proto(2) / raw(Bytes(16))),
         dropped(DropReason::kMulticastListener)},
        {"routes nothing from a link-local address", kVm1,
         in(vm1(ip6(kVm1LinkLocal, "2001:db8::2")) / udp(1, 2)), dropped(DropReason::kLinkLocal)},
        {"routes nothing to a link-local address", kVm1,
         in(vm1(ip6("2001:db8::1", "fe80::2")) / udp(1, 2)), dropped(DropReason::kLinkLocal)},
        {"routes no echo to a link-local address", kVm1,
         in(vm1(ip6(kVm1LinkLocal, "fe80::2")) / icmp6(128, 0)), dropped(DropReason::kLinkLocal)},
    };
}

S32_PACKET_CASES(Gateway, echoes());
S32_PACKET_CASES(Groups, groups());

}  // namespace
}  // namespace slash32::test
