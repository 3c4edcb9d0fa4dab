// SPDX-License-Identifier: Apache-2.0
// Proxy ARP: RFC 826, RFC 1027, RFC 5227.
#include "tests/cases/packet_case.h"

namespace slash32::test {
namespace {

constexpr uint16_t kRequest = 1;
constexpr uint16_t kReply = 2;

Packet request(std::string_view sender, std::string_view target) {
    return eth(kVm1Mac, kBroadcastMac) / arp(kRequest, kVm1Mac, sender, kZeroMac, target);
}

Expectation answer(std::string_view sender, std::string_view target) {
    return answered(kVm1,
                    eth(kGatewayMac, kVm1Mac) / arp(kReply, kGatewayMac, target, kVm1Mac, sender));
}

std::vector<PacketCase> requests() {
    return {
        {"answers for the gateway", kVm1, in(request("10.0.0.1", "10.0.0.254")),
         answer("10.0.0.1", "10.0.0.254")},
        {"answers for a peer of the same prefix", kVm1, in(request("10.0.0.1", "10.0.0.2")),
         answer("10.0.0.1", "10.0.0.2")},
        {"answers for an off-link address", kVm1, in(request("10.0.0.1", "198.51.100.7")),
         answer("10.0.0.1", "198.51.100.7")},
        {"answers for an address without a route", kVm1, in(request("10.0.0.1", "10.77.0.1")),
         answer("10.0.0.1", "10.77.0.1")},
        {"answers for a peer whose port has no groups", kVm1, in(request("10.0.0.1", "10.0.0.3")),
         answer("10.0.0.1", "10.0.0.3")},
        {"answers a port without groups", kVm3,
         in(eth(kVm3Mac, kBroadcastMac) /
            arp(kRequest, kVm3Mac, "10.0.0.3", kZeroMac, "10.0.0.254")),
         answered(kVm3, eth(kGatewayMac, kVm3Mac) /
                            arp(kReply, kGatewayMac, "10.0.0.254", kVm3Mac, "10.0.0.3"))},
        {"answers a unicast request", kVm1,
         in(eth(kVm1Mac, kGatewayMac) /
            arp(kRequest, kVm1Mac, "10.0.0.1", kGatewayMac, "10.0.0.254")),
         answer("10.0.0.1", "10.0.0.254")},
        {"answers a request from an allowed pair", kVm1, in(request("10.9.0.7", "10.0.0.2")),
         answer("10.9.0.7", "10.0.0.2")},
        {"answers a padded request without the padding", kVm1,
         in(request("10.0.0.1", "10.0.0.254") / raw(Bytes(18))), answer("10.0.0.1", "10.0.0.254")},
        {"does not answer for the VM's own address", kVm1, in(request("10.9.0.7", "10.0.0.1")),
         dropped(DropReason::kArpOwnAddress)},
        {"does not answer for a shared address that the VM holds", kVm2,
         in(eth(kVm2Mac, kBroadcastMac) /
            arp(kRequest, kVm2Mac, "10.0.0.2", kZeroMac, "10.0.0.100")),
         dropped(DropReason::kArpOwnAddress)},
        {"answers for a shared address that another VM holds", kVm1,
         in(request("10.0.0.1", "10.0.0.100")), answer("10.0.0.1", "10.0.0.100")},
        {"does not answer for a network behind the VM", kVm1, in(request("10.0.0.1", "10.50.0.1")),
         dropped(DropReason::kArpOwnAddress),
         [](Lab& lab) { lab.add_route("10.50.0.0/16", kHopVm1); }},
        {"does not answer for loopback", kVm1, in(request("10.0.0.1", "127.0.0.1")),
         dropped(DropReason::kBadArp)},
        {"does not answer for a multicast group", kVm1, in(request("10.0.0.1", "224.0.0.1")),
         dropped(DropReason::kBadArp)},
        {"does not answer for broadcast", kVm1, in(request("10.0.0.1", "255.255.255.255")),
         dropped(DropReason::kBadArp)},
        {"does not answer for the unspecified address", kVm1, in(request("10.0.0.1", "0.0.0.0")),
         dropped(DropReason::kBadArp)},
    };
}

// RFC 5227 section 2.1.1: the sender address of a probe is zero.
std::vector<PacketCase> probes() {
    return {
        {"answers a probe for the gateway", kVm1, in(request("0.0.0.0", "10.0.0.254")),
         answer("0.0.0.0", "10.0.0.254")},
        {"answers a probe for an address that another VM holds", kVm1,
         in(request("0.0.0.0", "10.0.0.2")), answer("0.0.0.0", "10.0.0.2")},
        {"does not answer a probe for the VM's own address", kVm1,
         in(request("0.0.0.0", "10.0.0.1")), dropped(DropReason::kArpOwnAddress)},
        {"does not answer a probe for a shared address that the VM holds", kVm2,
         in(eth(kVm2Mac, kBroadcastMac) /
            arp(kRequest, kVm2Mac, "0.0.0.0", kZeroMac, "10.0.0.100")),
         dropped(DropReason::kArpOwnAddress)},
        {"does not answer a probe for a free address", kVm1, in(request("0.0.0.0", "10.77.0.1")),
         dropped(DropReason::kArpProbeFree)},
        {"does not answer a probe for an address of a prefix route", kVm1,
         in(request("0.0.0.0", "198.51.100.7")), dropped(DropReason::kArpProbeFree)},
        {"does not answer a probe for a blackholed address", kVm1,
         in(request("0.0.0.0", "10.0.0.66")), dropped(DropReason::kArpProbeFree),
         [](Lab& lab) { lab.add_route("10.0.0.66", kHopBlackhole); }},
    };
}

std::vector<PacketCase> announcements() {
    return {
        {"absorbs an announcement of the VM's own address", kVm1,
         in(request("10.0.0.1", "10.0.0.1")), consumed()},
        {"punts an announcement of an allowed pair", kVm1, in(request("10.0.0.100", "10.0.0.100")),
         punted()},
        {"punts a gratuitous reply for an allowed pair", kVm1,
         in(eth(kVm1Mac, kBroadcastMac) /
            arp(kReply, kVm1Mac, "10.0.0.100", kVm1Mac, "10.0.0.100")),
         punted()},
        {"punts a broadcast reply for an allowed pair", kVm1,
         in(eth(kVm1Mac, kBroadcastMac) / arp(kReply, kVm1Mac, "10.0.0.100", kVm2Mac, "10.0.0.2")),
         punted()},
        {"drops a unicast reply for an allowed pair", kVm1,
         in(eth(kVm1Mac, kGatewayMac) /
            arp(kReply, kVm1Mac, "10.0.0.100", kGatewayMac, "10.0.0.254")),
         dropped(DropReason::kArpReply)},
        {"drops a reply for the VM's own address", kVm1,
         in(eth(kVm1Mac, kGatewayMac) /
            arp(kReply, kVm1Mac, "10.0.0.1", kGatewayMac, "10.0.0.254")),
         dropped(DropReason::kArpReply)},
        {"drops a gratuitous reply for the VM's own address", kVm1,
         in(eth(kVm1Mac, kBroadcastMac) / arp(kReply, kVm1Mac, "10.0.0.1", kVm1Mac, "10.0.0.1")),
         dropped(DropReason::kArpReply)},
        {"limits the rate of announcements", kVm1, in(request("10.0.0.100", "10.0.0.100")),
         dropped(DropReason::kPuntRateLimited), [](Lab& lab) { lab.set_punt_rate(1, 0); }},
    };
}

std::vector<PacketCase> uplinks() {
    const auto ask = [](std::string_view target) {
        return eth(kNeighbourMac, kBroadcastMac) /
               arp(kRequest, kNeighbourMac, "192.0.2.99", kZeroMac, target);
    };
    return {
        {"answers for the uplink's own address", kUplink, in(ask("192.0.2.1")),
         answered(kUplink, eth(kUplinkMac, kNeighbourMac) /
                               arp(kReply, kUplinkMac, "192.0.2.1", kNeighbourMac, "192.0.2.99"))},
        {"does not answer for a VM on an uplink", kUplink, in(ask("10.0.0.1")),
         dropped(DropReason::kArpNotForUs)},
        {"does not answer for a neighbour on an uplink", kUplink, in(ask("192.0.2.77")),
         dropped(DropReason::kArpNotForUs)},
        {"ignores an announcement on an uplink", kUplink, in(ask("192.0.2.99")),
         dropped(DropReason::kArpNotForUs)},
        {"learns nothing from a reply on an uplink", kUplink,
         in(eth(kNeighbourMac, kUplinkMac) /
            arp(kReply, kNeighbourMac, "192.0.2.99", kUplinkMac, "192.0.2.1")),
         dropped(DropReason::kArpReply)},
    };
}

std::vector<PacketCase> malformed() {
    const auto changed = [](size_t offset, Bytes value) {
        return in(eth(kVm1Mac, kBroadcastMac) /
                  arp(kRequest, kVm1Mac, "10.0.0.1", kZeroMac, "10.0.0.254").set(offset, value));
    };
    const Expectation bad = dropped(DropReason::kBadArp);
    std::vector<PacketCase> cases = {
        {"refuses another hardware type", kVm1, changed(0, be16(6)), bad},
        {"refuses another protocol type", kVm1, changed(2, be16(0x86dd)), bad},
        {"refuses another hardware address length", kVm1, changed(4, {8}), bad},
        {"refuses another protocol address length", kVm1, changed(5, {16}), bad},
        {"refuses operation 0", kVm1, changed(6, be16(0)), bad},
        {"refuses RARP operation 3", kVm1, changed(6, be16(3)), bad},
    };
    const Bytes whole = request("10.0.0.1", "10.0.0.254").bytes();
    for (size_t n = 14; n < whole.size(); ++n) {
        cases.push_back(
            {"refuses " + std::to_string(n) + " bytes", kVm1, in(first(n, whole)), bad});
    }
    return cases;
}

S32_PACKET_CASES(ArpRequests, requests());
S32_PACKET_CASES(ArpProbes, probes());
S32_PACKET_CASES(ArpAnnouncements, announcements());
S32_PACKET_CASES(ArpOnUplinks, uplinks());
S32_PACKET_CASES(ArpMalformed, malformed());

}  // namespace
}  // namespace slash32::test
