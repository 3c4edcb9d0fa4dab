// SPDX-License-Identifier: Apache-2.0
// Segment routing: tunnels, and segments of the node.
#include "tests/cases/segment_lab.h"

namespace slash32::test {
namespace {

std::vector<PacketCase> tunnels() {
    const Layer v4 = ip4("10.7.0.1", "10.7.0.9");
    const Layer v4_on = ip4("10.7.0.1", "10.7.0.9").ttl(63);
    const Layer v6 = ip6("2001:db8:7::1", "2001:db8:7::9");
    const Layer v6_on = ip6("2001:db8:7::1", "2001:db8:7::9").ttl(63);
    const std::vector<std::string> two{"fc00:0:5::", kRemote};
    const std::vector<std::string> eight{"fc00:0:11::", "fc00:0:12::", "fc00:0:13::", "fc00:0:14::",
                                         "fc00:0:15::", "fc00:0:16::", "fc00:0:17::", kRemote};
    const std::vector<std::string> eight_listed{
        kRemote,       "fc00:0:17::", "fc00:0:16::", "fc00:0:15::",
        "fc00:0:14::", "fc00:0:13::", "fc00:0:12::", "fc00:0:11::"};
    return {
        {"H.Encaps.Red of IPv4 by one segment has no SRH", kVm3,
         in(from_vm() / v4 / udp(1, 2) / raw(counting(9))),
         tunnelled(kUplink,
                   to_fabric() / ip6(kSource, kRemote) / v4_on / udp(1, 2) / raw(counting(9))),
         tenant},
        {"H.Encaps.Red of IPv6 by one segment has no SRH", kVm3,
         in(from_vm() / v6 / tcp(1, 2) / raw(counting(9))),
         tunnelled(kUplink,
                   to_fabric() / ip6(kSource, kRemote) / v6_on / tcp(1, 2) / raw(counting(9))),
         tenant},
        {"H.Encaps.Red by two segments lists the last", kVm3, in(from_vm() / v4 / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, "fc00:0:5::") / srh(1, {kRemote}) / v4_on /
                                udp(1, 2)),
         by_tunnel(path(two))},
        {"H.Encaps by one segment has an SRH", kVm3, in(from_vm() / v4 / udp(1, 2)),
         tunnelled(kUplink,
                   to_fabric() / ip6(kSource, kRemote) / srh(0, {kRemote}) / v4_on / udp(1, 2)),
         by_tunnel(path({kRemote}, false))},
        {"H.Encaps by two segments lists both", kVm3, in(from_vm() / v6 / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, "fc00:0:5::") /
                                srh(1, {kRemote, "fc00:0:5::"}) / v6_on / udp(1, 2)),
         by_tunnel(path(two, false))},
        {"H.Encaps by eight segments, more than the headroom takes", kVm3,
         in(from_vm() / v4 / udp(1, 2) / raw(counting(100))),
         tunnelled(kUplink, to_fabric() / ip6(kSource, "fc00:0:11::") / srh(7, eight_listed) /
                                v4_on / udp(1, 2) / raw(counting(100))),
         by_tunnel(path(eight, false))},
        {"copies DSCP and ECN into the tunnel", kVm3,
         in(from_vm() / ip4("10.7.0.1", "10.7.0.9").tos(0xbb) / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, kRemote).traffic_class(0xbb) /
                                ip4("10.7.0.1", "10.7.0.9").tos(0xbb).ttl(63) / udp(1, 2)),
         tenant},
        {"copies the traffic class of IPv6", kVm3,
         in(from_vm() / ip6("2001:db8:7::1", "2001:db8:7::9").traffic_class(0xb9) / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, kRemote).traffic_class(0xb9) /
                                ip6("2001:db8:7::1", "2001:db8:7::9").traffic_class(0xb9).ttl(63) /
                                udp(1, 2)),
         tenant},
        {"sets DSCP and copies ECN where it is told to", kVm3,
         in(from_vm() / ip4("10.7.0.1", "10.7.0.9").tos(0xbb) / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, kRemote).traffic_class(0x2b) /
                                ip4("10.7.0.1", "10.7.0.9").tos(0xbb).ttl(63) / udp(1, 2)),
         by_tunnel(path({kRemote}), {.source = settings().source, .hop_limit = 64, .dscp = 10})},
        {"copies the hop limit where it is told to", kVm3,
         in(from_vm() / ip4("10.7.0.1", "10.7.0.9").ttl(9) / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, kRemote).ttl(8) /
                                ip4("10.7.0.1", "10.7.0.9").ttl(8) / udp(1, 2)),
         by_tunnel(path({kRemote}), {.source = settings().source, .hop_limit = 0, .dscp = {}})},
        {"fills the checksum that the VM left open",
         kVm3,
         {.bytes = (from_vm() / v4 / udp(1, 2).partial() / raw(counting(30))).bytes(),
          .rx_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE},
         tunnelled(kUplink,
                   to_fabric() / ip6(kSource, kRemote) / v4_on / udp(1, 2) / raw(counting(30))),
         tenant},
        {"carries echo between a tenant's VMs", kVm3,
         in(from_vm() / v6 / icmp6(128, 0, 7) / raw(counting(8))),
         tunnelled(kUplink, to_fabric() / ip6(kSource, kRemote) / v6_on / icmp6(128, 0, 7) /
                                raw(counting(8))),
         tenant},
        {"answers what the tunnel is too small for, with the inner MTU", kVm3,
         in(from_vm() / ip4("10.7.0.1", "10.7.0.9").df() / udp(1, 2) / raw(Bytes(1433))),
         refused(DropReason::kTooBig, kVm3,
                 to_vm3() / ip4("10.0.0.254", "10.7.0.1").tos(0xc0).df() / icmp4(3, 4, 1460) /
                     raw(first(548, (from_vm() / ip4("10.7.0.1", "10.7.0.9").df() / udp(1, 2) /
                                     raw(Bytes(1433)))
                                        .payload()))),
         tenant},
        {"answers what the tunnel is too small for, of IPv6", kVm3,
         in(from_vm() / v6 / udp(1, 2) / raw(Bytes(1413))),
         refused(DropReason::kTooBig, kVm3,
                 to_vm3() / ip6("fe80::1", "2001:db8:7::1") / icmp6(2, 0, 1460) /
                     raw(first(1232, (from_vm() / v6 / udp(1, 2) / raw(Bytes(1413))).payload()))),
         tenant},
        {"refuses a tunnel whose first segment has no route", kVm3, in(from_vm() / v4 / udp(1, 2)),
         refused(DropReason::kNoSegmentRoute, kVm3,
                 to_vm3() / ip4("10.0.0.254", "10.7.0.1").tos(0xc0).df() / icmp4(3, 0) /
                     raw((from_vm() / v4 / udp(1, 2)).payload())),
         [](Lab& lab) {
             tenant(lab);
             lab.adjacency(kTunnel).underlay = kNoNextHop;
         }},
    };
}

S32_PACKET_CASES(SegmentTunnels, tunnels());

std::vector<PacketCase> ends_of_tunnels() {
    const Layer v4 = ip4("10.7.0.9", "10.7.0.1");
    const Layer v4_on = ip4("10.7.0.9", "10.7.0.1").ttl(63);
    const Layer v6 = ip6("2001:db8:7::9", "2001:db8:7::1");
    const Layer v6_on = ip6("2001:db8:7::9", "2001:db8:7::1").ttl(63);
    const auto dt46 = with_sid(lookup(SidBehavior::kEndDt46));
    const Packet arrived4 = to_vm3() / v4_on / udp(1, 2) / raw(counting(9));
    const auto refuse = [](const char* shows, const Packet& packet, DropReason why,
                           const std::function<void(Lab&)>& setup) {
        return PacketCase{shows, kUplink, in(packet), dropped(why), setup};
    };
    return {
        {"End.DT46 takes IPv4 out of the tunnel", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / v4 / udp(1, 2) / raw(counting(9))),
         sent(kVm3, arrived4), dt46},
        {"End.DT46 takes IPv6 out of the tunnel", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / v6 / udp(1, 2) / raw(counting(9))),
         sent(kVm3, to_vm3() / v6_on / udp(1, 2) / raw(counting(9))), dt46},
        {"End.DT46 takes an SRH off whose segments are done", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs, "fc00:0:5::"}) / v4 / udp(1, 2) /
            raw(counting(9))),
         sent(kVm3, arrived4), dt46},
        {"End.DT46 takes hop-by-hop and destination options off", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / options6(0) / srh(0, {kOurs}) / options6(60) / v4 /
            udp(1, 2) / raw(counting(9))),
         sent(kVm3, arrived4), dt46},
        {"End.DT4 takes IPv4 out of the tunnel", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / v4 / udp(1, 2) / raw(counting(9))),
         sent(kVm3, arrived4), with_sid(lookup(SidBehavior::kEndDt4))},
        {"End.DT6 takes IPv6 out of the tunnel", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / v6 / udp(1, 2)),
         sent(kVm3, to_vm3() / v6_on / udp(1, 2)), with_sid(lookup(SidBehavior::kEndDt6))},
        told("End.DT4 refuses IPv6", from_fabric() / ip6(kPeer, kOurs) / v6 / udp(1, 2),
             DropReason::kSegmentPayload, kBadUpperLayer, 40,
             with_sid(lookup(SidBehavior::kEndDt4))),
        told("End.DT6 refuses IPv4", from_fabric() / ip6(kPeer, kOurs) / v4 / udp(1, 2),
             DropReason::kSegmentPayload, kBadUpperLayer, 40,
             with_sid(lookup(SidBehavior::kEndDt6))),
        told("End.DT46 refuses what is no tunnel", from_fabric() / ip6(kPeer, kOurs) / udp(1, 2),
             DropReason::kSegmentPayload, kBadUpperLayer, 40, dt46),
        told("End.DT46 refuses what is no tunnel, behind an SRH",
             from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs}) / udp(1, 2),
             DropReason::kSegmentPayload, kBadUpperLayer, 40 + 24, dt46),
        told("End.DT46 refuses Ethernet in the tunnel",
             from_fabric() / ip6(kPeer, kOurs).proto(143) / raw(Bytes(60)),
             DropReason::kSegmentPayload, kBadUpperLayer, 40, dt46),
        told("End.DT46 refuses an SRH with segments left",
             from_fabric() / ip6(kPeer, kOurs) / srh(1, {"fc00:0:5::", kOurs}) / v4 / udp(1, 2),
             DropReason::kSegmentsLeft, kBadField, kSegmentsLeftAt, dt46),
        told("End.DT46 refuses an SRH with segments left, behind options",
             from_fabric() / ip6(kPeer, kOurs) / options6(0) / srh(1, {"fc00:0:5::", kOurs}) / v4 /
                 udp(1, 2),
             DropReason::kSegmentsLeft, kBadField, kSegmentsLeftAt + 8, dt46),
        refuse("no error answers an error", from_fabric() / ip6(kPeer, kOurs) / icmp6(4, 4, 40),
               DropReason::kSegmentPayload, dt46),
        refuse(
            "End.DT46 refuses parts of an outer packet",
            from_fabric() / ip6(kPeer, kOurs) / fragment6(0, true) / v4 / udp(1, 2) / raw(Bytes(4)),
            DropReason::kSegmentPayload, dt46),
        refuse(
            "refuses a bad inner header",
            from_fabric() / ip6(kPeer, kOurs) / ip4("10.7.0.9", "10.7.0.1").checksum(1) / udp(1, 2),
            DropReason::kBadIpv4Checksum, dt46),
        refuse("refuses an inner packet longer than the outer",
               from_fabric() / ip6(kPeer, kOurs) / ip4("10.7.0.9", "10.7.0.1").length(200) /
                   udp(1, 2).length(180),
               DropReason::kTruncatedIpv4, dt46),
        refuse("refuses an inner group address",
               from_fabric() / ip6(kPeer, kOurs) / ip4("10.7.0.9", "224.0.0.5") / udp(1, 2),
               DropReason::kMulticast, dt46),
        refuse("refuses an inner link-local address",
               from_fabric() / ip6(kPeer, kOurs) / ip6("fe80::9", "2001:db8:7::1") / udp(1, 2),
               DropReason::kLinkLocal, dt46),
        refuse("an address of another VRF is none of this one's",
               from_fabric() / ip6(kPeer, kOurs) / ip4("224.0.0.1", "10.0.0.1") / udp(1, 2),
               DropReason::kBadSourceAddress, dt46),
        {"marks congestion that the outer packet has met", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs).traffic_class(3) /
            ip4("10.7.0.9", "10.7.0.1").tos(0xb9) / udp(1, 2)),
         sent(kVm3, to_vm3() / ip4("10.7.0.9", "10.7.0.1").tos(0xbb).ttl(63) / udp(1, 2)), dt46},
        {"marks congestion in IPv6", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs).traffic_class(3) /
            ip6("2001:db8:7::9", "2001:db8:7::1").traffic_class(0x46) / udp(1, 2)),
         sent(kVm3, to_vm3() / ip6("2001:db8:7::9", "2001:db8:7::1").traffic_class(0x47).ttl(63) /
                        udp(1, 2)),
         dt46},
        {"keeps the inner DSCP", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs).traffic_class(0x28) /
            ip4("10.7.0.9", "10.7.0.1").tos(0xb8) / udp(1, 2)),
         sent(kVm3, to_vm3() / ip4("10.7.0.9", "10.7.0.1").tos(0xb8).ttl(63) / udp(1, 2)), dt46},
        refuse("refuses congestion met by a packet that knows no marks",
               from_fabric() / ip6(kPeer, kOurs).traffic_class(3) / v4 / udp(1, 2),
               DropReason::kEcnMismatch, dt46),
        {"an error about a packet of a tunnel goes back into one",
         kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / ip4("10.7.0.9", "10.7.0.1").ttl(1) / udp(1, 2)),
         {.outputs =
              {{kUplink,
                (to_fabric() / ip6(kSource, kRemote).traffic_class(0xc0) /
                 ip4("10.0.0.254", "10.7.0.9").tos(0xc0).df() / icmp4(11, 0) /
                 raw((from_fabric() / ip4("10.7.0.9", "10.7.0.1").ttl(1) / udp(1, 2)).payload()))
                    .bytes()}},
          .drop = DropReason::kHopLimit,
          .injected = 1,
          .any_flow_label = true},
         [dt46](Lab& lab) {
             dt46(lab);
             lab.port(kUplink).gateway4 = parse_ip("10.0.0.254")->ipv4();
         }},
        {"End.DX4 leads to its machine without a lookup", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / ip4("10.7.0.9", "192.0.2.77") / udp(1, 2)),
         sent(kVm3, to_vm3() / ip4("10.7.0.9", "192.0.2.77").ttl(63) / udp(1, 2)),
         with_sid({.behavior = SidBehavior::kEndDx4, .vrf = kTenant, .next_hop = kHopVm3})},
        {"End.DX6 leads to its machine without a lookup", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / ip6("2001:db8:7::9", "2001:db8:77::1") / udp(1, 2)),
         sent(kVm3, to_vm3() / ip6("2001:db8:7::9", "2001:db8:77::1").ttl(63) / udp(1, 2)),
         with_sid({.behavior = SidBehavior::kEndDx6, .vrf = kTenant, .next_hop = kHopVm3})},
        told("End.DX4 refuses IPv6", from_fabric() / ip6(kPeer, kOurs) / v6 / udp(1, 2),
             DropReason::kSegmentPayload, kBadUpperLayer, 40,
             with_sid({.behavior = SidBehavior::kEndDx4, .vrf = kTenant, .next_hop = kHopVm3})),
    };
}

S32_PACKET_CASES(SegmentTunnelEnds, ends_of_tunnels());

LocalSid compressed(SidBehavior behavior, uint8_t csid_bits) {
    return {.behavior = behavior,
            .flavors = kSidNextCsid,
            .block_bits = 32,
            .csid_bits = csid_bits,
            .next_hop = behavior == SidBehavior::kEndX ? kHopUplink : kNoNextHop};
}

std::vector<PacketCase> endpoints() {
    const Layer inner = ip4("10.7.0.9", "10.7.0.1");
    const char* const next = "fc00:0:5::";
    const auto end = with_sid(endpoint());
    const Packet on =
        to_fabric() / ip6(kPeer, next).ttl(63) / srh(0, {next, kOurs}) / inner / udp(1, 2);
    const auto refuse = [](const char* shows, const Packet& packet, DropReason why,
                           const std::function<void(Lab&)>& setup) {
        return PacketCase{shows, kUplink, in(packet), dropped(why), setup};
    };
    const auto two_left =
        from_fabric() / ip6(kPeer, kOurs) / srh(2, {kRemote, next, kOurs}) / inner / udp(1, 2);
    const auto one_left =
        from_fabric() / ip6(kPeer, kOurs) / srh(1, {next, kOurs}) / inner / udp(1, 2);
    const auto none_left = from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs}) / inner / udp(1, 2);
    return {
        {"End goes on to the next segment", kUplink, in(one_left), sent(kUplink, on), end},
        {"End of a reduced SRH goes on to the first that is listed", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(1, {next}) / inner / udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, next).ttl(63) / srh(0, {next}) / inner / udp(1, 2)),
         end},
        {"End keeps TLVs", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) /
            srh(1, {next, kOurs}, Bytes{4, 6, 0, 0, 0, 0, 0, 0}) / inner / udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, next).ttl(63) /
                           srh(0, {next, kOurs}, Bytes{4, 6, 0, 0, 0, 0, 0, 0}) / inner /
                           udp(1, 2)),
         end},
        {"PSP takes the SRH off for the last segment", kUplink, in(one_left),
         sent(kUplink, to_fabric() / ip6(kPeer, next).ttl(63) / inner / udp(1, 2)),
         with_sid(endpoint(kSidPsp))},
        {"PSP leaves the SRH before the last but one", kUplink, in(two_left),
         sent(kUplink, to_fabric() / ip6(kPeer, next).ttl(63) / srh(1, {kRemote, next, kOurs}) /
                           inner / udp(1, 2)),
         with_sid(endpoint(kSidPsp))},
        {"PSP takes the SRH from among other headers", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / options6(0) / srh(1, {next, kOurs}) / options6(60) /
            inner / udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, next).ttl(63) / options6(0) / options6(60) / inner /
                           udp(1, 2)),
         with_sid(endpoint(kSidPsp))},
        {"USD takes the packet out of the tunnel", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs}) / ip4("10.7.0.9", "10.0.0.1") /
            udp(1, 2)),
         sent(kVm1, eth(kGatewayMac, kVm1Mac) / ip4("10.7.0.9", "10.0.0.1").ttl(63) / udp(1, 2)),
         with_sid(endpoint(kSidUsd))},
        {"USD without an SRH does as well", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / ip6("2001:db8:7::9", "2001:db8::1") / udp(1, 2)),
         sent(kVm1,
              eth(kGatewayMac, kVm1Mac) / ip6("2001:db8:7::9", "2001:db8::1").ttl(63) / udp(1, 2)),
         with_sid(endpoint(kSidUsd))},
        {"USP gives the host what is for the node", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs}) / udp(1, 2)),
         sent(kHostView, from_fabric() / ip6(kPeer, kOurs) / udp(1, 2)),
         [](Lab& lab) {
             with_sid(endpoint(kSidUsp))(lab);
             lab.add_host_view();
         }},
        told("USP without a host has nobody to give it to", none_left, DropReason::kSegmentPayload,
             kBadUpperLayer, 40 + 24, with_sid(endpoint(kSidUsp))),
        told("End refuses the last segment", none_left, DropReason::kSegmentPayload, kBadUpperLayer,
             40 + 24, end),
        told("End refuses what has no SRH", from_fabric() / ip6(kPeer, kOurs) / inner / udp(1, 2),
             DropReason::kSegmentPayload, kBadUpperLayer, 40, end),
        {"End.X goes on over its link", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(1, {"2001:db8:dead::", kOurs}) / inner /
            udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, "2001:db8:dead::").ttl(63) /
                           srh(0, {"2001:db8:dead::", kOurs}) / inner / udp(1, 2)),
         with_sid({.behavior = SidBehavior::kEndX, .next_hop = kHopUplink})},
        {"End.X with USD sends the inner packet over its link", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs}) / ip4("10.7.0.9", "192.0.2.77") /
            udp(1, 2)),
         sent(kUplink, to_fabric() / ip4("10.7.0.9", "192.0.2.77").ttl(63) / udp(1, 2)),
         with_sid({.behavior = SidBehavior::kEndX, .flavors = kSidUsd, .next_hop = kHopUplink})},
        {"End leads to another segment of this node", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(1, {"fc00:0:1:8::", kOurs}) / inner /
            udp(1, 2)),
         sent(kVm3, to_vm3() / ip4("10.7.0.9", "10.7.0.1").ttl(63) / udp(1, 2)),
         [end](Lab& lab) {
             end(lab);
             lab.add_sid(NextHopId{31}, "fc00:0:1:8::", lookup(SidBehavior::kEndDt46));
         }},
        {"uN goes on to the next compressed segment", kUplink,
         in(from_fabric() / ip6(kPeer, "fc00:0:1:5:7::") / inner / udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, "fc00:0:5:7::").ttl(63) / inner / udp(1, 2)),
         with_sid(compressed(SidBehavior::kEnd, 16), "fc00:0:1::/48")},
        {"uN at the end of its container goes on by the SRH", kUplink,
         in(from_fabric() / ip6(kPeer, "fc00:0:1::") / srh(1, {next, "fc00:0:1::"}) / inner /
            udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, next).ttl(63) / srh(0, {next, "fc00:0:1::"}) /
                           inner / udp(1, 2)),
         with_sid(compressed(SidBehavior::kEnd, 16), "fc00:0:1::/48")},
        {"uN and uDT46 of one node, one behind the other", kUplink,
         in(from_fabric() / ip6(kPeer, "fc00:0:1:e007::") / inner / udp(1, 2)),
         sent(kVm3, to_vm3() / ip4("10.7.0.9", "10.7.0.1").ttl(63) / udp(1, 2)),
         [](Lab& lab) {
             with_sid(compressed(SidBehavior::kEnd, 16), "fc00:0:1::/48")(lab);
             lab.add_sid(NextHopId{31}, "fc00:0:e007::/48", lookup(SidBehavior::kEndDt46));
         }},
        {"uDT46 by node and function", kUplink,
         in(from_fabric() / ip6(kPeer, "fc00:0:1:e007::") / inner / udp(1, 2)),
         sent(kVm3, to_vm3() / ip4("10.7.0.9", "10.7.0.1").ttl(63) / udp(1, 2)),
         with_sid(lookup(SidBehavior::kEndDt46), "fc00:0:1:e007::/64")},
        {"uA goes on over its link", kUplink,
         in(from_fabric() / ip6(kPeer, "fc00:0:1:e001:dead::") / inner / udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, "fc00:0:dead::").ttl(63) / inner / udp(1, 2)),
         with_sid(compressed(SidBehavior::kEndX, 32), "fc00:0:1:e001::/64")},
        told("refuses an SRH that is shorter than its list",
             from_fabric() / ip6(kPeer, kOurs) / srh(1, {next}).set(4, {3}) / inner / udp(1, 2),
             DropReason::kBadSegmentHeader, kBadField, kSegmentsLeftAt, end),
        told("refuses an SRH with more segments left than it has",
             from_fabric() / ip6(kPeer, kOurs) / srh(3, {next, kOurs}) / inner / udp(1, 2),
             DropReason::kBadSegmentHeader, kBadField, kSegmentsLeftAt, end),
        told("refuses an SRH of half a segment",
             from_fabric() / ip6(kPeer, kOurs) / routing6(4, 0, Bytes(12)) / inner / udp(1, 2),
             DropReason::kBadSegmentHeader, kBadField, kSegmentsLeftAt, end),
        told("refuses an SRH whose TLV is too long",
             from_fabric() / ip6(kPeer, kOurs) /
                 srh(1, {next, kOurs}, Bytes{5, 7, 0, 0, 0, 0, 0, 0}) / inner / udp(1, 2),
             DropReason::kBadSegmentHeader, kBadField, kSegmentsLeftAt, end),
        refuse("refuses an SRH that exceeds the packet",
               from_fabric() / ip6(kPeer, kOurs) / srh(1, {next, kOurs}).set(1, {40}),
               DropReason::kBadExtensionHeader, end),
        refuse("refuses what is in the locator but no segment",
               from_fabric() / ip6(kPeer, "fc00:0:1:99::") / inner / udp(1, 2),
               DropReason::kUnknownSegment,
               with_sid({.behavior = SidBehavior::kUnknown}, "fc00:0:1::/48")),
        {"ends a path that goes round within the node, which the error quotes as it came to be",
         kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / srh(1, {kOurs, kOurs}) / inner / udp(1, 2)),
         told("", from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs, kOurs}) / inner / udp(1, 2),
              DropReason::kSegmentPayload, kBadUpperLayer, 40 + 40, end)
             .expected,
         end},
        {"forwards what is for another node's segment", kUplink,
         in(from_fabric() / ip6(kPeer, kRemote) / srh(1, {next, kRemote}) / inner / udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, kRemote).ttl(63) / srh(1, {next, kRemote}) / inner /
                           udp(1, 2)),
         tenant},
    };
}

S32_PACKET_CASES(SegmentEndpoints, endpoints());

}  // namespace
}  // namespace slash32::test
