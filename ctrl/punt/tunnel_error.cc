// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/tunnel_error.h"

#include "ctrl/punt/frame.h"
#include "dp/base/limits.h"
#include "dp/packet/headers.h"

#include <algorithm>

namespace slash32 {
namespace {

// The segment routing header at `offset`: what follows it begins where it ends.
bool read_routing(std::span<const uint8_t> frame, size_t& offset, uint8_t& next, Ip6& last) {
    const auto* header = header_at<SegmentRoutingHeader>(frame, offset);
    if (header == nullptr || header->routing_type != kSegmentRoutingType) return false;
    // The last segment stands first (RFC 8754 section 2).
    const auto* first = header_at<Ip6>(frame, offset + sizeof(SegmentRoutingHeader));
    if (first == nullptr || header->bytes() < sizeof(SegmentRoutingHeader) + sizeof(Ip6))
        return false;
    last = *first;
    next = header->next_header;
    offset += header->bytes();
    return true;
}

bool read_inner(std::span<const uint8_t> frame, uint8_t protocol, TunnelError& out) {
    if (protocol == kProtoIpv4) {
        const auto* ip = header_at<Ipv4Header>(frame, out.inner);
        if (ip == nullptr || ip->version_ihl >> 4 != 4) return false;
        out.kind = PacketKind::kIpv4;
        out.src = IpAddress(ip->source.get());
        out.dst = IpAddress(ip->destination.get());
        return true;
    }
    if (protocol != kProtoIpv6) return false;
    const auto* ip = header_at<Ipv6Header>(frame, out.inner);
    if (ip == nullptr || ip->version_class_flow.host() >> 28 != 6) return false;
    out.kind = PacketKind::kIpv6;
    out.src = IpAddress(ip->source);
    out.dst = IpAddress(ip->destination);
    return true;
}

bool calls_for_error(const Ipv4Header& ip, std::span<const uint8_t> frame, size_t inner) {
    if ((ip.fragment.host() & kIpv4OffsetMask) != 0) return false;
    if (ip.destination.get().value.to_host() >> 28 >= 0xe) return false;
    if (ip.protocol != kProtoIcmp) return true;
    const auto* type = header_at<uint8_t>(frame, inner + ip.length());
    return type != nullptr && (*type == kIcmpEcho || *type == kIcmpEchoReply);
}

// An extension header may hide an ICMPv6 error: only what is plain gets an answer.
bool calls_for_error(const Ipv6Header& ip, std::span<const uint8_t> frame, size_t inner) {
    if (ip.destination.is_multicast() || ip.source.is_unspecified()) return false;
    if (ip.next_header == kProtoTcp || ip.next_header == kProtoUdp) return true;
    constexpr uint8_t kInformational = 128;  // RFC 4443 section 2.1
    const auto* type = header_at<uint8_t>(frame, inner + sizeof ip);
    return ip.next_header == kProtoIcmp6 && type != nullptr && *type >= kInformational;
}

}  // namespace

std::optional<TunnelError> read_tunnel_error(std::span<const uint8_t> frame) {
    constexpr size_t kIcmp = sizeof(EthernetHeader) + sizeof(Ipv6Header);
    constexpr size_t kQuoted = kIcmp + sizeof(IcmpHeader);
    const auto* icmp = header_at<IcmpHeader>(frame, kIcmp);
    const auto* quoted = header_at<Ipv6Header>(frame, kQuoted);
    if (icmp == nullptr || quoted == nullptr) return std::nullopt;
    TunnelError out;
    out.type = icmp->type;
    if (icmp->type == kIcmp6TooBig) {
        const uint32_t mtu = icmp->rest.host();
        out.mtu = static_cast<uint16_t>(std::clamp<uint32_t>(mtu, kMinMtu, UINT16_MAX));
    }
    out.last_segment = quoted->destination;
    uint8_t next = quoted->next_header;
    out.inner = kQuoted + sizeof(Ipv6Header);
    if (next == kProtoRouting && !read_routing(frame, out.inner, next, out.last_segment))
        return std::nullopt;
    out.outer = out.inner - kQuoted;
    return read_inner(frame, next, out) ? std::optional(out) : std::nullopt;
}

std::optional<InnerError> translate(const TunnelError& error, std::span<const uint8_t> frame) {
    const bool ipv4 = error.kind == PacketKind::kIpv4;
    const auto* ip4 = header_at<Ipv4Header>(frame, error.inner);
    if (ipv4 ? !calls_for_error(*ip4, frame, error.inner)
             : !calls_for_error(*header_at<Ipv6Header>(frame, error.inner), frame, error.inner)) {
        return std::nullopt;
    }
    // Sections 8.1 and 8.2: to the sender the tunnel is a link, beyond which it cannot be reached.
    if (error.type != kIcmp6TooBig) return InnerError{};
    if (ipv4 && (ip4->fragment.host() & kIpv4DontFragment) == 0) return std::nullopt;
    return InnerError{IcmpError::kTooBig, static_cast<uint16_t>(error.mtu - error.outer)};
}

}  // namespace slash32
