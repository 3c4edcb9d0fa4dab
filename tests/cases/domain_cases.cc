// SPDX-License-Identifier: Apache-2.0
// Where the SR domain ends, HMACs, what the fabric says of tunnels, and routes between VRFs.
#include "dp/packet/segment_hmac.h"
#include "tests/cases/segment_lab.h"

#include <array>

namespace slash32::test {
namespace {

std::vector<PacketCase> domain() {
    const Layer inner = ip4("10.7.0.9", "10.7.0.1");
    const Layer outside = ip6("2001:db8:100::1", kOurs);
    const auto dt46 = with_sid(lookup(SidBehavior::kEndDt46));
    return {
        {"refuses a VM an SRH", kVm3,
         in(from_vm() / ip6("2001:db8:7::1", "2001:db8:7::9") / srh(0, {"2001:db8:7::9"}) /
            udp(1, 2)),
         dropped(DropReason::kSegmentRouting), dt46},
        {"refuses a VM a segment of this node", kVm3,
         in(from_vm() / ip6("2001:db8:7::1", kOurs) / inner / udp(1, 2)),
         dropped(DropReason::kVmToSegment), dt46},
        {"refuses a VM a segment of any node", kVm1,
         in(eth(kVm1Mac, kGatewayMac) / ip6("2001:db8::1", kRemote) / udp(1, 2)),
         dropped(DropReason::kVmToSegment), dt46},
        {"refuses tunnels from outside of the domain", kUplink,
         in(from_fabric() / outside / inner / udp(1, 2)), dropped(DropReason::kOutsideDomain),
         dt46},
        {"refuses what is for another node's segment from outside of the domain", kUplink,
         in(from_fabric() / ip6("2001:db8:100::1", kRemote) / udp(1, 2)),
         dropped(DropReason::kOutsideDomain), dt46},
        {"refuses an SRH from outside of the domain", kUplink,
         in(from_fabric() / ip6("2001:db8:100::1", "2001:db8::1") / srh(0, {"2001:db8::1"}) /
            udp(1, 2)),
         dropped(DropReason::kOutsideDomain), dt46},
        {"leaves others' tunnels alone", kUplink,
         in(from_fabric() / ip6("2001:db8:100::1", "2001:db8::1") / inner / udp(1, 2)),
         sent(kVm1, eth(kGatewayMac, kVm1Mac) / ip6("2001:db8:100::1", "2001:db8::1").ttl(63) /
                        inner / udp(1, 2)),
         dt46},
    };
}

S32_PACKET_CASES(SegmentDomain, domain());

SegmentKey key_of(uint32_t id, HmacForm form = HmacForm::kRfc8754) {
    return make_segment_key(id, form, std::array<uint8_t, 4>{1, 2, 3, static_cast<uint8_t>(id)});
}

// The TLV for a routing header of the segments, the last one first.
Bytes hmac_tlv(const SegmentKey& key, const char* source, const std::vector<std::string>& segments,
               uint16_t bits = 0) {
    std::array<uint8_t, 8 + 2 * 16 + sizeof(HmacTlv)> bytes{};
    auto& header = *reinterpret_cast<SegmentRoutingHeader*>(bytes.data());
    header.last_entry = static_cast<uint8_t>(segments.size() - 1);
    auto* list = reinterpret_cast<Ip6*>(&header + 1);
    for (const std::string& segment : segments)
        *list++ = parse_ip(segment)->ipv6();
    auto& tlv = *reinterpret_cast<HmacTlv*>(list);
    sign(key, parse_ip(source)->ipv6(), header, tlv, bits);
    const auto* begin = reinterpret_cast<const uint8_t*>(&tlv);
    return Bytes(begin, begin + sizeof tlv);
}

std::function<void(Lab&)> with_keys(const std::function<void(Lab&)>& setup, bool required) {
    return [=](Lab& lab) {
        setup(lab);
        SegmentKeys& keys = lab.domain().keys;
        keys.list[0] = key_of(1);
        keys.list[1] = key_of(2, HmacForm::kLinux);
        keys.count = 2;
        keys.required = required;
    };
}

std::vector<PacketCase> hmacs() {
    const Layer inner = ip4("10.7.0.9", "10.7.0.1");
    const char* const next = "fc00:0:5::";
    const auto dt46 = with_sid(lookup(SidBehavior::kEndDt46));
    const Packet arrived = to_vm3() / ip4("10.7.0.9", "10.7.0.1").ttl(63) / udp(1, 2);
    const auto tunnel = [&](const Bytes& tlvs) {
        return from_fabric() / ip6(kPeer, kOurs) / srh(0, {kOurs}, tlvs) / inner / udp(1, 2);
    };
    const Bytes right = hmac_tlv(key_of(1), kPeer, {kOurs});
    const Bytes linux_right = hmac_tlv(key_of(2, HmacForm::kLinux), kPeer, {kOurs});
    const Bytes wrong = hmac_tlv(key_of(1), kSource, {kOurs});
    constexpr uint32_t kTlvAt = 40 + 8 + 16;
    const Bytes reduced = hmac_tlv(key_of(1), kSource, {kRemote}, kHmacNoDestination);
    const auto signing = [](const SegmentPath& path, const SegmentKey& key) {
        TunnelSettings with = settings();
        with.key = key;
        return by_tunnel(path, with);
    };
    const Layer from_vm3 = ip4("10.7.0.1", "10.7.0.9");
    const Layer from_vm3_on = ip4("10.7.0.1", "10.7.0.9").ttl(63);
    return {
        {"takes a tunnel with an HMAC", kUplink, in(tunnel(right)), sent(kVm3, arrived),
         with_keys(dt46, true)},
        {"refuses a tunnel without an HMAC where one is required", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / inner / udp(1, 2)), dropped(DropReason::kBadHmac),
         with_keys(dt46, true)},
        {"refuses an SRH without an HMAC where one is required", kUplink, in(tunnel({})),
         dropped(DropReason::kBadHmac), with_keys(dt46, true)},
        {"takes a tunnel without an HMAC where none is required", kUplink, in(tunnel({})),
         sent(kVm3, arrived), with_keys(dt46, false)},
        told("refuses a wrong HMAC though none is required", tunnel(wrong), DropReason::kBadHmac,
             kBadField, kTlvAt, with_keys(dt46, false)),
        told("refuses the HMAC of an unknown key", tunnel(hmac_tlv(key_of(3), kPeer, {kOurs})),
             DropReason::kBadHmac, kBadField, kTlvAt, with_keys(dt46, true)),
        {"looks at no HMAC where it has no keys", kUplink, in(tunnel(wrong)), sent(kVm3, arrived),
         dt46},
        {"End takes an HMAC and leaves it for the next", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) /
            srh(1, {next, kOurs}, hmac_tlv(key_of(1), kPeer, {next, kOurs})) / inner / udp(1, 2)),
         sent(kUplink, to_fabric() / ip6(kPeer, next).ttl(63) /
                           srh(0, {next, kOurs}, hmac_tlv(key_of(1), kPeer, {next, kOurs})) /
                           inner / udp(1, 2)),
         with_keys(with_sid(endpoint()), true)},
        {"signs a tunnel of one segment, which has an SRH for it", kVm3,
         in(from_vm() / from_vm3 / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, kRemote) /
                                srh(0, {kRemote}, hmac_tlv(key_of(1), kSource, {kRemote})) /
                                from_vm3_on / udp(1, 2)),
         signing(path({kRemote}), key_of(1))},
        {"signs a reduced list, which lacks the destination", kVm3,
         in(from_vm() / from_vm3 / udp(1, 2)),
         tunnelled(kUplink, to_fabric() / ip6(kSource, next) / srh(1, {kRemote}, reduced) /
                                from_vm3_on / udp(1, 2)),
         signing(path({next, kRemote}), key_of(1))},
        {"takes a tunnel with an HMAC as Linux makes it", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) /
            srh(0, {kOurs}, linux_right).set(5, {kLinuxHmacFlag}) / inner / udp(1, 2)),
         sent(kVm3, arrived), with_keys(dt46, true)},
    };
}

S32_PACKET_CASES(SegmentHmacs, hmacs());

// What the fabric says of tunnelled packets. Its routers are outside of the SR domain.
std::vector<PacketCase> errors() {
    const char* const router = "2001:db8:100::9";
    const auto says = [&](const char* to, const Layer& icmp, const Packet& quoted) {
        return in(from_fabric() / ip6(router, to) / icmp / raw(quoted.payload()));
    };
    const Packet ours = to_fabric() / ip6(kSource, kRemote) / ip4("10.7.0.1", "10.7.0.9") /
                        udp(1, 2) / raw(counting(9));
    const Packet theirs = to_fabric() / ip6(kPeer, kRemote) / ip4("10.7.0.1", "10.7.0.9") /
                          udp(1, 2) / raw(counting(9));
    const Packet elsewhere = to_fabric() / ip6(kSource, "2001:db8:9::1") /
                             ip4("10.7.0.1", "10.7.0.9") / udp(1, 2) / raw(counting(9));
    const Packet little = to_fabric() / ip6(kSource, kRemote) / raw(counting(19));
    return {
        {"control hears that a tunnelled packet was too big", kUplink,
         says(kSource, icmp6(2, 0, 1400), ours), punted(), tenant},
        {"control hears that a tunnelled packet did not arrive", kUplink,
         says(kSource, icmp6(1, 0), ours), punted(), tenant},
        {"control hears that a tunnelled packet's hop limit ran out", kUplink,
         says(kSource, icmp6(3, 0), ours), punted(), tenant},
        {"control does not hear of echoes", kUplink, says(kSource, icmp6(129, 0), ours),
         dropped(DropReason::kOutsideDomain), tenant},
        {"control does not hear of others' tunnels", kUplink, says(kSource, icmp6(1, 0), theirs),
         dropped(DropReason::kOutsideDomain), tenant},
        {"control does not hear of what was in no tunnel", kUplink,
         says(kSource, icmp6(1, 0), elsewhere), dropped(DropReason::kOutsideDomain), tenant},
        {"control does not hear of errors that quote too little", kUplink,
         says(kSource, icmp6(1, 0), little), dropped(DropReason::kOutsideDomain), tenant},
        {"errors about tunnels come by uplinks", kVm3,
         in(from_vm() / ip6("2001:db8:7::1", kSource) / icmp6(1, 0) / raw(ours.payload())),
         dropped(DropReason::kVmToSegment), tenant},
    };
}

S32_PACKET_CASES(TunnelErrors, errors());

// A gateway: the tenant's other addresses, and 192.0.2.0/24, are by the routes of VRF 0, which have
// the tenant's for 10.7.0.1.
void gateway(Lab& lab) {
    tenant(lab);
    lab.adjacency(kTunnel) = Adjacency{.kind = AdjacencyKind::kVrf, .vrf = VrfId{0}};
    lab.add_route("192.0.2.0/24", kTunnel, kTenant);
    lab.adjacency(kIntoTenant) = Adjacency{.kind = AdjacencyKind::kVrf, .vrf = kTenant};
    lab.add_route("10.7.0.1", kIntoTenant);
    lab.add_sid(kSid, kOurs, lookup(SidBehavior::kEndDt46));
}

std::vector<PacketCase> between_vrfs() {
    const Layer out = ip4("10.7.0.1", "192.0.2.9");
    // An ICMP error, about which there is none.
    const Layer unanswered = icmp4(3, 1);
    const Layer quoted = raw((to_vm3() / ip4("192.0.2.9", "10.7.0.9") / udp(1, 2)).payload());
    return {
        {"a route leads by those of another VRF", kVm3, in(from_vm() / out / udp(1, 2)),
         sent(kUplink, to_fabric() / ip4("10.7.0.1", "192.0.2.9").ttl(63) / udp(1, 2)),
         [](Lab& lab) {
             gateway(lab);
             lab.add_route("192.0.2.0/24", kHopUplink);
         }},
        {"a route of VRF 0 leads into a tenant's", kUplink,
         in(from_fabric() / ip4("192.0.2.9", "10.7.0.1") / udp(1, 2)),
         sent(kVm3, to_vm3() / ip4("192.0.2.9", "10.7.0.1").ttl(63) / udp(1, 2)), gateway},
        {"what comes in a tunnel leaves by the routes of another VRF", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / ip4("10.7.0.9", "192.0.2.9") / udp(1, 2)),
         sent(kUplink, to_fabric() / ip4("10.7.0.9", "192.0.2.9").ttl(63) / udp(1, 2)),
         [](Lab& lab) {
             gateway(lab);
             lab.add_route("192.0.2.0/24", kHopUplink);
         }},
        {"routes that lead round and round lead nowhere", kVm3, in(from_vm() / out / udp(1, 2)),
         refused(DropReason::kNoRoute, kVm3,
                 to_vm3() / ip4("10.0.0.254", "10.7.0.1").tos(0xc0).df() / icmp4(3, 0) /
                     raw((from_vm() / out / udp(1, 2)).payload())),
         [](Lab& lab) {
             gateway(lab);
             lab.add_route("192.0.2.0/24", kIntoTenant);
         }},
        {"a route of another VRF is not one to the host", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / ip4("10.7.0.9", "192.0.2.9") / unanswered / quoted),
         dropped(DropReason::kHostAddress),
         [](Lab& lab) {
             gateway(lab);
             lab.add_host_view();
             lab.add_route("192.0.2.9", kHopHost);
         }},
        {"a route of another VRF is not one to a segment", kUplink,
         in(from_fabric() / ip6(kPeer, kOurs) / ip6("2001:db8:7::9", "fc00:0:1:8::") / udp(1, 2)),
         dropped(DropReason::kUnknownSegment),
         [](Lab& lab) {
             gateway(lab);
             lab.add_route("fc00::/32", kTunnel, kTenant);
             lab.add_sid(NextHopId{31}, "fc00:0:1:8::", lookup(SidBehavior::kEndDt46));
         }},
    };
}

S32_PACKET_CASES(BetweenVrfs, between_vrfs());

}  // namespace
}  // namespace slash32::test
