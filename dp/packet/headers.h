// SPDX-License-Identifier: Apache-2.0
// Protocol headers as they stand in a packet, in network byte order.
//
// Every struct has alignment 1 (fields wider than a byte are a Wire), so a pointer to one may point
// anywhere into a packet. They are only pointed at memory whose length a HeaderView has proved.
#pragma once

#include "dp/base/endian.h"
#include "dp/base/net.h"

#include <cstdint>
#include <cstring>

namespace slash32 {

// A value at any alignment: read with get() or host(), written by assignment.
template <typename T>
class Wire {
  public:
    Wire() = default;
    T get() const {
        T value;
        std::memcpy(&value, bytes_, sizeof value);
        return value;
    }
    auto host() const { return get().to_host(); }
    Wire& operator=(T value) {
        std::memcpy(bytes_, &value, sizeof value);
        return *this;
    }

  private:
    uint8_t bytes_[sizeof(T)];
};

inline constexpr Be16 kEtherIpv4{0x0800};
inline constexpr Be16 kEtherArp{0x0806};
inline constexpr Be16 kEtherVlan{0x8100};
inline constexpr Be16 kEtherQinq{0x88a8};
inline constexpr Be16 kEtherIpv6{0x86dd};

struct EthernetHeader {
    Mac destination;
    Mac source;
    Wire<Be16> type;
};
static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);

// RFC 826, for Ethernet and IPv4.
struct ArpHeader {
    Wire<Be16> hardware;
    Wire<Be16> protocol;
    uint8_t hardware_length;
    uint8_t protocol_length;
    Wire<Be16> operation;
    Mac sender_mac;
    Wire<Ip4> sender_ip;
    Mac target_mac;
    Wire<Ip4> target_ip;
};
static_assert(sizeof(ArpHeader) == 28 && alignof(ArpHeader) == 1);
inline constexpr Be16 kArpEthernet{1};
inline constexpr Be16 kArpRequest{1};
inline constexpr Be16 kArpReplyOp{2};

struct Ipv4Header {
    uint8_t version_ihl;
    uint8_t tos;
    Wire<Be16> total_length;
    Wire<Be16> id;
    Wire<Be16> fragment;  // flags and offset
    uint8_t ttl;
    uint8_t protocol;
    Wire<Be16> checksum;
    Wire<Ip4> source;
    Wire<Ip4> destination;

    unsigned length() const { return (version_ihl & 0xfu) * 4; }
};
static_assert(sizeof(Ipv4Header) == 20 && alignof(Ipv4Header) == 1);
inline constexpr uint16_t kIpv4DontFragment = 0x4000;
inline constexpr uint16_t kIpv4MoreFragments = 0x2000;
inline constexpr uint16_t kIpv4OffsetMask = 0x1fff;  // in units of 8 bytes

struct Ipv6Header {
    Wire<Be32> version_class_flow;
    Wire<Be16> payload_length;
    uint8_t next_header;
    uint8_t hop_limit;
    Ip6 source;
    Ip6 destination;
};
static_assert(sizeof(Ipv6Header) == 40 && alignof(Ipv6Header) == 1);

// Hop-by-hop, destination options, routing: `length` in units of 8 bytes beyond the first 8.
struct Ipv6Extension {
    uint8_t next_header;
    uint8_t length;
    uint8_t routing_type;   // of a routing header
    uint8_t segments_left;  // of a routing header
};
static_assert(sizeof(Ipv6Extension) == 4);

struct Ipv6Fragment {
    uint8_t next_header;
    uint8_t reserved;
    Wire<Be16> offset;  // bytes (a multiple of 8) and flags
    Wire<Be32> id;
};
static_assert(sizeof(Ipv6Fragment) == 8);
inline constexpr uint16_t kIpv6OffsetMask = 0xfff8;
inline constexpr uint16_t kIpv6MoreFragments = 1;

enum Protocol : uint8_t {
    kProtoHopByHop = 0,
    kProtoIcmp = 1,
    kProtoIgmp = 2,
    kProtoIpv4 = 4,
    kProtoTcp = 6,
    kProtoUdp = 17,
    kProtoIpv6 = 41,
    kProtoRouting = 43,
    kProtoFragment = 44,
    kProtoEsp = 50,
    kProtoAh = 51,
    kProtoIcmp6 = 58,
    kProtoNoNext = 59,
    kProtoDestinationOptions = 60,
    kProtoOspf = 89,
    kProtoSctp = 132,
};

// RFC 8754 section 2. Behind it stand `last_entry` + 1 segments, the last one of the path first,
// then TLVs.
struct SegmentRoutingHeader {
    uint8_t next_header;
    uint8_t length;  // in units of 8 bytes beyond the first 8
    uint8_t routing_type;
    uint8_t segments_left;
    uint8_t last_entry;
    uint8_t flags;
    Wire<Be16> tag;

    uint32_t bytes() const { return (length + 1u) * 8; }
    const Ip6* segments() const { return reinterpret_cast<const Ip6*>(this + 1); }
};
static_assert(sizeof(SegmentRoutingHeader) == 8 && alignof(SegmentRoutingHeader) == 1);
inline constexpr uint8_t kSegmentRoutingType = 4;

struct TcpHeader {
    Wire<Be16> source;
    Wire<Be16> destination;
    Wire<Be32> sequence;
    Wire<Be32> acknowledgement;
    uint8_t data_offset;  // high nibble, in units of 4 bytes
    uint8_t flags;
    Wire<Be16> window;
    Wire<Be16> checksum;
    Wire<Be16> urgent;

    unsigned length() const { return (data_offset >> 4) * 4u; }
};
static_assert(sizeof(TcpHeader) == 20 && alignof(TcpHeader) == 1);
enum TcpFlag : uint8_t { kTcpFin = 0x01, kTcpPsh = 0x08, kTcpCwr = 0x80 };

struct UdpHeader {
    Wire<Be16> source;
    Wire<Be16> destination;
    Wire<Be16> length;
    Wire<Be16> checksum;
};
static_assert(sizeof(UdpHeader) == 8);
inline constexpr Be16 kPortDhcpServer{67};
inline constexpr Be16 kPortDhcpClient{68};
inline constexpr Be16 kPortDhcp6Client{546};
inline constexpr Be16 kPortDhcp6Server{547};
inline constexpr Be16 kPortBgp{179};          // RFC 4271 section 8.2.1
inline constexpr Be16 kPortBfdControl{3784};  // RFC 5881 section 4
inline constexpr Be16 kPortBfdEcho{3785};
inline constexpr Be16 kPortBfdMultihop{4784};  // RFC 5883 section 5

inline constexpr unsigned kSctpHeaderLength = 12;

// The first eight bytes of every ICMP and ICMPv6 message that slash32 handles.
struct IcmpHeader {
    uint8_t type;
    uint8_t code;
    Wire<Be16> checksum;
    Wire<Be32> rest;  // id and sequence, MTU, reserved, flags
};
static_assert(sizeof(IcmpHeader) == 8);

enum Icmp4Type : uint8_t {
    kIcmpEchoReply = 0,
    kIcmpUnreachable = 3,
    kIcmpSourceQuench = 4,
    kIcmpRedirect = 5,
    kIcmpEcho = 8,
    kIcmpTimeExceeded = 11,
    kIcmpParameterProblem = 12,
};

enum Icmp6Type : uint8_t {
    kIcmp6Unreachable = 1,
    kIcmp6TooBig = 2,
    kIcmp6TimeExceeded = 3,
    kIcmp6ParameterProblem = 4,
    kIcmp6Echo = 128,
    kIcmp6EchoReply = 129,
    kIcmp6MldQuery = 130,
    kIcmp6MldReport = 131,
    kIcmp6MldDone = 132,
    kIcmp6RouterSolicitation = 133,
    kIcmp6RouterAdvertisement = 134,
    kIcmp6NeighbourSolicitation = 135,
    kIcmp6NeighbourAdvertisement = 136,
    kIcmp6Redirect = 137,
    kIcmp6NodeQuery = 139,
    kIcmp6Mld2Report = 143,
};

// RFC 4861 sections 4.3 and 4.4: solicitation and advertisement have one layout.
struct NdNeighbour {
    IcmpHeader icmp;  // `rest` holds the flags of an advertisement
    Ip6 target;
};
static_assert(sizeof(NdNeighbour) == 24 && alignof(NdNeighbour) == 1);
inline constexpr uint32_t kNdRouter = 0x80000000;
inline constexpr uint32_t kNdSolicited = 0x40000000;
inline constexpr uint32_t kNdOverride = 0x20000000;

// RFC 4861 section 4.6: `length` in units of 8 bytes.
struct NdOption {
    uint8_t type;
    uint8_t length;
};
enum NdOptionType : uint8_t {
    kNdSourceLinkLayer = 1,
    kNdTargetLinkLayer = 2,
    kNdPrefix = 3,
    kNdMtu = 5,
};

struct NdLinkLayerOption {
    NdOption option;
    Mac mac;
};
static_assert(sizeof(NdLinkLayerOption) == 8 && alignof(NdLinkLayerOption) == 1);

// RFC 4861 section 4.2.
struct NdRouterAdvertisement {
    uint8_t type;
    uint8_t code;
    Wire<Be16> checksum;
    uint8_t hop_limit;
    uint8_t flags;
    Wire<Be16> lifetime_seconds;
    Wire<Be32> reachable_ms;
    Wire<Be32> retransmit_ms;
};
static_assert(sizeof(NdRouterAdvertisement) == 16 && alignof(NdRouterAdvertisement) == 1);
inline constexpr uint8_t kRaFlagManaged = 0x80;

struct NdMtuOption {
    NdOption option;
    Wire<Be16> reserved;
    Wire<Be32> mtu;
};
static_assert(sizeof(NdMtuOption) == 8);

struct NdPrefixOption {
    NdOption option;
    uint8_t prefix_length;
    uint8_t flags;
    Wire<Be32> valid_seconds;
    Wire<Be32> preferred_seconds;
    Wire<Be32> reserved;
    Ip6 prefix;
};
static_assert(sizeof(NdPrefixOption) == 32 && alignof(NdPrefixOption) == 1);
inline constexpr uint8_t kPrefixFlagAutonomous = 0x40;

}  // namespace slash32
