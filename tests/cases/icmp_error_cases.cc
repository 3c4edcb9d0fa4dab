// SPDX-License-Identifier: Apache-2.0
// ICMP errors: when, from whom, what they quote, and when not. RFC 792, RFC 1191, RFC 1812 section
// 4.3.2, RFC 4443 section 2.4.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

Layer link() {
    return eth(kVm1Mac, kGatewayMac);
}
Layer v4(std::string_view to) {
    return ip4("10.0.0.1", to);
}
Layer v6(std::string_view to) {
    return ip6("2001:db8::1", to);
}

// What vm1 gets about `packet`.
Packet error4(uint8_t type, uint8_t code, uint32_t rest, const Packet& packet) {
    return eth(kGatewayMac, kVm1Mac) / ip4("10.0.0.254", "10.0.0.1").tos(0xc0).df() /
           icmp4(type, code, rest) / raw(first(548, packet.payload()));
}
Packet error6(uint8_t type, uint8_t code, uint32_t rest, const Packet& packet) {
    return eth(kGatewayMac, kVm1Mac) / ip6("fe80::1", "2001:db8::1") / icmp6(type, code, rest) /
           raw(first(1232, packet.payload()));
}
PacketCase about4(std::string shows, DropReason reason, uint8_t type, uint8_t code,
                  const Packet& packet, uint32_t rest = 0) {
    return {std::move(shows), kVm1, in(packet),
            refused(reason, kVm1, error4(type, code, rest, packet))};
}
PacketCase about6(std::string shows, DropReason reason, uint8_t type, uint8_t code,
                  const Packet& packet, uint32_t rest = 0) {
    return {std::move(shows), kVm1, in(packet),
            refused(reason, kVm1, error6(type, code, rest, packet))};
}
PacketCase silent(std::string shows, DropReason reason, const Packet& packet) {
    return {std::move(shows), kVm1, in(packet), dropped(reason)};
}

std::vector<PacketCase> errors() {
    return {
        about4("tells of an expired TTL", DropReason::kHopLimit, 11, 0,
               link() / v4("10.0.0.2").ttl(1) / udp(1, 33434) / raw(counting(20))),
        about4("tells of a TTL of zero", DropReason::kHopLimit, 11, 0,
               link() / v4("10.0.0.2").ttl(0) / udp(1, 33434)),
        about4("tells of an expired TTL of echo", DropReason::kHopLimit, 11, 0,
               link() / v4("10.0.0.2").ttl(1) / icmp4(8, 0, 1)),
        about4("tells of an expired TTL of a first fragment", DropReason::kHopLimit, 11, 0,
               link() / v4("10.0.0.2").ttl(1).fragment(0, true) / udp(1, 2).length(99)),
        about4("tells of an expired TTL with options", DropReason::kHopLimit, 11, 0,
               link() / ip4("10.0.0.1", "10.0.0.2", {1, 1, 1, 0}).ttl(1) / udp(1, 2)),
        about6("tells of an expired hop limit", DropReason::kHopLimit, 3, 0,
               link() / v6("2001:db8::2").ttl(1) / udp(1, 33434) / raw(counting(20))),
        about6("tells of an expired hop limit of echo", DropReason::kHopLimit, 3, 0,
               link() / v6("2001:db8::2").ttl(1) / icmp6(128, 0, 1)),
        about6("tells of an expired hop limit behind extensions", DropReason::kHopLimit, 3, 0,
               link() / v6("2001:db8::2").ttl(1) / options6(60) / udp(1, 2)),
        about4("tells of a missing route", DropReason::kNoRoute, 3, 0,
               link() / v4("10.77.0.1") / udp(1, 2)),
        about6("tells of a missing IPv6 route", DropReason::kNoRoute, 1, 0,
               link() / v6("2001:db8:77::1") / udp(1, 2)),
        about4("tells of an unreachable route", DropReason::kUnreachable, 3, 1,
               link() / v4("203.0.113.65") / tcp(1, 2)),
        about6("tells of an unreachable IPv6 route", DropReason::kUnreachable, 1, 3,
               link() / v6("2001:db8:bad:1::1") / tcp(1, 2)),
        about4("tells of an unknown neighbour", DropReason::kNoNeighbour, 3, 1,
               link() / v4("203.0.113.129") / tcp(1, 2)),
        about6("tells of an unknown IPv6 neighbour", DropReason::kNoNeighbour, 1, 3,
               link() / v6("2001:db8:bad:2::1") / tcp(1, 2)),
        about4("tells the MTU where DF is set", DropReason::kTooBig, 3, 4,
               link() / v4("10.0.0.2").df() / udp(1, 2) / raw(counting(1473)), 1500),
        about6("tells the MTU", DropReason::kTooBig, 2, 0,
               link() / v6("2001:db8::2") / udp(1, 2) / raw(counting(1453)), 1500),
        about4("quotes no more than fits in 576 bytes", DropReason::kNoRoute, 3, 0,
               link() / v4("10.77.0.1") / udp(1, 2) / raw(counting(1400))),
        about6("quotes no more than fits in 1280 bytes", DropReason::kNoRoute, 1, 0,
               link() / v6("2001:db8:77::1") / udp(1, 2) / raw(counting(1400))),
        {"tells the uplink from its own address", kUplink,
         in(eth(kNeighbourMac, kUplinkMac) / ip4("198.51.100.7", "10.77.0.1") / udp(1, 2)),
         refused(
             DropReason::kNoRoute, kUplink,
             eth(kUplinkMac, kNeighbourMac) / ip4("192.0.2.1", "198.51.100.7").tos(0xc0).df() /
                 icmp4(3, 0) /
                 raw((eth(kNeighbourMac, kUplinkMac) / ip4("198.51.100.7", "10.77.0.1") / udp(1, 2))
                         .payload()))},
    };
}

std::vector<PacketCase> silences() {
    std::vector<PacketCase> cases;
    for (const uint8_t type : Bytes{3, 4, 5, 11, 12}) {
        cases.push_back(silent("sends no error about ICMP type " + std::to_string(type),
                               DropReason::kHopLimit,
                               link() / v4("10.0.0.2").ttl(1) / icmp4(type, 0) / raw(Bytes(28))));
    }
    for (const uint8_t type : Bytes{1, 2, 3, 4, 100, 127}) {
        cases.push_back(silent(
            "sends no error about ICMPv6 type " + std::to_string(type), DropReason::kHopLimit,
            link() / v6("2001:db8::2").ttl(1) / icmp6(type, 0) / raw(Bytes(48))));
    }
    cases.push_back(
        silent("sends no error about a later fragment", DropReason::kHopLimit,
               link() / v4("10.0.0.2").ttl(1).fragment(64, false).proto(17) / raw(Bytes(8))));
    cases.push_back(
        silent("sends no error about a later IPv6 fragment", DropReason::kHopLimit,
               link() / v6("2001:db8::2").ttl(1) / fragment6(64, false).proto(17) / raw(Bytes(8))));
    cases.push_back(
        silent("sends no error about a packet to a group", DropReason::kMulticast,
               eth(kVm1Mac, mac("01:00:5e:00:00:05")) / v4("224.0.0.5").ttl(1) / udp(1, 2)));
    cases.push_back(silent("sends no error about a packet in a broadcast frame",
                           DropReason::kBroadcast,
                           eth(kVm1Mac, kBroadcastMac) / v4("10.0.0.254") / udp(1, 2)));
    PacketCase limited = silent("limits the rate of errors", DropReason::kIcmpRateLimited,
                                link() / v4("10.0.0.2").ttl(1) / udp(1, 2));
    limited.setup = [](Lab& lab) { lab.set_icmp_rate(1, 0); };
    cases.push_back(limited);
    return cases;
}

S32_PACKET_CASES(IcmpErrors, errors());
S32_PACKET_CASES(IcmpSilence, silences());

}  // namespace
}  // namespace slash32::test
