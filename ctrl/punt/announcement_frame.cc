// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/announcement_frame.h"

#include "dp/packet/headers.h"
#include "dp/packet/source_match.h"

#include <cstring>
#include <span>

namespace slash32 {
namespace {

constexpr Mac kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr Mac kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
constexpr Ip6 kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

template <typename Header>
Header& place(std::vector<uint8_t>& frame, size_t offset) {
    return *reinterpret_cast<Header*>(frame.data() + offset);
}

// RFC 1071, of what begins at an even place.
uint32_t add_words(uint32_t sum, std::span<const uint8_t> bytes) {
    for (size_t i = 0; i + 1 < bytes.size(); i += 2)
        sum += static_cast<uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    return sum;
}

std::vector<uint8_t> arp_frame(const Ip4& address, const Mac& mac) {
    std::vector<uint8_t> frame(sizeof(EthernetHeader) + sizeof(ArpHeader));
    auto& ethernet = place<EthernetHeader>(frame, 0);
    ethernet.destination = kBroadcast;
    ethernet.source = mac;
    ethernet.type = kEtherArp;
    auto& arp = place<ArpHeader>(frame, sizeof ethernet);
    arp.hardware = kArpEthernet;
    arp.protocol = kEtherIpv4;
    arp.hardware_length = 6;
    arp.protocol_length = 4;
    arp.operation = kArpRequest;
    arp.sender_mac = mac;
    arp.sender_ip = address;
    arp.target_ip = address;
    return frame;
}

std::vector<uint8_t> advertisement_frame(const Ip6& address, const Mac& mac) {
    constexpr size_t kMessage = sizeof(EthernetHeader) + sizeof(Ipv6Header);
    constexpr uint16_t kLength = sizeof(NdNeighbour) + sizeof(NdLinkLayerOption);
    std::vector<uint8_t> frame(kMessage + kLength);
    auto& ethernet = place<EthernetHeader>(frame, 0);
    ethernet.destination = kAllNodesMac;
    ethernet.source = mac;
    ethernet.type = kEtherIpv6;
    auto& ip = place<Ipv6Header>(frame, sizeof ethernet);
    ip.version_class_flow = Be32{0x60000000};
    ip.payload_length = Be16{kLength};
    ip.next_header = kProtoIcmp6;
    ip.hop_limit = 255;
    ip.source = eui64_link_local(mac);
    ip.destination = kAllNodes;
    auto& advertisement = place<NdNeighbour>(frame, kMessage);
    advertisement.icmp.type = kIcmp6NeighbourAdvertisement;
    advertisement.icmp.rest = Be32{kNdRouter | kNdOverride};
    advertisement.target = address;
    auto& option = place<NdLinkLayerOption>(frame, kMessage + sizeof advertisement);
    option.option = {.type = kNdTargetLinkLayer, .length = 1};
    option.mac = mac;
    uint32_t sum = kLength + kProtoIcmp6;  // of the pseudo-header, with both addresses
    sum = add_words(sum, ip.source.bytes);
    sum = add_words(sum, ip.destination.bytes);
    sum = add_words(sum, std::span(frame).subspan(kMessage));
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    advertisement.icmp.checksum = Be16{static_cast<uint16_t>(~sum)};
    return frame;
}

}  // namespace

std::vector<uint8_t> announcement_frame(const IpAddress& address, const Mac& mac) {
    return address.is_ipv4() ? arp_frame(address.ipv4(), mac)
                             : advertisement_frame(address.ipv6(), mac);
}

}  // namespace slash32
