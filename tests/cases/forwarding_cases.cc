// SPDX-License-Identifier: Apache-2.0
// From port to port: routes, adjacencies, filters, hop limit, Ethernet rewrite.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

Layer vm1_to_gateway() {
    return eth(kVm1Mac, kGatewayMac);
}

std::vector<PacketCase> cases() {
    return {
        {"forwards IPv4 UDP between VMs", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2") / udp(1000, 2000) / raw(counting(50))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").ttl(63) /
                        udp(1000, 2000) / raw(counting(50)))},
        {"forwards IPv6 UDP between VMs", kVm1,
         in(vm1_to_gateway() / ip6("2001:db8::1", "2001:db8::2") / udp(1000, 2000) /
            raw(counting(50))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip6("2001:db8::1", "2001:db8::2").ttl(63) /
                        udp(1000, 2000) / raw(counting(50)))},
        {"forwards TCP with options", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").df() /
            tcp(1000, 80, {2, 4, 5, 0xb4, 1, 1, 4, 2})),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").df().ttl(63) /
                        tcp(1000, 80, {2, 4, 5, 0xb4, 1, 1, 4, 2}))},
        {"forwards echo to another VM", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2") / icmp4(8, 0, 0x00010002) /
            raw(counting(56))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").ttl(63) /
                        icmp4(8, 0, 0x00010002) / raw(counting(56)))},
        {"forwards ICMPv6 echo to another VM", kVm1,
         in(vm1_to_gateway() / ip6("2001:db8::1", "2001:db8::2") / icmp6(128, 0, 7)),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip6("2001:db8::1", "2001:db8::2").ttl(63) /
                        icmp6(128, 0, 7))},
        {"forwards an ICMP error of a VM", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2") / icmp4(3, 3) / raw(counting(28))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").ttl(63) / icmp4(3, 3) /
                        raw(counting(28)))},
        {"forwards SCTP", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").proto(132) / raw(counting(16))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").proto(132).ttl(63) /
                        raw(counting(16)))},
        {"forwards an unknown protocol", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").proto(47) / raw(counting(3))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").proto(47).ttl(63) /
                        raw(counting(3)))},
        {"forwards IPv6 without payload", kVm1,
         in(vm1_to_gateway() / ip6("2001:db8::1", "2001:db8::2")),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip6("2001:db8::1", "2001:db8::2").ttl(63))},
        {"takes Ethernet padding off", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").length(28 + 4) /
            udp(1, 2).length(12).checksum(0) / raw(counting(18))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").ttl(63) /
                        udp(1, 2).checksum(0) / raw(counting(4)))},
        {"keeps the ECN and DSCP bits", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").tos(0xbb) / udp(1, 2)),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").tos(0xbb).ttl(63) /
                        udp(1, 2))},
        {"updates an IPv4 checksum that wraps", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").id(0x5fd6) / udp(1, 2)),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip4("10.0.0.1", "10.0.0.2").id(0x5fd6).ttl(63) /
                        udp(1, 2))},
        {"forwards to the uplink's neighbour", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "198.51.100.7") / udp(1, 2)),
         sent(kUplink, eth(kUplinkMac, kNeighbourMac) / ip4("10.0.0.1", "198.51.100.7").ttl(63) /
                           udp(1, 2))},
        {"forwards from the uplink to a VM", kUplink,
         in(eth(kNeighbourMac, kUplinkMac) / ip6("2001:db8:100::7", "2001:db8::1") / udp(1, 2)),
         sent(kVm1, eth(kGatewayMac, kVm1Mac) / ip6("2001:db8:100::7", "2001:db8::1").ttl(63) /
                        udp(1, 2))},
        {"forwards from an uplink back to it", kUplink,
         in(eth(kNeighbourMac, kUplinkMac) / ip4("192.0.2.77", "198.51.100.7") / udp(1, 2)),
         sent(kUplink, eth(kUplinkMac, kNeighbourMac) / ip4("192.0.2.77", "198.51.100.7").ttl(63) /
                           udp(1, 2))},
        {"forwards a first fragment", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").id(5).fragment(0, true) /
            udp(1, 2).length(1000).checksum(7) / raw(counting(64))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) /
                        ip4("10.0.0.1", "10.0.0.2").id(5).fragment(0, true).ttl(63) /
                        udp(1, 2).length(1000).checksum(7) / raw(counting(64)))},
        {"forwards a later fragment without a transport header", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2").id(5).fragment(72, false).proto(17) /
            raw(counting(3))),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) /
                        ip4("10.0.0.1", "10.0.0.2").id(5).fragment(72, false).proto(17).ttl(63) /
                        raw(counting(3)))},
        {"drops a packet to the sender itself", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.1") / udp(1, 2)),
         dropped(DropReason::kHairpin)},
        {"drops an IPv6 packet to the sender itself", kVm1,
         in(vm1_to_gateway() / ip6("2001:db8::1", "2001:db8::1") / udp(1, 2)),
         dropped(DropReason::kHairpin)},
        {"drops into a blackhole in silence", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "203.0.113.1") / udp(1, 2)),
         dropped(DropReason::kBlackhole)},
        {"drops into an IPv6 blackhole in silence", kVm1,
         in(vm1_to_gateway() / ip6("2001:db8::1", "2001:db8:bad::1") / udp(1, 2)),
         dropped(DropReason::kBlackhole)},
        {"drops to a port that is gone", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "203.0.113.200") / udp(1, 2)),
         dropped(DropReason::kPortGone)},
        {"drops to a port that is being removed", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2)),
         dropped(DropReason::kPortGone), [](Lab& lab) { lab.remove_port(kVm2); }},
        {"drops to a port whose rings are off", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2)),
         dropped(DropReason::kPortDown), [](Lab& lab) { lab.tx(kVm2).ready = false; }},
        {"drops to a port without a device", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2)),
         dropped(DropReason::kPortDown), [](Lab& lab) { lab.port(kVm2).tx = nullptr; }},
        {"drops an answer to a port whose rings are off",
         kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.254") / icmp4(8, 0)),
         {.drop = DropReason::kPortDown, .consumed = 1, .injected = 1},
         [](Lab& lab) { lab.tx(kVm1).ready = false; }},
        {"drops what the receiver's ring has no room for", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.2") / udp(1, 2)),
         dropped(DropReason::kTxFull), [](Lab& lab) { lab.tx(kVm2).room = 0; }},
        {"lets nothing out of a port without groups", kVm3,
         in(eth(kVm3Mac, kGatewayMac) / ip4("10.0.0.3", "10.0.0.2") / udp(1, 2)),
         dropped(DropReason::kNoGroup)},
        {"lets no IPv6 out of a port without groups", kVm3,
         in(eth(kVm3Mac, kGatewayMac) / ip6("2001:db8::3", "2001:db8::2") / udp(1, 2)),
         dropped(DropReason::kNoGroup)},
        {"lets nothing into a port without groups", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.3") / udp(1, 2)),
         dropped(DropReason::kDeniedIngress)},
        {"lets no later fragment into a port without groups", kVm1,
         in(vm1_to_gateway() / ip4("10.0.0.1", "10.0.0.3").fragment(800, false).proto(17) /
            raw(counting(8))),
         dropped(DropReason::kDeniedIngress)},
    };
}

S32_PACKET_CASES(Forwarding, cases());

}  // namespace
}  // namespace slash32::test
