// SPDX-License-Identifier: Apache-2.0
// Between an uplink and the host's view of it.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

constexpr uint16_t kRequest = 1;

// The uplink gets a twin.
void with_view(Lab& lab) {
    lab.add_host_view();
}

Packet from_neighbour(Layer ip, Layer next) {
    return eth(kNeighbourMac, kUplinkMac) / std::move(ip) / std::move(next);
}
Packet to_group(const char* mac_text, Layer ip, Layer next) {
    return eth(kNeighbourMac, mac(mac_text)) / std::move(ip) / std::move(next);
}

PacketCase reaches_host(const char* shows, const Packet& packet,
                        const std::function<void(Lab&)>& setup = with_view) {
    return {shows, kUplink, in(packet), sent(kHostView, packet), setup};
}

void route_to_host(Lab& lab) {
    lab.add_host_view();
    lab.add_route("192.0.2.1", kHopHost);
    lab.add_route("2001:db8:ffff::1", kHopHost);
    // The kernel answers for them, not we.
    lab.port(kUplink).gateway_count = 0;
    lab.port(kUplink).gateway4 = Ip4{};
    lab.port(kUplink).gateway6 = Ip6{};
}

std::vector<PacketCase> to_host() {
    const Packet ask = eth(kNeighbourMac, kBroadcastMac) /
                       arp(kRequest, kNeighbourMac, "192.0.2.99", kZeroMac, "192.0.2.1");
    const Packet lldp = eth(kNeighbourMac, mac("01:80:c2:00:00:0e"), 0x88cc) / raw(Bytes(46));
    return {
        reaches_host("gives the host ARP requests", ask),
        reaches_host("gives the host ARP replies",
                     eth(kNeighbourMac, kUplinkMac) /
                         arp(2, kNeighbourMac, "192.0.2.99", kUplinkMac, "192.0.2.1")),
        reaches_host("gives the host what is no IP", lldp),
        reaches_host("gives the host OSPF",
                     to_group("01:00:5e:00:00:05", ip4("192.0.2.99", "224.0.0.5").proto(89).ttl(1),
                              raw(Bytes(44)))),
        reaches_host("gives the host neighbour solicitations",
                     from_neighbour(ip6("2001:db8:ffff::99", "2001:db8:ffff::1").ttl(255),
                                    icmp6(135, 0, 0)) /
                         raw(Bytes(16))),
        reaches_host("gives the host what is link-local",
                     from_neighbour(ip6("fe80::99", "fe80::1"), tcp(40000, 179))),
        reaches_host("gives the host TCP to its address",
                     from_neighbour(ip4("192.0.2.99", "192.0.2.1"), tcp(40000, 179)),
                     route_to_host),
        reaches_host("gives the host IPv6 to its address",
                     from_neighbour(ip6("2001:db8:100::7", "2001:db8:ffff::1"), udp(1, 3784)),
                     route_to_host),
        reaches_host("gives the host pings of a last hop limit",
                     from_neighbour(ip4("192.0.2.99", "192.0.2.1").ttl(1), icmp4(8, 0)),
                     route_to_host),
        {"forwards what is not for the host", kUplink,
         in(from_neighbour(ip4("198.51.100.7", "10.0.0.1"), udp(1, 2))),
         sent(kVm1,
              eth(kGatewayMac, kVm1Mac) / ip4("198.51.100.7", "10.0.0.1").ttl(63) / udp(1, 2)),
         with_view},
        {"refuses VLANs", kUplink, in(eth(kNeighbourMac, kUplinkMac, 0x8100) / raw(Bytes(46))),
         dropped(DropReason::kBadVlan), with_view},
        {"refuses what is no IP without a view", kUplink, in(lldp),
         dropped(DropReason::kUnknownEthertype)},
        {"refuses VMs the host's addresses", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "192.0.2.1") / tcp(1, 22)),
         refused(DropReason::kHostAddress, kVm1,
                 eth(kGatewayMac, kVm1Mac) / ip4("10.0.0.254", "10.0.0.1").tos(0xc0).df() /
                     icmp4(3, 1) /
                     raw((eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "192.0.2.1") / tcp(1, 22))
                             .payload())),
         route_to_host},
    };
}

std::vector<PacketCase> limits() {
    const auto without = [](HostClass kind) {
        return [kind](Lab& lab) {
            route_to_host(lab);
            lab.context().host_tokens[static_cast<size_t>(kind)] = TokenBucket();
        };
    };
    const auto limited = [&](const char* shows, const Packet& packet, HostClass kind,
                             DropReason reason) {
        return PacketCase{shows, kUplink, in(packet), dropped(reason), without(kind)};
    };
    return {
        limited("limits ARP",
                eth(kNeighbourMac, kBroadcastMac) /
                    arp(kRequest, kNeighbourMac, "192.0.2.99", kZeroMac, "192.0.2.1"),
                HostClass::kNeighbour, DropReason::kHostLimitNeighbour),
        limited("limits BGP", from_neighbour(ip4("192.0.2.99", "192.0.2.1"), tcp(179, 40000)),
                HostClass::kRouting, DropReason::kHostLimitRouting),
        limited("limits BFD", from_neighbour(ip4("192.0.2.99", "192.0.2.1"), udp(50000, 3784)),
                HostClass::kRouting, DropReason::kHostLimitRouting),
        limited("limits ping", from_neighbour(ip4("192.0.2.99", "192.0.2.1"), icmp4(8, 0)),
                HostClass::kIcmp, DropReason::kHostLimitIcmp),
        limited("limits what is no IP",
                eth(kNeighbourMac, mac("01:80:c2:00:00:0e"), 0x88cc) / raw(Bytes(46)),
                HostClass::kLink, DropReason::kHostLimitLink),
        limited("limits multicast",
                to_group("01:00:5e:00:00:fb", ip4("192.0.2.99", "224.0.0.251").ttl(255),
                         udp(5353, 5353)),
                HostClass::kGroup, DropReason::kHostLimitGroup),
        limited("limits SSH", from_neighbour(ip4("192.0.2.99", "192.0.2.1"), tcp(40000, 22)),
                HostClass::kOther, DropReason::kHostLimitOther),
        {"limits no class for another", kUplink,
         in(from_neighbour(ip4("192.0.2.99", "192.0.2.1"), tcp(40000, 179))),
         sent(kHostView, from_neighbour(ip4("192.0.2.99", "192.0.2.1"), tcp(40000, 179))),
         without(HostClass::kOther)},
    };
}

std::vector<PacketCase> from_host() {
    const auto goes_out = [](const char* shows, const Packet& packet) {
        return PacketCase{shows, kHostView, in(packet), sent(kUplink, packet), with_view};
    };
    return {
        goes_out("sends the host's packets as they are",
                 eth(kUplinkMac, kNeighbourMac) / ip4("192.0.2.1", "10.0.0.1").ttl(1) / udp(1, 2)),
        goes_out("sends what is no IP",
                 eth(kUplinkMac, mac("01:80:c2:00:00:0e"), 0x88cc) / raw(Bytes(46))),
        goes_out("sends what no parser takes", eth(kUplinkMac, kNeighbourMac) / raw(Bytes(3))),
    };
}

std::vector<PacketCase> resolving() {
    const auto resolves = [](Lab& lab) {
        lab.add_host_view();
        lab.adjacency(kHopIncomplete).flags = kResolves;
        lab.adjacency(kHopIncomplete).destination = unresolved_mac(kHopIncomplete);
    };
    const Packet packet = eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.1", "203.0.113.130") / udp(1, 2);
    return {
        {"gives control what lacks the next hop's MAC, else complete", kVm1, in(packet),
         sent(kResolverPort, eth(kUplinkMac, unresolved_mac(kHopIncomplete)) /
                                 ip4("10.0.0.1", "203.0.113.130").ttl(63) / udp(1, 2)),
         resolves},
        {"tells the sender where the limit is reached", kVm1, in(packet),
         refused(DropReason::kNoNeighbour, kVm1,
                 eth(kGatewayMac, kVm1Mac) / ip4("10.0.0.254", "10.0.0.1").tos(0xc0).df() /
                     icmp4(3, 1) / raw(packet.payload())),
         [=](Lab& lab) {
             resolves(lab);
             lab.context().resolve_tokens = TokenBucket();
         }},
    };
}

// An uplink in L2 mode.
void in_l2(Lab& lab) {
    lab.add_host_view();
    lab.port(kUplink).flags |= kAnswersForVms;
}

std::vector<PacketCase> l2() {
    const auto ask = [](std::string_view target, std::string_view sender = "10.0.0.99") {
        return eth(kNeighbourMac, kBroadcastMac) /
               arp(kRequest, kNeighbourMac, sender, kZeroMac, target);
    };
    const auto solicit = [](std::string_view target) {
        return to_group("33:33:ff:00:00:01", ip6("2001:db8::99", "ff02::1:ff00:1").ttl(255),
                        icmp6(135, 0, 0)) /
               raw(address(target) + link_layer_option(1, kNeighbourMac));
    };
    return {
        {"answers ARP for a VM in L2 mode", kUplink, in(ask("10.0.0.1")),
         answered(kUplink, eth(kUplinkMac, kNeighbourMac) /
                               arp(2, kUplinkMac, "10.0.0.1", kNeighbourMac, "10.0.0.99")),
         in_l2},
        {"answers a probe for a VM's address in L2 mode", kUplink, in(ask("10.0.0.1", "0.0.0.0")),
         answered(kUplink, eth(kUplinkMac, kNeighbourMac) /
                               arp(2, kUplinkMac, "10.0.0.1", kNeighbourMac, "0.0.0.0")),
         in_l2},
        {"answers solicitations for a VM in L2 mode", kUplink, in(solicit("2001:db8::1")),
         answered(kUplink, eth(kUplinkMac, kNeighbourMac) /
                               ip6("fe80::aa:ff:fe00:1", "2001:db8::99").ttl(255) /
                               icmp6(136, 0, 0xc0000000) /
                               raw(address("2001:db8::1") + link_layer_option(2, kUplinkMac))),
         in_l2},
        reaches_host("leaves other addresses to the host in L2 mode", ask("10.0.0.77"), in_l2),
        reaches_host("leaves other solicitations to the host in L2 mode", solicit("2001:db8::77"),
                     in_l2),
        reaches_host("answers no announcement in L2 mode", ask("10.0.0.1", "10.0.0.1"), in_l2),
        reaches_host("answers for no VM else", ask("10.0.0.1")),
    };
}

S32_PACKET_CASES(L2Mode, l2());
S32_PACKET_CASES(ToHost, to_host());
S32_PACKET_CASES(HostLimits, limits());
S32_PACKET_CASES(FromHost, from_host());
S32_PACKET_CASES(Resolving, resolving());

}  // namespace
}  // namespace slash32::test
