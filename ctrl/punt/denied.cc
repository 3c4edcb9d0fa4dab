// SPDX-License-Identifier: Apache-2.0
#include "ctrl/punt/denied.h"

#include "ctrl/punt/frame.h"
#include "dp/base/limits.h"
#include "dp/packet/headers.h"

namespace slash32 {
namespace {

constexpr size_t kEthernet = sizeof(EthernetHeader);
constexpr uint8_t kSctp = 132;
constexpr uint8_t kDestinationOptions = 60;
constexpr uint8_t kFragment = 44;

void read_ports(std::span<const uint8_t> frame, size_t offset, DeniedPacket& out) {
    if (out.protocol != kProtoTcp && out.protocol != kProtoUdp && out.protocol != kSctp) return;
    const auto* ports = header_at<Wire<Be16>[2]>(frame, offset);
    if (ports == nullptr) return;
    out.sport = (*ports)[0].host();
    out.dport = (*ports)[1].host();
}

bool read_ipv4(std::span<const uint8_t> frame, DeniedPacket& out) {
    const auto* ip = header_at<Ipv4Header>(frame, kEthernet);
    if (ip == nullptr) return false;
    out.src = IpAddress(ip->source.get());
    out.dst = IpAddress(ip->destination.get());
    out.protocol = ip->protocol;
    const bool first = (ip->fragment.host() & kIpv4OffsetMask) == 0;
    if (first) read_ports(frame, kEthernet + ip->length(), out);
    return true;
}

bool read_ipv6(std::span<const uint8_t> frame, DeniedPacket& out) {
    const auto* ip = header_at<Ipv6Header>(frame, kEthernet);
    if (ip == nullptr) return false;
    out.src = IpAddress(ip->source);
    out.dst = IpAddress(ip->destination);
    out.protocol = ip->next_header;
    size_t offset = kEthernet + sizeof(Ipv6Header);
    for (size_t n = 0; n < kMaxIpv6ExtensionHeaders; ++n) {
        const bool plain = out.protocol == kProtoHopByHop || out.protocol == kProtoRouting ||
                           out.protocol == kDestinationOptions;
        if (!plain && out.protocol != kFragment) break;
        const auto* extension = header_at<Ipv6Extension>(frame, offset);
        if (extension == nullptr) return true;
        if (!plain) {
            const auto* fragment = header_at<Ipv6Fragment>(frame, offset);
            out.protocol = extension->next_header;
            const bool later =
                fragment == nullptr || (fragment->offset.host() & kIpv6OffsetMask) != 0;
            if (later) return true;
            offset += sizeof(Ipv6Fragment);
            continue;
        }
        out.protocol = extension->next_header;
        offset += (size_t{extension->length} + 1) * 8;
    }
    read_ports(frame, offset, out);
    return true;
}

}  // namespace

std::optional<DeniedPacket> read_denied(std::span<const uint8_t> frame, const PuntInfo& info) {
    DeniedPacket out;
    out.port = info.port;
    out.reason = info.drop_reason;
    const auto* ethernet = header_at<EthernetHeader>(frame, 0);
    if (ethernet == nullptr) return std::nullopt;
    const Be16 type = ethernet->type.get();
    const bool read =
        type == kEtherIpv4 ? read_ipv4(frame, out) : type == kEtherIpv6 && read_ipv6(frame, out);
    return read ? std::optional(out) : std::nullopt;
}

}  // namespace slash32
