// SPDX-License-Identifier: Apache-2.0
// Port security: what a VM may not claim to be.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

const char* const kVm1LinkLocal = "fe80::5054:ff:fe00:1";
const Mac kOtherMac = mac("52:54:00:00:00:77");
const Mac kAllNodesMac = mac("33:33:00:00:00:01");

Expectation to_vm2(Layer ip, Layer transport) {
    return sent(kVm2, eth(kGatewayMac, kVm2Mac) / std::move(ip.ttl(63)) / std::move(transport));
}

std::vector<PacketCase> sources() {
    const auto from = [](const Mac& mac, Layer ip) {
        return in(eth(mac, kGatewayMac) / std::move(ip) / udp(1, 2));
    };
    return {
        {"drops another MAC", kVm1, from(kOtherMac, ip4("10.0.0.1", "10.0.0.2")),
         dropped(DropReason::kSpoofedMac)},
        {"drops another VM's MAC", kVm1, from(kVm2Mac, ip4("10.0.0.1", "10.0.0.2")),
         dropped(DropReason::kSpoofedMac)},
        {"drops another MAC with IPv6", kVm1, from(kOtherMac, ip6("2001:db8::1", "2001:db8::2")),
         dropped(DropReason::kSpoofedMac)},
        {"drops another address", kVm1, from(kVm1Mac, ip4("10.0.0.77", "10.0.0.2")),
         dropped(DropReason::kSpoofedSource)},
        {"drops another VM's address", kVm1, from(kVm1Mac, ip4("10.0.0.3", "10.0.0.2")),
         dropped(DropReason::kSpoofedSource)},
        {"drops the gateway's address", kVm1, from(kVm1Mac, ip4("10.0.0.254", "10.0.0.2")),
         dropped(DropReason::kSpoofedSource)},
        {"drops another IPv6 address", kVm1, from(kVm1Mac, ip6("2001:db8::77", "2001:db8::2")),
         dropped(DropReason::kSpoofedSource)},
        {"drops a link-local address that is not the MAC's", kVm1,
         from(kVm1Mac, ip6("fe80::77", "2001:db8::2")), dropped(DropReason::kSpoofedSource)},
        {"drops a later fragment of another address", kVm1,
         in(eth(kVm1Mac, kGatewayMac) /
            ip4("10.0.0.77", "10.0.0.2").fragment(800, false).proto(17) / raw(counting(8))),
         dropped(DropReason::kSpoofedSource)},
        {"drops another address to the gateway", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip4("10.0.0.77", "10.0.0.254") / icmp4(8, 0)),
         dropped(DropReason::kSpoofedSource)},
        {"drops another address on a port without groups", kVm3,
         in(eth(kVm3Mac, kGatewayMac) / ip4("10.0.0.77", "10.0.0.2") / udp(1, 2)),
         dropped(DropReason::kSpoofedSource)},
        {"lets an allowed pair through", kVm1, from(kVm1Mac, ip4("10.0.0.100", "10.0.0.2")),
         to_vm2(ip4("10.0.0.100", "10.0.0.2"), udp(1, 2))},
        {"lets an address of an allowed prefix through", kVm1,
         from(kVm1Mac, ip4("10.9.0.200", "10.0.0.2")),
         to_vm2(ip4("10.9.0.200", "10.0.0.2"), udp(1, 2))},
        {"drops an address just beyond an allowed prefix", kVm1,
         from(kVm1Mac, ip4("10.9.1.0", "10.0.0.2")), dropped(DropReason::kSpoofedSource)},
        {"lets everything through with the pair 0.0.0.0/0", kVm1,
         from(kVm1Mac, ip4("203.0.113.9", "10.0.0.2")),
         to_vm2(ip4("203.0.113.9", "10.0.0.2"), udp(1, 2)),
         [](Lab& lab) { lab.add_source(kVm1, kVm1Mac, "0.0.0.0/0", false); }},
        {"holds the pair 0.0.0.0/0 to its family", kVm1,
         from(kVm1Mac, ip6("2001:db8::77", "2001:db8::2")), dropped(DropReason::kSpoofedSource),
         [](Lab& lab) { lab.add_source(kVm1, kVm1Mac, "0.0.0.0/0", false); }},
        {"lets everything through with the pair ::/0", kVm1,
         from(kVm1Mac, ip6("2001:db8:abcd::9", "2001:db8::2")),
         to_vm2(ip6("2001:db8:abcd::9", "2001:db8::2"), udp(1, 2)),
         [](Lab& lab) { lab.add_source(kVm1, kVm1Mac, "::/0", false); }},
        {"holds an IPv6 prefix pair to its length", kVm1,
         from(kVm1Mac, ip6("2001:db8:9:1::1", "2001:db8::2")), dropped(DropReason::kSpoofedSource),
         [](Lab& lab) { lab.add_source(kVm1, kVm1Mac, "2001:db8:9::/64", false); }},
        {"holds a long IPv6 prefix pair to its length", kVm1,
         from(kVm1Mac, ip6("2001:db8:9::100", "2001:db8::2")), dropped(DropReason::kSpoofedSource),
         [](Lab& lab) { lab.add_source(kVm1, kVm1Mac, "2001:db8:9::/120", false); }},
        {"lets a pair's MAC through with the pair's address", kVm1,
         from(kOtherMac, ip4("10.0.0.50", "10.0.0.2")),
         to_vm2(ip4("10.0.0.50", "10.0.0.2"), udp(1, 2)),
         [](Lab& lab) { lab.add_source(kVm1, kOtherMac, "10.0.0.50", false); }},
        {"drops a pair's MAC with the port's own address", kVm1,
         from(kOtherMac, ip4("10.0.0.1", "10.0.0.2")), dropped(DropReason::kSpoofedSource),
         [](Lab& lab) { lab.add_source(kVm1, kOtherMac, "10.0.0.50", false); }},
        {"lets every source through without port security", kVm4,
         in(eth(kOtherMac, kGatewayMac) / ip4("10.0.0.77", "10.0.0.2") / udp(1, 2)),
         to_vm2(ip4("10.0.0.77", "10.0.0.2"), udp(1, 2))},
        {"lets every IPv6 source through without port security", kVm4,
         in(eth(kOtherMac, kGatewayMac) / ip6("2001:db8::77", "2001:db8::2") / udp(1, 2)),
         to_vm2(ip6("2001:db8::77", "2001:db8::2"), udp(1, 2))},
    };
}

std::vector<PacketCase> arp_senders() {
    const auto ask = [](const Mac& source, const Mac& sender, std::string_view ip,
                        uint16_t operation = 1) {
        return in(eth(source, kBroadcastMac) / arp(operation, sender, ip, kZeroMac, "10.0.0.254"));
    };
    return {
        {"drops an ARP sender address of another VM", kVm1, ask(kVm1Mac, kVm1Mac, "10.0.0.2"),
         dropped(DropReason::kSpoofedArp)},
        {"drops an ARP sender address of the gateway", kVm1, ask(kVm1Mac, kVm1Mac, "10.0.0.254"),
         dropped(DropReason::kSpoofedArp)},
        {"drops an ARP sender MAC of another VM", kVm1, ask(kVm1Mac, kVm2Mac, "10.0.0.1"),
         dropped(DropReason::kSpoofedArp)},
        {"drops ARP in a frame of another MAC", kVm1, ask(kOtherMac, kVm1Mac, "10.0.0.1"),
         dropped(DropReason::kSpoofedMac)},
        {"drops an ARP reply that claims the gateway", kVm1, ask(kVm1Mac, kVm1Mac, "10.0.0.254", 2),
         dropped(DropReason::kSpoofedArp)},
        {"drops an ARP reply without a sender address", kVm1, ask(kVm1Mac, kVm1Mac, "0.0.0.0", 2),
         dropped(DropReason::kSpoofedArp)},
        {"drops an announcement of another VM's address", kVm1,
         in(eth(kVm1Mac, kBroadcastMac) / arp(1, kVm1Mac, "10.0.0.2", kZeroMac, "10.0.0.2")),
         dropped(DropReason::kSpoofedArp)},
        {"drops a probe from another MAC", kVm1, ask(kOtherMac, kOtherMac, "0.0.0.0"),
         dropped(DropReason::kSpoofedMac)},
    };
}

std::vector<PacketCase> nd_claims() {
    const auto advertise = [](std::string_view target, const Mac& claimed) {
        return in(eth(kVm1Mac, kAllNodesMac) / ip6("2001:db8::1", "ff02::1").ttl(255) /
                  icmp6(136, 0, 0x20000000) / raw(address(target) + link_layer_option(2, claimed)));
    };
    const auto solicit = [](std::string_view source, const Mac& claimed, uint8_t type = 135) {
        return in(
            eth(kVm1Mac, kGatewayMac) / ip6(source, "fe80::1").ttl(255) / icmp6(type, 0) /
            raw((type == 135 ? address("fe80::1") : Bytes{}) + link_layer_option(1, claimed)));
    };
    return {
        {"drops an advertisement of another VM's address", kVm1, advertise("2001:db8::2", kVm1Mac),
         dropped(DropReason::kSpoofedNd)},
        {"drops an advertisement of the gateway", kVm1, advertise("fe80::1", kVm1Mac),
         dropped(DropReason::kSpoofedNd)},
        {"drops an advertisement of a free address", kVm1, advertise("2001:db8::77", kVm1Mac),
         dropped(DropReason::kSpoofedNd)},
        {"drops an advertisement of another MAC", kVm1, advertise("2001:db8::1", kVm2Mac),
         dropped(DropReason::kSpoofedNd)},
        {"drops a solicitation from another VM's address", kVm1, solicit("2001:db8::2", kVm1Mac),
         dropped(DropReason::kSpoofedSource)},
        {"drops a solicitation with another MAC in it", kVm1, solicit("2001:db8::1", kVm2Mac),
         dropped(DropReason::kSpoofedNd)},
        {"drops a router solicitation with another MAC in it", kVm1,
         solicit(kVm1LinkLocal, kVm2Mac, 133), dropped(DropReason::kSpoofedNd)},
        {"drops DAD from another MAC", kVm1,
         in(eth(kOtherMac, mac("33:33:ff:00:00:02")) / ip6("::", "ff02::1:ff00:2").ttl(255) /
            icmp6(135, 0) / raw(address("2001:db8::2"))),
         dropped(DropReason::kSpoofedMac)},
    };
}

std::vector<PacketCase> roles() {
    const Expectation no_dhcp = dropped(DropReason::kDhcpServer);
    const Expectation no_router = dropped(DropReason::kRouterAdvertisement);
    const auto from_vm1 = [](Layer ip, Layer next) {
        return in(eth(kVm1Mac, kGatewayMac) / std::move(ip) / std::move(next));
    };
    return {
        {"drops a DHCP server's message to a VM", kVm1,
         from_vm1(ip4("10.0.0.1", "10.0.0.2"), udp(67, 68)), no_dhcp},
        {"drops a DHCP server's broadcast", kVm1,
         in(eth(kVm1Mac, kBroadcastMac) / ip4("10.0.0.1", "255.255.255.255") / udp(67, 68)),
         no_dhcp},
        {"drops a DHCPv6 server's message", kVm1,
         from_vm1(ip6("2001:db8::1", "2001:db8::2"), udp(547, 546)), no_dhcp},
        {"drops a DHCPv6 server's message from a link-local address", kVm1,
         from_vm1(ip6(kVm1LinkLocal, "fe80::2"), udp(547, 546)), no_dhcp},
        {"lets a DHCP server's message through without port security", kVm4,
         in(eth(kVm4Mac, kGatewayMac) / ip4("10.0.0.4", "10.0.0.2") / udp(67, 68)),
         to_vm2(ip4("10.0.0.4", "10.0.0.2"), udp(67, 68))},
        {"drops a router advertisement to all nodes", kVm1,
         in(eth(kVm1Mac, kAllNodesMac) / ip6(kVm1LinkLocal, "ff02::1").ttl(255) / icmp6(134, 0) /
            raw(Bytes(8))),
         no_router},
        {"drops a router advertisement to a VM", kVm1,
         from_vm1(ip6("2001:db8::1", "2001:db8::2").ttl(255), icmp6(134, 0)), no_router},
        {"drops a router advertisement behind extension headers", kVm1,
         in(eth(kVm1Mac, kAllNodesMac) / ip6(kVm1LinkLocal, "ff02::1").ttl(255) / options6(0) /
            options6(60) / icmp6(134, 0) / raw(Bytes(8))),
         no_router},
        {"drops a router advertisement in a first fragment", kVm1,
         in(eth(kVm1Mac, kAllNodesMac) / ip6(kVm1LinkLocal, "ff02::1").ttl(255) /
            fragment6(0, true) / icmp6(134, 0) / raw(Bytes(8))),
         no_router},
        {"drops a router advertisement without port security", kVm4,
         in(eth(kVm4Mac, kAllNodesMac) / ip6("fe80::4", "ff02::1").ttl(255) / icmp6(134, 0) /
            raw(Bytes(8))),
         no_router},
        {"drops a redirect", kVm1,
         from_vm1(ip6("2001:db8::1", "2001:db8::2").ttl(255), icmp6(137, 0)), no_router},
        {"drops a segment routing header", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2") /
            routing6(4, 0, Bytes(4) + address("2001:db8::2")) / udp(1, 2)),
         dropped(DropReason::kSegmentRouting)},
        {"drops a segment routing header behind options", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2") / options6(0) /
            options6(60) / routing6(4, 1, Bytes(4) + address("2001:db8::2")) / udp(1, 2)),
         dropped(DropReason::kSegmentRouting)},
        {"drops a segment routing header without port security", kVm4,
         in(eth(kVm4Mac, kGatewayMac) / ip6("2001:db8::4", "2001:db8::2") /
            routing6(4, 0, Bytes(4) + address("2001:db8::2")) / udp(1, 2)),
         dropped(DropReason::kSegmentRouting)},
        {"lets a segment routing header in by an uplink", kUplink,
         in(eth(kNeighbourMac, kUplinkMac) / ip6("2001:db8:100::1", "2001:db8::2") /
            routing6(4, 0, Bytes(4) + address("2001:db8::2")) / udp(1, 2)),
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / ip6("2001:db8:100::1", "2001:db8::2").ttl(63) /
                        routing6(4, 0, Bytes(4) + address("2001:db8::2")) / udp(1, 2))},
    };
}

S32_PACKET_CASES(SpoofedSources, sources());
S32_PACKET_CASES(SpoofedArpSenders, arp_senders());
S32_PACKET_CASES(SpoofedNdClaims, nd_claims());
S32_PACKET_CASES(ForbiddenRoles, roles());

}  // namespace
}  // namespace slash32::test
