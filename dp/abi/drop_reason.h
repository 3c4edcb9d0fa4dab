// SPDX-License-Identifier: Apache-2.0
// Why a packet was dropped: one name, one sentence, one counter per port and worker.
//
// The names are part of the control protocol (metrics, `show drops`, captures): they are never
// reused for another meaning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace slash32 {

// clang-format off
#define S32_DROP_REASONS(X)                                                                       \
    /* Parsing */                                                                                 \
    X(kTruncatedEthernet, "truncated_ethernet", "shorter than an Ethernet header")                 \
    X(kUnknownEthertype, "unknown_ethertype", "neither IPv4, IPv6 nor ARP")                        \
    X(kBadVlan, "bad_vlan", "VLAN tag on a port that carries none")                                \
    X(kSourceMacMulticast, "source_mac_multicast", "Ethernet source is a group address or zero")   \
    X(kWrongDestinationMac, "wrong_destination_mac", "unicast to a MAC that is not the gateway's") \
    X(kTruncatedIpv4, "truncated_ipv4", "IPv4 header or total length exceeds the packet")          \
    X(kBadIpv4Header, "bad_ipv4_header", "IPv4 version, header length or total length is wrong")   \
    X(kBadIpv4Checksum, "bad_ipv4_checksum", "IPv4 header checksum is wrong")                      \
    X(kBadIpv4Options, "bad_ipv4_options", "IPv4 options are malformed")                           \
    X(kSourceRoute, "source_route", "IPv4 source route or IPv6 type 0 routing header")             \
    X(kTruncatedIpv6, "truncated_ipv6", "IPv6 header or payload length exceeds the packet")        \
    X(kBadIpv6Header, "bad_ipv6_header", "IPv6 version is wrong")                                  \
    X(kBadExtensionHeader, "bad_extension_header", "IPv6 extension header chain is malformed")     \
    X(kTooManyExtensions, "too_many_extensions", "IPv6 extension headers beyond the limit")        \
    X(kBadFragment, "bad_fragment", "fragment offset or length cannot be right")                   \
    X(kTruncatedTransport, "truncated_transport", "TCP, UDP, SCTP or ICMP header is cut short")    \
    X(kBadTransportHeader, "bad_transport_header", "TCP data offset or UDP length is wrong")       \
    X(kBadSourceAddress, "bad_source_address", "source is multicast, loopback or unspecified")     \
    X(kBadDestinationAddress, "bad_destination_address", "destination may not be forwarded")       \
    X(kSplitHeader, "split_header", "headers do not fit the first buffer")                         \
    /* Port security */                                                                           \
    X(kSpoofedMac, "spoofed_mac", "source MAC is not the port's")                                  \
    X(kSpoofedSource, "spoofed_source", "source address is not the port's")                        \
    X(kSpoofedArp, "spoofed_arp", "ARP sender is not the port's")                                  \
    X(kSpoofedNd, "spoofed_nd", "ND source, target or link-layer address is not the port's")       \
    X(kDhcpServer, "dhcp_server", "DHCP server message from a VM")                                 \
    X(kRouterAdvertisement, "router_advertisement", "router advertisement or redirect from a VM")  \
    X(kSegmentRouting, "segment_routing", "segment routing header from a VM")                      \
    X(kVmToSegment, "vm_to_segment", "from a VM to an address where segments are")                 \
    /* Segment routing */                                                                         \
    X(kOutsideDomain, "outside_domain", "SRv6 from a source outside the SR domain")                \
    X(kBadSegmentHeader, "bad_segment_header", "segment routing header is malformed")              \
    X(kBadHmac, "bad_hmac", "HMAC of its segment routing header is missing or wrong")              \
    X(kUnknownSegment, "unknown_segment", "to this node's locator, but to none of its segments")   \
    X(kSegmentsLeft, "segments_left", "has segments left where its SID wants none, or none")       \
    X(kSegmentPayload, "segment_payload", "carries what its SID is not for")                       \
    X(kEcnMismatch, "ecn_mismatch", "congestion met by a packet that cannot tell of it")           \
    X(kNoSegmentRoute, "no_segment_route", "no route to the first segment of its tunnel")          \
    /* Filter */                                                                                  \
    X(kNoGroup, "no_group", "port without security groups passes nothing but ARP, ND and DHCP")    \
    X(kDeniedEgress, "denied_egress", "no rule of the source port allows it")                      \
    X(kDeniedIngress, "denied_ingress", "no rule of the destination port allows it")               \
    X(kInvalidState, "invalid_state", "fits no state of its connection")                           \
    X(kUnrelatedError, "unrelated_error", "ICMP error about a packet of no live connection")       \
    X(kFragmentDuplicate, "fragment_duplicate", "part of a packet that has passed before")         \
    X(kFragmentOverlap, "fragment_overlap", "overlaps another part of its packet")                 \
    X(kFragmentTimeout, "fragment_timeout", "the first part of its packet has not come in time")   \
    X(kFragmentLimit, "fragment_limit", "too many parts of packets wait for their first")          \
    X(kFlowClash, "flow_clash", "its answers would be those of another connection")                \
    X(kFlowLimit, "flow_limit", "the port's share of the flow table is used up")                   \
    X(kFlowTableFull, "flow_table_full", "the flow table is full")                                 \
    /* ARP, ND, broadcast and multicast */                                                        \
    X(kBadArp, "bad_arp", "ARP packet is malformed or of another protocol")                        \
    X(kArpOwnAddress, "arp_own_address", "ARP request for the VM's own address: never answered")   \
    X(kArpProbeFree, "arp_probe_free", "ARP probe for an address that nobody holds: not answered") \
    X(kArpNotForUs, "arp_not_for_us", "ARP request on an uplink for another's address")            \
    X(kArpReply, "arp_reply", "ARP reply: the router learns nothing from it")                      \
    X(kBadNd, "bad_nd", "ND message is malformed (RFC 4861 validity checks)")                      \
    X(kNdOwnAddress, "nd_own_address", "solicitation for the VM's own address: never answered")    \
    X(kNdProbeFree, "nd_probe_free", "DAD for an address that nobody holds: not answered")         \
    X(kNdNotForUs, "nd_not_for_us", "solicitation for an address the router does not speak for")   \
    X(kNdAdvertisement, "nd_advertisement", "advertisement: the router learns nothing from it")    \
    X(kBroadcast, "broadcast", "broadcast that no hook takes")                                     \
    X(kMulticast, "multicast", "multicast that no hook takes")                                     \
    X(kMulticastListener, "multicast_listener", "IGMP or MLD report: multicast is not carried")    \
    X(kDhcpNoServer, "dhcp_no_server", "DHCP request, and no DHCP service is configured")          \
    X(kLinkLocal, "link_local", "link-local address beyond the link")                              \
    X(kGatewayUnserved, "gateway_unserved", "to the gateway's address, but not echo")              \
    X(kNotForRouter, "not_for_router", "to an address of the router on an uplink, unserved")       \
    X(kHostAddress, "host_address", "to an address of the host that VMs may not reach")            \
    /* Forwarding */                                                                              \
    X(kNoRoute, "no_route", "no route to the destination")                                         \
    X(kBlackhole, "blackhole", "route is a blackhole")                                             \
    X(kUnreachable, "unreachable", "route is unreachable")                                         \
    X(kNoNeighbour, "no_neighbour", "next hop's link-layer address is not known")                  \
    X(kHopLimit, "hop_limit", "TTL or hop limit expired")                                          \
    X(kTooBig, "too_big", "larger than the MTU and may not be fragmented")                         \
    X(kHairpin, "hairpin", "would leave through the port that it came from")                       \
    X(kPortGone, "port_gone", "destination port is being removed")                                 \
    X(kPortDown, "port_down", "destination port is not connected or its rings are off")            \
    X(kTxFull, "tx_full", "destination's transmit ring is full")                                   \
    X(kNoOffload, "no_offload", "offload request that cannot be honoured")                         \
    X(kSegmentationFailed, "segmentation_failed", "software segmentation could not be done")       \
    X(kNoBuffer, "no_buffer", "no packet buffer")                                                  \
    X(kNoHeadroom, "no_headroom", "no headroom for the header")                                    \
    /* Slow path */                                                                               \
    X(kIcmpRateLimited, "icmp_rate_limited", "ICMP error not sent: rate limit")                    \
    X(kPuntRateLimited, "punt_rate_limited", "not given to control: rate limit of its class")      \
    X(kHostLimitNeighbour, "host_limit_neighbour", "ARP or ND to the host: rate limit")            \
    X(kHostLimitRouting, "host_limit_routing", "BGP, BFD or OSPF to the host: rate limit")         \
    X(kHostLimitIcmp, "host_limit_icmp", "ICMP to the host: rate limit")                           \
    X(kHostLimitLink, "host_limit_link", "neither ARP nor IP, to the host: rate limit")            \
    X(kHostLimitGroup, "host_limit_group", "broadcast or multicast to the host: rate limit")       \
    X(kHostLimitOther, "host_limit_other", "other packets to the host: rate limit")                \
    X(kPuntFull, "punt_full", "not given to control: punt ring full")
// clang-format on

enum class DropReason : uint8_t {
#define X(id, name, text) id,
    S32_DROP_REASONS(X)
#undef X
};

inline constexpr size_t kDropReasonCount = 0
#define X(id, name, text) +1
    S32_DROP_REASONS(X)
#undef X
    ;

struct DropReasonText {
    std::string_view name;         // stable, for machines
    std::string_view description;  // one sentence, for people
};

inline constexpr DropReasonText kDropReasonTexts[kDropReasonCount] = {
#define X(id, name, text) {name, text},
    S32_DROP_REASONS(X)
#undef X
};

constexpr std::string_view drop_reason_name(DropReason reason) {
    return kDropReasonTexts[static_cast<size_t>(reason)].name;
}

}  // namespace slash32
