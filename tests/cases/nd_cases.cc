// SPDX-License-Identifier: Apache-2.0
// Proxy neighbour discovery and router advertisements: RFC 4861, RFC 4862.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

constexpr uint8_t kSlla = 1;
constexpr uint8_t kTlla = 2;
constexpr uint32_t kR = 0x80000000;
constexpr uint32_t kS = 0x40000000;
constexpr uint32_t kO = 0x20000000;
const Mac kAllNodesMac = mac("33:33:00:00:00:01");
const Mac kAllRoutersMac = mac("33:33:00:00:00:02");
const char* const kVm1LinkLocal = "fe80::5054:ff:fe00:1";

std::string solicited_node(std::string_view target) {
    const Bytes a = address(target);
    char text[40];
    std::snprintf(text, sizeof text, "ff02::1:ff%02x:%02x%02x", a[13], a[14], a[15]);
    return text;
}
Mac multicast_mac(std::string_view group) {
    const Bytes a = address(group);
    return Mac{{0x33, 0x33, a[12], a[13], a[14], a[15]}};
}

// Address resolution by vm1.
Packet solicit(std::string_view source, std::string_view target, const Bytes& options) {
    const std::string group = solicited_node(target);
    return eth(kVm1Mac, multicast_mac(group)) / ip6(source, group).ttl(255) / icmp6(135, 0) /
           raw(address(target) + options);
}
Packet resolve(std::string_view target) {
    return solicit("2001:db8::1", target, link_layer_option(kSlla, kVm1Mac));
}
Packet probe(std::string_view target) {
    return solicit("::", target, {});
}

Packet advertisement(const Mac& to_mac, std::string_view from, std::string_view to, uint32_t flags,
                     std::string_view target) {
    return eth(kGatewayMac, to_mac) / ip6(from, to).ttl(255) / icmp6(136, 0, flags) /
           raw(address(target) + link_layer_option(kTlla, kGatewayMac));
}
// For an address that is not the router's: RFC 4861 section 7.2.8, no override.
Expectation proxied(std::string_view target) {
    return answered(kVm1, advertisement(kVm1Mac, "fe80::1", "2001:db8::1", kR | kS, target));
}
Expectation defended(std::string_view from, uint32_t flags, std::string_view target) {
    return answered(kVm1, advertisement(kAllNodesMac, from, "ff02::1", flags, target));
}

std::vector<PacketCase> solicitations() {
    return {
        {"answers for the link-local gateway with override", kVm1, in(resolve("fe80::1")),
         answered(kVm1, advertisement(kVm1Mac, "fe80::1", "2001:db8::1", kR | kS | kO, "fe80::1"))},
        {"answers for a global gateway with override", kVm1, in(resolve("2001:db8::fe")),
         answered(kVm1, advertisement(kVm1Mac, "2001:db8::fe", "2001:db8::1", kR | kS | kO,
                                      "2001:db8::fe")),
         [](Lab& lab) {
             PortConfig& port = lab.port(kVm1);
             port.gateways[port.gateway_count++] = parse_ip("2001:db8::fe").value();
         }},
        {"answers for the router's link-local address beside a global gateway", kVm1,
         in(resolve("fe80::ff:fe00:fe")),
         answered(kVm1, advertisement(kVm1Mac, "fe80::ff:fe00:fe", "2001:db8::1", kR | kS | kO,
                                      "fe80::ff:fe00:fe")),
         [](Lab& lab) {
             lab.port(kVm1).gateway6 = parse_ip("2001:db8::fe")->ipv6();
             lab.port(kVm1).gateway_count = 0;
         }},
        {"answers for a peer of the same prefix", kVm1, in(resolve("2001:db8::2")),
         proxied("2001:db8::2")},
        {"answers for an off-link address", kVm1, in(resolve("2001:db8:100::7")),
         proxied("2001:db8:100::7")},
        {"answers for an address without a route", kVm1, in(resolve("2001:db8:77::7")),
         proxied("2001:db8:77::7")},
        {"answers for a unique local address", kVm1, in(resolve("fd00::7")), proxied("fd00::7")},
        {"answers for a shared address that another VM holds", kVm1, in(resolve("2001:db8::100")),
         proxied("2001:db8::100")},
        {"answers a solicitation from the VM's link-local address", kVm1,
         in(solicit(kVm1LinkLocal, "2001:db8::2", link_layer_option(kSlla, kVm1Mac))),
         answered(kVm1, advertisement(kVm1Mac, "fe80::1", kVm1LinkLocal, kR | kS, "2001:db8::2"))},
        {"answers a unicast solicitation without options", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2").ttl(255) / icmp6(135, 0) /
            raw(address("2001:db8::2"))),
         proxied("2001:db8::2")},
        {"answers a solicitation behind destination options", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2").ttl(255) / options6(60) /
            icmp6(135, 0) / raw(address("2001:db8::2"))),
         proxied("2001:db8::2")},
        {"answers a solicitation with unknown options", kVm1,
         in(solicit("2001:db8::1", "2001:db8::2", Bytes{200, 2} + Bytes(14))),
         proxied("2001:db8::2")},
        {"answers a port without groups", kVm3,
         in(eth(kVm3Mac, kGatewayMac) / ip6("2001:db8::3", "fe80::1").ttl(255) / icmp6(135, 0) /
            raw(address("fe80::1"))),
         answered(kVm3, advertisement(kVm3Mac, "fe80::1", "2001:db8::3", kR | kS | kO, "fe80::1"))},
        {"does not answer for the VM's own address", kVm1, in(resolve("2001:db8::1")),
         dropped(DropReason::kNdOwnAddress)},
        {"does not answer for the VM's own link-local address", kVm1, in(resolve(kVm1LinkLocal)),
         dropped(DropReason::kNdOwnAddress)},
        {"does not answer for a shared address that the VM holds", kVm2,
         in(eth(kVm2Mac, kGatewayMac) / ip6("2001:db8::2", "2001:db8::100").ttl(255) /
            icmp6(135, 0) / raw(address("2001:db8::100"))),
         dropped(DropReason::kNdOwnAddress)},
        {"does not answer for a network behind the VM", kVm1, in(resolve("2001:db8:50::1")),
         dropped(DropReason::kNdOwnAddress),
         [](Lab& lab) { lab.add_route("2001:db8:50::/48", kHopVm1); }},
        {"does not answer for another link-local address", kVm1, in(resolve("fe80::2")),
         dropped(DropReason::kNdNotForUs)},
        {"does not answer for loopback", kVm1, in(resolve("::1")),
         dropped(DropReason::kNdNotForUs)},
        {"does not answer for the unspecified address", kVm1, in(resolve("::")),
         dropped(DropReason::kNdNotForUs)},
    };
}

// Duplicate address detection, RFC 4862 section 5.4.
std::vector<PacketCase> probes() {
    return {
        {"defends the gateway to all nodes", kVm1, in(probe("fe80::1")),
         defended("fe80::1", kR | kO, "fe80::1")},
        {"defends an address that another VM holds", kVm1, in(probe("2001:db8::2")),
         defended("fe80::1", kR, "2001:db8::2")},
        {"leaves the VM's own address to it", kVm1, in(probe("2001:db8::1")),
         dropped(DropReason::kNdOwnAddress)},
        {"leaves the VM's own link-local address to it", kVm1, in(probe(kVm1LinkLocal)),
         dropped(DropReason::kNdOwnAddress)},
        {"leaves a free address to the VM", kVm1, in(probe("2001:db8::77")),
         dropped(DropReason::kNdProbeFree)},
        {"leaves an address of a prefix route to the VM", kVm1, in(probe("2001:db8:100::7")),
         dropped(DropReason::kNdProbeFree)},
    };
}

std::vector<PacketCase> advertisements() {
    const auto advertise = [](uint32_t flags, std::string_view target, std::string_view to) {
        return in(eth(kVm1Mac, address(to)[0] == 0xff ? kAllNodesMac : kGatewayMac) /
                  ip6("2001:db8::1", to).ttl(255) / icmp6(136, 0, flags) /
                  raw(address(target) + link_layer_option(kTlla, kVm1Mac)));
    };
    return {
        {"punts an unsolicited advertisement of an allowed pair", kVm1,
         advertise(kO, "2001:db8::100", "ff02::1"), punted()},
        {"drops a solicited advertisement of an allowed pair", kVm1,
         advertise(kO | kS, "2001:db8::100", "fe80::1"), dropped(DropReason::kNdAdvertisement)},
        {"drops an advertisement of the VM's own address", kVm1,
         advertise(kO, "2001:db8::1", "ff02::1"), dropped(DropReason::kNdAdvertisement)},
        {"drops an advertisement of the VM's own link-local address", kVm1,
         advertise(kO, kVm1LinkLocal, "ff02::1"), dropped(DropReason::kNdAdvertisement)},
        {"refuses a solicited advertisement to all nodes", kVm1,
         advertise(kS, "2001:db8::100", "ff02::1"), dropped(DropReason::kBadNd)},
        {"limits the rate of announcements", kVm1, advertise(kO, "2001:db8::100", "ff02::1"),
         dropped(DropReason::kPuntRateLimited), [](Lab& lab) { lab.set_punt_rate(1, 0); }},
    };
}

Bytes router_advertisement(uint8_t flags, uint32_t mtu, const Bytes& prefixes) {
    return Bytes{64, flags} + be16(65535) + be32(0) + be32(0) +
           link_layer_option(kSlla, kGatewayMac) + Bytes{5, 1, 0, 0} + be32(mtu) + prefixes;
}
Packet advertised(const Mac& to_mac, std::string_view from, std::string_view to,
                  const Bytes& body) {
    // The ICMP header's last four bytes are the message's first.
    const uint32_t rest = static_cast<uint32_t>(body[0]) << 24 |
                          static_cast<uint32_t>(body[1]) << 16 |
                          static_cast<uint32_t>(body[2]) << 8 | body[3];
    return eth(kGatewayMac, to_mac) / ip6(from, to).ttl(255) / icmp6(134, 0, rest) /
           raw(Bytes(body.begin() + 4, body.end()));
}

std::vector<PacketCase> router_solicitations() {
    const auto ask = [](std::string_view source, const Bytes& options) {
        return in(eth(kVm1Mac, kAllRoutersMac) / ip6(source, "ff02::2").ttl(255) / icmp6(133, 0) /
                  raw(options));
    };
    const Bytes slla = link_layer_option(kSlla, kVm1Mac);
    const Bytes prefix = Bytes{3, 4, 64, 0x40} + be32(0xffffffff) + be32(0xffffffff) + be32(0) +
                         address("2001:db8::");
    const Bytes managed_prefix = Bytes{3, 4, 48, 0} + be32(0xffffffff) + be32(0xffffffff) +
                                 be32(0) + address("2001:db8:1::");
    return {
        {"advertises the router to the solicitor", kVm1, ask(kVm1LinkLocal, slla),
         answered(kVm1, advertised(kVm1Mac, "fe80::1", kVm1LinkLocal,
                                   router_advertisement(0, 1500, {})))},
        {"advertises the router to all nodes where the solicitor has no address", kVm1,
         ask("::", {}),
         answered(kVm1, advertised(kAllNodesMac, "fe80::1", "ff02::1",
                                   router_advertisement(0, 1500, {})))},
        {"advertises prefixes, MTU and management", kVm1, ask(kVm1LinkLocal, slla),
         answered(kVm1, advertised(kVm1Mac, "fe80::1", kVm1LinkLocal,
                                   router_advertisement(0x80, 8950, prefix + managed_prefix))),
         [](Lab& lab) {
             PortConfig& port = lab.port(kVm1);
             port.flags |= kRaManaged;
             port.mtu = 8950;
             port.ra_prefixes[0] = {parse_ip("2001:db8::")->ipv6(), 64, true};
             port.ra_prefixes[1] = {parse_ip("2001:db8:1::")->ipv6(), 48, false};
             port.ra_prefix_count = 2;
         }},
        {"advertises from a link-local address beside a global gateway", kVm1,
         ask(kVm1LinkLocal, slla),
         answered(kVm1, advertised(kVm1Mac, "fe80::ff:fe00:fe", kVm1LinkLocal,
                                   router_advertisement(0, 1500, {}))),
         [](Lab& lab) { lab.port(kVm1).gateway6 = parse_ip("2001:db8::fe")->ipv6(); }},
        {"advertises nothing where there is no IPv6 gateway", kVm1, ask(kVm1LinkLocal, slla),
         dropped(DropReason::kNdNotForUs),
         [](Lab& lab) { lab.port(kVm1).flags &= static_cast<uint16_t>(~kSendRa); }},
        {"refuses a solicitation without an address but with a link-layer one", kVm1,
         ask("::", slla), dropped(DropReason::kBadNd)},
        {"refuses an option of length 0", kVm1, ask(kVm1LinkLocal, {1, 0, 0, 0, 0, 0, 0, 0}),
         dropped(DropReason::kBadNd)},
        {"advertises nothing on an uplink", kUplink,
         in(eth(kNeighbourMac, kAllRoutersMac) / ip6("fe80::99", "ff02::2").ttl(255) /
            icmp6(133, 0)),
         dropped(DropReason::kNdNotForUs)},
    };
}

std::vector<PacketCase> uplinks() {
    const auto ask = [](std::string_view target) {
        return in(eth(kNeighbourMac, multicast_mac(solicited_node(target))) /
                  ip6("2001:db8:ffff::99", solicited_node(target)).ttl(255) / icmp6(135, 0) /
                  raw(address(target) + link_layer_option(kSlla, kNeighbourMac)));
    };
    return {
        {"answers for the uplink's own address", kUplink, ask("2001:db8:ffff::1"),
         answered(kUplink,
                  eth(kUplinkMac, kNeighbourMac) /
                      ip6("2001:db8:ffff::1", "2001:db8:ffff::99").ttl(255) /
                      icmp6(136, 0, kR | kS | kO) /
                      raw(address("2001:db8:ffff::1") + link_layer_option(kTlla, kUplinkMac)))},
        {"does not answer for a VM on an uplink", kUplink, ask("2001:db8::1"),
         dropped(DropReason::kNdNotForUs)},
        {"learns nothing from an advertisement on an uplink", kUplink,
         in(eth(kNeighbourMac, kAllNodesMac) / ip6("fe80::99", "ff02::1").ttl(255) /
            icmp6(136, 0, kR) / raw(address("fe80::99"))),
         dropped(DropReason::kNdAdvertisement)},
        {"learns nothing from a router advertisement on an uplink", kUplink,
         in(eth(kNeighbourMac, kAllNodesMac) / ip6("fe80::99", "ff02::1").ttl(255) / icmp6(134, 0) /
            raw(Bytes(8))),
         dropped(DropReason::kNdAdvertisement)},
    };
}

// RFC 4861 sections 7.1.1 and 7.1.2.
std::vector<PacketCase> malformed() {
    const Expectation bad = dropped(DropReason::kBadNd);
    const auto with = [](Layer ip, Layer icmp, const Bytes& body) {
        return in(eth(kVm1Mac, kGatewayMac) / std::move(ip) / std::move(icmp) / raw(body));
    };
    const auto ip = [] { return ip6("2001:db8::1", "2001:db8::2").ttl(255); };
    const Bytes target = address("2001:db8::2");
    std::vector<PacketCase> cases = {
        {"refuses a solicitation that was routed", kVm1, with(ip().ttl(254), icmp6(135, 0), target),
         bad},
        {"refuses a solicitation with a code", kVm1, with(ip(), icmp6(135, 1), target), bad},
        {"refuses a wrong checksum", kVm1, with(ip(), icmp6(135, 0).checksum(0x1234), target), bad},
        {"refuses a multicast target", kVm1, with(ip(), icmp6(135, 0), address("ff02::1")), bad},
        {"refuses an option of length 0", kVm1,
         with(ip(), icmp6(135, 0), target + Bytes{1, 0, 0, 0, 0, 0, 0, 0}), bad},
        {"refuses an option beyond the message", kVm1,
         with(ip(), icmp6(135, 0), target + Bytes{1, 2, 0, 0, 0, 0, 0, 0}), bad},
        {"refuses half an option", kVm1, with(ip(), icmp6(135, 0), target + Bytes{1, 1, 0, 0}),
         bad},
        {"refuses a link-layer address of 14 bytes", kVm1,
         with(ip(), icmp6(135, 0), target + Bytes{1, 2} + Bytes(14)), bad},
        {"refuses DAD with a link-layer address", kVm1,
         in(solicit("::", "2001:db8::2", link_layer_option(kSlla, kVm1Mac))), bad},
        {"refuses DAD to a group that is not the target's kind", kVm1,
         in(eth(kVm1Mac, kAllNodesMac) / ip6("::", "ff02::1").ttl(255) / icmp6(135, 0) /
            raw(target)),
         bad},
        {"refuses an advertisement that was routed", kVm1,
         with(ip().ttl(64), icmp6(136, 0), address("2001:db8::1")), bad},
        {"refuses a fragmented solicitation", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", "2001:db8::2").ttl(255) /
            fragment6(0, true) / icmp6(135, 0) / raw(target)),
         bad},
    };
    for (size_t n = 0; n < 16; ++n) {
        cases.push_back({"refuses " + std::to_string(n) + " bytes of target", kVm1,
                         with(ip(), icmp6(135, 0), first(n, target)), bad});
    }
    for (size_t n = 1; n < 8; ++n) {
        cases.push_back(
            {"refuses " + std::to_string(n) + " bytes of option", kVm1,
             with(ip(), icmp6(135, 0), target + first(n, link_layer_option(kSlla, kVm1Mac))), bad});
    }
    return cases;
}

std::vector<PacketCase> listeners() {
    const auto report = [](uint8_t type, std::string_view source) {
        return in(eth(kVm1Mac, mac("33:33:00:00:00:16")) / ip6(source, "ff02::16").ttl(1) /
                  options6(0, {5, 2, 0, 0}) / icmp6(type, 0) / raw(Bytes(20)));
    };
    const Expectation absorbed = dropped(DropReason::kMulticastListener);
    return {
        {"absorbs an MLDv2 report", kVm1, report(143, kVm1LinkLocal), absorbed},
        {"absorbs an MLDv2 report without an address", kVm1, report(143, "::"), absorbed},
        {"absorbs an MLD query", kVm1, report(130, kVm1LinkLocal), absorbed},
        {"absorbs an MLDv1 report", kVm1, report(131, kVm1LinkLocal), absorbed},
        {"absorbs an MLD done", kVm1, report(132, kVm1LinkLocal), absorbed},
    };
}

S32_PACKET_CASES(NdSolicitations, solicitations());
S32_PACKET_CASES(NdProbes, probes());
S32_PACKET_CASES(NdAdvertisements, advertisements());
S32_PACKET_CASES(NdRouterSolicitations, router_solicitations());
S32_PACKET_CASES(NdOnUplinks, uplinks());
S32_PACKET_CASES(NdMalformed, malformed());
S32_PACKET_CASES(NdListeners, listeners());

}  // namespace
}  // namespace slash32::test
