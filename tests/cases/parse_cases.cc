// SPDX-License-Identifier: Apache-2.0
// What no router may pass on: cut short, malformed, impossible.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

Layer link() {
    return eth(kVm1Mac, kGatewayMac);
}
Layer v4() {
    return ip4("10.0.0.1", "10.0.0.2");
}
Layer v6() {
    return ip6("2001:db8::1", "2001:db8::2");
}
Expectation to_vm2(Layer ip, const Packet& rest) {
    return sent(kVm2, eth(kGatewayMac, kVm2Mac) / std::move(ip.ttl(63)) / raw(rest.bytes()));
}

std::vector<PacketCase> ethernet() {
    std::vector<PacketCase> cases = {
        {"refuses a VLAN tag", kVm1, in(eth(kVm1Mac, kGatewayMac, 0x8100) / raw(Bytes(40))),
         dropped(DropReason::kBadVlan)},
        {"refuses a double VLAN tag", kVm1, in(eth(kVm1Mac, kGatewayMac, 0x88a8) / raw(Bytes(40))),
         dropped(DropReason::kBadVlan)},
        {"refuses a VLAN tag that the device took off", kVm1,
         Input{.bytes = (link() / v4() / udp(1, 2)).bytes(),
               .rx_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED},
         dropped(DropReason::kBadVlan)},
        {"refuses LLDP", kVm1, in(eth(kVm1Mac, mac("01:80:c2:00:00:0e"), 0x88cc) / raw(Bytes(40))),
         dropped(DropReason::kUnknownEthertype)},
        {"refuses RARP", kVm1, in(eth(kVm1Mac, kBroadcastMac, 0x8035) / raw(Bytes(28))),
         dropped(DropReason::kUnknownEthertype)},
        {"refuses a length where the type stands", kVm1,
         in(eth(kVm1Mac, kGatewayMac, 64) / raw(Bytes(64))),
         dropped(DropReason::kUnknownEthertype)},
        {"refuses a group as the source", kVm1,
         in(eth(mac("01:00:5e:00:00:01"), kGatewayMac) / v4() / udp(1, 2)),
         dropped(DropReason::kSourceMacMulticast)},
        {"refuses broadcast as the source", kVm1,
         in(eth(kBroadcastMac, kGatewayMac) / v4() / udp(1, 2)),
         dropped(DropReason::kSourceMacMulticast)},
        {"refuses zero as the source", kVm1, in(eth(kZeroMac, kGatewayMac) / v4() / udp(1, 2)),
         dropped(DropReason::kSourceMacMulticast)},
        {"refuses a frame to another VM", kVm1, in(eth(kVm1Mac, kVm2Mac) / v4() / udp(1, 2)),
         dropped(DropReason::kWrongDestinationMac)},
        {"refuses a frame to zero", kVm1, in(eth(kVm1Mac, kZeroMac) / v4() / udp(1, 2)),
         dropped(DropReason::kWrongDestinationMac)},
        {"refuses ARP in a frame to another VM", kVm1,
         in(eth(kVm1Mac, kVm2Mac) / arp(1, kVm1Mac, "10.0.0.1", kZeroMac, "10.0.0.2")),
         dropped(DropReason::kWrongDestinationMac)},
    };
    const Bytes whole = (link() / v4() / udp(1, 2)).bytes();
    for (size_t n = 1; n < 14; ++n) {
        cases.push_back({"refuses " + std::to_string(n) + " bytes", kVm1, in(first(n, whole)),
                         dropped(DropReason::kTruncatedEthernet)});
    }
    return cases;
}

std::vector<PacketCase> ipv4_headers() {
    const auto packet = [](Layer ip) { return in(link() / std::move(ip) / udp(1, 2)); };
    std::vector<PacketCase> cases = {
        {"refuses version 5", kVm1, packet(v4().set(0, {0x55})),
         dropped(DropReason::kBadIpv4Header)},
        {"refuses version 6 in an IPv4 frame", kVm1,
         in(eth(kVm1Mac, kGatewayMac, 0x0800) / v6() / udp(1, 2)),
         dropped(DropReason::kBadIpv4Header)},
        {"refuses a header of 16 bytes", kVm1, packet(v4().set(0, {0x44})),
         dropped(DropReason::kBadIpv4Header)},
        {"refuses a header longer than the packet", kVm1, packet(v4().set(0, {0x4f})),
         dropped(DropReason::kBadIpv4Header)},
        {"refuses a total length below the header", kVm1, packet(v4().length(19)),
         dropped(DropReason::kBadIpv4Header)},
        {"refuses a total length of zero", kVm1, packet(v4().length(0)),
         dropped(DropReason::kBadIpv4Header)},
        {"refuses a total length beyond the packet", kVm1, packet(v4().length(29)),
         dropped(DropReason::kTruncatedIpv4)},
        {"refuses a wrong checksum", kVm1, packet(v4().checksum(0x1234)),
         dropped(DropReason::kBadIpv4Checksum)},
        {"takes the device's word for a right checksum", kVm1,
         Input{.bytes = (link() / v4().checksum(0x1234) / udp(1, 2)).bytes(),
               .rx_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD},
         sent(kVm2, eth(kGatewayMac, kVm2Mac) / v4().ttl(63).checksum(0x1334) / udp(1, 2))},
    };
    const Bytes whole = (link() / v4() / udp(1, 2)).bytes();
    for (size_t n = 14; n < whole.size(); ++n) {
        cases.push_back({"refuses " + std::to_string(n) + " bytes", kVm1, in(first(n, whole)),
                         dropped(DropReason::kTruncatedIpv4)});
    }
    return cases;
}

std::vector<PacketCase> ipv4_options() {
    const auto with = [](const Bytes& options) {
        return in(link() / ip4("10.0.0.1", "10.0.0.2", options) / udp(1, 2));
    };
    const auto passed = [](const Bytes& options) {
        return to_vm2(ip4("10.0.0.1", "10.0.0.2", options).proto(17),
                      raw((v4() / udp(1, 2)).payload()));
    };
    const Expectation bad = dropped(DropReason::kBadIpv4Options);
    return {
        {"passes no-operation and end", kVm1, with({1, 1, 1, 0}), passed({1, 1, 1, 0})},
        {"passes router alert", kVm1, with({0x94, 4, 0, 0}), passed({0x94, 4, 0, 0})},
        {"passes record route", kVm1, with({7, 7, 4, 0, 0, 0, 0, 0}),
         passed({7, 7, 4, 0, 0, 0, 0, 0})},
        {"passes 40 bytes of options", kVm1, with(Bytes{0x44, 40, 5, 0} + Bytes(36)),
         passed(Bytes{0x44, 40, 5, 0} + Bytes(36))},
        {"ignores what follows the end", kVm1, with({0, 0x83, 0, 0}), passed({0, 0x83, 0, 0})},
        {"refuses a loose source route", kVm1, with({0x83, 7, 4, 10, 0, 0, 2, 0}),
         dropped(DropReason::kSourceRoute)},
        {"refuses a strict source route", kVm1, with({0x89, 7, 4, 10, 0, 0, 2, 0}),
         dropped(DropReason::kSourceRoute)},
        {"refuses a source route behind no-operation", kVm1, with({1, 0x83, 3, 4}),
         dropped(DropReason::kSourceRoute)},
        {"refuses an option of length 0", kVm1, with({7, 0, 0, 0}), bad},
        {"refuses an option of length 1", kVm1, with({7, 1, 0, 0}), bad},
        {"refuses an option beyond the header", kVm1, with({7, 5, 0, 0}), bad},
        {"refuses an option without a length", kVm1, with({1, 1, 1, 7}), bad},
    };
}

std::vector<PacketCase> ipv4_fragments() {
    const auto part = [](uint16_t offset, bool more, size_t length, uint8_t protocol = 17) {
        return in(link() / v4().fragment(offset, more).proto(protocol) / raw(counting(length)));
    };
    const Expectation bad = dropped(DropReason::kBadFragment);
    return {
        {"refuses a middle fragment that is no multiple of 8", kVm1, part(64, true, 15), bad},
        {"refuses an empty fragment", kVm1, part(64, true, 0), bad},
        {"refuses an empty last fragment", kVm1, part(64, false, 0), bad},
        {"refuses a fragment beyond 65535 bytes", kVm1, part(65528, false, 8), bad},
        {"passes a fragment that ends at 65535 bytes", kVm1, part(65528, false, 7),
         to_vm2(v4().fragment(65528, false).proto(17), raw(counting(7)))},
        {"refuses a fragment over the TCP flags", kVm1, part(8, false, 16, 6), bad},
        {"passes a UDP fragment at 8", kVm1, part(8, false, 16),
         to_vm2(v4().fragment(8, false).proto(17), raw(counting(16)))},
        {"refuses a first fragment without its TCP header", kVm1,
         in(link() / v4().fragment(0, true).proto(6) / raw(counting(8))),
         dropped(DropReason::kTruncatedTransport)},
    };
}

std::vector<PacketCase> ipv6_headers() {
    std::vector<PacketCase> cases = {
        {"refuses version 4 in an IPv6 frame", kVm1, in(link() / v6().set(0, {0x40}) / udp(1, 2)),
         dropped(DropReason::kBadIpv6Header)},
        {"refuses a payload length beyond the packet", kVm1,
         in(link() / v6().length(9) / udp(1, 2)), dropped(DropReason::kTruncatedIpv6)},
        {"refuses a payload length of 65535", kVm1, in(link() / v6().length(65535) / udp(1, 2)),
         dropped(DropReason::kTruncatedIpv6)},
        {"refuses a jumbogram", kVm1,
         in(link() / v6().length(0) / options6(0, {0xc2, 4, 0, 1, 0, 0}) / udp(1, 2)),
         dropped(DropReason::kBadExtensionHeader)},
        {"refuses a jumbo option", kVm1,
         in(link() / v6() / options6(0, {0xc2, 4, 0, 1, 0, 0}) / udp(1, 2)),
         dropped(DropReason::kBadExtensionHeader)},
        {"takes padding off", kVm1,
         in(link() / v6().length(8) / udp(1, 2).length(8).checksum(9) / raw(Bytes(6))),
         to_vm2(v6().proto(17), udp(1, 2).length(8).checksum(9))},
    };
    const Bytes whole = (link() / v6() / udp(1, 2)).bytes();
    for (size_t n = 14; n < whole.size(); ++n) {
        cases.push_back({"refuses " + std::to_string(n) + " bytes", kVm1, in(first(n, whole)),
                         dropped(DropReason::kTruncatedIpv6)});
    }
    return cases;
}

std::vector<PacketCase> extension_headers() {
    const auto passed = [](const Packet& rest, uint8_t protocol) {
        return to_vm2(v6().proto(protocol), rest);
    };
    const Expectation bad = dropped(DropReason::kBadExtensionHeader);
    const Expectation many = dropped(DropReason::kTooManyExtensions);
    const auto chain = [](unsigned n) {
        Packet packet = link() / v6();
        for (unsigned i = 0; i < n; ++i)
            packet = packet / options6(60);
        return packet / udp(1, 2);
    };
    std::vector<PacketCase> cases = {
        {"passes hop by hop options", kVm1, in(link() / v6() / options6(0) / udp(1, 2).checksum(7)),
         passed(options6(0) / udp(1, 2).checksum(7), 0)},
        {"passes the whole chain in order", kVm1,
         in(link() / v6() / options6(0) / options6(60) / routing6(3, 0) / fragment6(0, false) /
            options6(60) / udp(1, 2).checksum(7)),
         passed(options6(0) / options6(60) / routing6(3, 0) / fragment6(0, false) / options6(60) /
                    udp(1, 2).checksum(7),
                0)},
        {"passes an authentication header", kVm1,
         in(link() / v6() / extension6(51, Bytes{0, 4, 0, 0} + Bytes(20)) / udp(1, 2).checksum(7)),
         passed(extension6(51, Bytes{0, 4, 0, 0} + Bytes(20)) / udp(1, 2).checksum(7), 51)},
        {"passes ESP without looking inside", kVm1, in(link() / v6().proto(50) / raw(counting(3))),
         passed(raw(counting(3)), 50)},
        {"passes no next header with bytes behind it", kVm1,
         in(link() / v6().proto(59) / raw(counting(3))), passed(raw(counting(3)), 59)},
        {"passes 8 headers", kVm1, in(chain(8)),
         sent(kVm2,
              [] {
                  Packet packet = eth(kGatewayMac, kVm2Mac) / v6().ttl(63);
                  for (unsigned i = 0; i < 8; ++i)
                      packet = packet / options6(60);
                  return packet / udp(1, 2);
              }())},
        {"refuses 9 headers", kVm1, in(chain(9)), many},
        {"passes 256 bytes of headers", kVm1,
         in(link() / v6() / options6(60, Bytes(254)) / udp(1, 2).checksum(7)),
         passed(options6(60, Bytes(254)) / udp(1, 2).checksum(7), 60)},
        {"refuses 264 bytes of headers", kVm1,
         in(link() / v6() / options6(60, Bytes(262)) / udp(1, 2)), many},
        {"refuses hop by hop options behind others", kVm1,
         in(link() / v6() / options6(60) / options6(0) / udp(1, 2)), bad},
        {"refuses a header beyond the packet", kVm1,
         in(link() / v6().proto(60) / raw({17, 1, 0, 0, 0, 0, 0, 0})), bad},
        {"refuses an option beyond its header", kVm1,
         in(link() / v6() / extension6(60, {0, 0, 5, 6, 0, 0, 0, 0}) / udp(1, 2)), bad},
        {"refuses an option without a length", kVm1,
         in(link() / v6() / extension6(60, {0, 0, 0, 0, 0, 0, 0, 5}) / udp(1, 2)), bad},
        {"refuses an authentication header that is too short", kVm1,
         in(link() / v6() / extension6(51, Bytes{0, 0, 0, 0} + Bytes(4)) / udp(1, 2)), bad},
        {"refuses an authentication header that is no multiple of 8", kVm1,
         in(link() / v6() / extension6(51, Bytes{0, 3, 0, 0} + Bytes(16)) / udp(1, 2)), bad},
        {"refuses two fragment headers", kVm1,
         in(link() / v6() / fragment6(0, false) / fragment6(0, false) / udp(1, 2)), bad},
        {"refuses a type 0 routing header", kVm1,
         in(link() / v6() / routing6(0, 1, be32(0) + address("2001:db8::3")) / udp(1, 2)),
         dropped(DropReason::kSourceRoute)},
    };
    // The IPv6 header's length says where it ends: in the chain, or in the UDP header.
    const Bytes whole = (v6() / options6(60, Bytes(14)) / udp(1, 2)).payload();
    for (size_t n = 1; n < whole.size(); ++n) {
        cases.push_back({"refuses a chain of " + std::to_string(n) + " bytes", kVm1,
                         in(link() / v6().proto(60) / raw(first(n, whole))),
                         n < 16 ? bad : dropped(DropReason::kTruncatedTransport)});
    }
    return cases;
}

std::vector<PacketCase> ipv6_fragments() {
    const auto part = [](uint16_t offset, bool more, size_t length, uint8_t protocol = 17) {
        Layer header = fragment6(offset, more).proto(protocol);
        return in(link() / v6() / std::move(header) / raw(counting(length)));
    };
    const Expectation bad = dropped(DropReason::kBadFragment);
    return {
        {"passes an atomic fragment", kVm1,
         in(link() / v6() / fragment6(0, false) / udp(1, 2).checksum(7)),
         to_vm2(v6().proto(44), fragment6(0, false) / udp(1, 2).checksum(7))},
        {"passes a first fragment", kVm1,
         in(link() / v6() / fragment6(0, true) / udp(1, 2).length(999).checksum(7)),
         to_vm2(v6().proto(44), fragment6(0, true) / udp(1, 2).length(999).checksum(7))},
        {"passes a later fragment without looking inside", kVm1, part(64, false, 5),
         to_vm2(v6().proto(44), fragment6(64, false).proto(17) / raw(counting(5)))},
        {"refuses a middle fragment that is no multiple of 8", kVm1, part(64, true, 15), bad},
        {"refuses an empty fragment", kVm1, part(64, true, 0), bad},
        {"refuses a fragment beyond 65535 bytes", kVm1, part(65528, false, 8), bad},
        {"refuses a fragment over the TCP flags", kVm1, part(8, false, 16, 6), bad},
        {"refuses a first fragment without its transport header", kVm1, part(0, true, 8, 6),
         dropped(DropReason::kTruncatedTransport)},
        {"refuses a first fragment that ends in its header chain", kVm1,
         in(link() / v6() / fragment6(0, true).proto(60) / raw({17, 2, 1, 4, 0, 0, 0, 0})),
         dropped(DropReason::kBadExtensionHeader)},
    };
}

// A header of every protocol, cut at every length, by the lengths in the IP header.
std::vector<PacketCase> transports() {
    const Expectation cut = dropped(DropReason::kTruncatedTransport);
    const Expectation bad = dropped(DropReason::kBadTransportHeader);
    std::vector<PacketCase> cases = {
        {"refuses a TCP data offset below 5", kVm1, in(link() / v4() / tcp(1, 2).set(12, {0x40})),
         bad},
        {"refuses a TCP data offset beyond the packet", kVm1,
         in(link() / v4() / tcp(1, 2).set(12, {0x60})), cut},
        {"refuses a UDP length below 8", kVm1, in(link() / v4() / udp(1, 2).length(7)), bad},
        {"refuses a UDP length beyond the packet", kVm1, in(link() / v4() / udp(1, 2).length(9)),
         bad},
        {"refuses an IPv6 TCP data offset below 5", kVm1,
         in(link() / v6() / tcp(1, 2).set(12, {0x00})), bad},
        {"refuses an IPv6 UDP length of zero", kVm1, in(link() / v6() / udp(1, 2).length(0)), bad},
    };
    const auto add = [&](const char* name, uint8_t protocol, const Bytes& header, bool ipv6) {
        for (size_t n = 0; n < header.size(); ++n) {
            Layer ip = ipv6 ? v6() : v4();
            cases.push_back({"refuses " + std::to_string(n) + " bytes of " + name, kVm1,
                             in(link() / ip.proto(protocol) / raw(first(n, header))), cut});
        }
    };
    add("TCP", 6, tcp(1, 2).header, false);
    add("UDP", 17, udp(1, 2).header, false);
    add("ICMP", 1, icmp4(8, 0).header, false);
    add("SCTP", 132, Bytes(16), false);
    add("TCP over IPv6", 6, tcp(1, 2).header, true);
    add("UDP over IPv6", 17, udp(1, 2).header, true);
    add("ICMPv6", 58, icmp6(128, 0).header, true);
    add("SCTP over IPv6", 132, Bytes(16), true);
    return cases;
}

// Without port security, so that the parser alone judges.
std::vector<PacketCase> martians() {
    const auto from = [](std::string_view source, std::string_view destination) {
        return in(eth(kVm4Mac, kGatewayMac) /
                  (source.find(':') != source.npos ? ip6(source, destination)
                                                   : ip4(source, destination)) /
                  udp(1, 2));
    };
    const Expectation source = dropped(DropReason::kBadSourceAddress);
    const Expectation destination = dropped(DropReason::kBadDestinationAddress);
    return {
        {"refuses the source 0.0.0.0", kVm4, from("0.0.0.0", "10.0.0.2"), source},
        {"refuses the source 0.0.0.0 to broadcast", kVm4, from("0.0.0.0", "255.255.255.255"),
         source},
        {"refuses the source 0.1.2.3", kVm4, from("0.1.2.3", "10.0.0.2"), source},
        {"refuses the source 127.0.0.1", kVm4, from("127.0.0.1", "10.0.0.2"), source},
        {"refuses the source 224.0.0.1", kVm4, from("224.0.0.1", "10.0.0.2"), source},
        {"refuses the source 240.0.0.1", kVm4, from("240.0.0.1", "10.0.0.2"), source},
        {"refuses the source 255.255.255.255", kVm4, from("255.255.255.255", "10.0.0.2"), source},
        {"refuses the source ::", kVm4, from("::", "2001:db8::2"), source},
        {"refuses the source :: to a group", kVm4, from("::", "ff02::1"), source},
        {"refuses the source ::1", kVm4, from("::1", "2001:db8::2"), source},
        {"refuses the source ff02::1", kVm4, from("ff02::1", "2001:db8::2"), source},
        {"refuses the source ::ffff:10.0.0.1", kVm4, from("::ffff:10.0.0.1", "2001:db8::2"),
         source},
        {"refuses the destination 0.0.0.0", kVm4, from("10.0.0.4", "0.0.0.0"), destination},
        {"refuses the destination 127.0.0.1", kVm4, from("10.0.0.4", "127.0.0.1"), destination},
        {"refuses the destination 240.0.0.1", kVm4, from("10.0.0.4", "240.0.0.1"), destination},
        {"refuses the destination ::", kVm4, from("2001:db8::4", "::"), destination},
        {"refuses the destination ::1", kVm4, from("2001:db8::4", "::1"), destination},
        {"refuses the destination ::ffff:10.0.0.2", kVm4, from("2001:db8::4", "::ffff:10.0.0.2"),
         destination},
    };
}

S32_PACKET_CASES(Ethernet, ethernet());
S32_PACKET_CASES(Ipv4Headers, ipv4_headers());
S32_PACKET_CASES(Ipv4Options, ipv4_options());
S32_PACKET_CASES(Ipv4Fragments, ipv4_fragments());
S32_PACKET_CASES(Ipv6Headers, ipv6_headers());
S32_PACKET_CASES(Ipv6Extensions, extension_headers());
S32_PACKET_CASES(Ipv6Fragments, ipv6_fragments());
S32_PACKET_CASES(Transports, transports());
S32_PACKET_CASES(Martians, martians());

}  // namespace
}  // namespace slash32::test
