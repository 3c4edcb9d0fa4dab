// SPDX-License-Identifier: Apache-2.0
// What is addressed to the router itself: echo is answered in place (RFC 792, RFC 4443 section 4),
// UDP is told that no port listens, so that traceroute to the gateway ends; the rest is refused.
#include "dp/packet/checksum.h"
#include "dp/packet/nd.h"
#include "dp/packet/source_match.h"
#include "dp/stage/disposition.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/stages.h"

#include <array>
#include <bit>
#include <utility>

namespace slash32 {
namespace {

constexpr uint8_t kHopLimitOfOurs = 64;

struct Family4 {
    using Header = Ipv4Header;
    static constexpr uint8_t kProtocol = kProtoIcmp;
    static constexpr uint8_t kRequest = kIcmpEcho;
    static constexpr uint8_t kReply = kIcmpEchoReply;
    static Ip4 destination(const Header& ip) { return ip.destination.get(); }
    static void turn(Header& ip) {
        std::swap(ip.source, ip.destination);
        ip.ttl = kHopLimitOfOurs;
        set_ipv4_checksum(ip);
    }
};

struct Family6 {
    using Header = Ipv6Header;
    static constexpr uint8_t kProtocol = kProtoIcmp6;
    static constexpr uint8_t kRequest = kIcmp6Echo;
    static constexpr uint8_t kReply = kIcmp6EchoReply;
    static Ip6 destination(const Header& ip) { return ip.destination; }
    static void turn(Header& ip) {
        std::swap(ip.source, ip.destination);
        ip.hop_limit = kHopLimitOfOurs;
    }
};

// Swapping the addresses changes no sum; only the type is new (RFC 1624).
template <typename Family>
void answer(WorkerContext& context, Burst& burst, unsigned i) {
    PacketMeta& meta = burst.meta[i];
    EthernetHeader& ethernet = ethernet_of(burst, i);
    ethernet.destination = ethernet.source;
    ethernet.source = burst.in->router_mac;
    Family::turn(*reinterpret_cast<typename Family::Header*>(meta.l3));
    auto& icmp = *reinterpret_cast<IcmpHeader*>(meta.l3 + meta.l3_length);
    const auto word = [](uint8_t type) { return Be16{static_cast<uint16_t>(type << 8)}; };
    const Be16 checksum =
        checksum_adjust(icmp.checksum.get(), word(Family::kRequest), word(Family::kReply));
    // The one message that the update is wrong for: all zero but for its type. Its checksum is
    // 0xffff, which is as good as 0 for every other.
    icmp.checksum = checksum == Be16{} ? Be16{0xffff} : checksum;
    icmp.type = Family::kReply;
    reply(context, burst, i);
}

template <typename Family>
void visit(WorkerContext& context, Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    // RFC 1122 section 3.3.6: a frame to a group is none to this address.
    if (meta.has(kLinkBroadcast | kLinkMulticast)) return;
    const bool whole = !meta.has(kFragment);
    if (whole && meta.protocol == Family::kProtocol && icmp_of(meta).type == Family::kRequest &&
        icmp_of(meta).code == 0) {
        return answer<Family>(context, burst, i);
    }
    const DropReason reason = burst.in->kind == PortKind::kUplink ? DropReason::kNotForRouter
                                                                  : DropReason::kGatewayUnserved;
    if (whole && meta.protocol == kProtoUdp) {
        return drop_with_error(context, burst, i, reason, IcmpError::kPortUnreachable);
    }
    drop(context, burst, i, reason);
}

// One of 64 bits by a hash: enough to tell nearly all that is not the router's. By all of the
// address, since gateways and segments are much alike in single bytes.
uint64_t bit_of(uint64_t address) {
    return uint64_t{1} << (address * 0x9e3779b97f4a7c15 >> 58);
}
uint64_t bit_of(const Ip4& address) {
    return bit_of(address.value.raw());
}
uint64_t bit_of(const Ip6& address) {
    const auto halves = std::bit_cast<std::array<uint64_t, 2>>(address.bytes);
    return bit_of(halves[0] ^ halves[1]);
}

// Of all addresses that is_router_address() knows.
uint64_t own_bits(const PortConfig& in, Family4) {
    uint64_t bits = bit_of(in.gateway4);
    for (unsigned n = 0; n < in.gateway_count; ++n)
        if (in.gateways[n].is_ipv4()) bits |= bit_of(in.gateways[n].ipv4());
    return bits;
}
uint64_t own_bits(const PortConfig& in, Family6) {
    uint64_t bits = bit_of(in.gateway6) | bit_of(router_link_local(in));
    for (unsigned n = 0; n < in.gateway_count; ++n)
        if (!in.gateways[n].is_ipv4()) bits |= bit_of(in.gateways[n].ipv6());
    return bits;
}

// The packets of `mask` that are addressed to the router.
template <typename Family>
uint32_t addressed_to_us(const Burst& burst, uint32_t mask) {
    if (mask == 0) return 0;
    const PortConfig& in = *burst.in;
    const uint64_t own = own_bits(in, Family{});
    uint32_t found = 0;
    for_nearly_each_packet(mask, [&](unsigned i) {
        const auto& ip = *reinterpret_cast<const typename Family::Header*>(burst.meta[i].l3);
        const auto destination = Family::destination(ip);
        if ((own & bit_of(destination)) == 0) [[likely]]
            return;
        if (is_router_address(in, destination)) found |= 1u << i;
    });
    return found;
}

}  // namespace

void answer_echo(WorkerContext& context, Burst& burst) {
    if (burst.in->twin != kNoPort) return;  // the host answers for its addresses
    for_each_packet(addressed_to_us<Family4>(burst, burst.live & burst.ipv4),
                    [&](unsigned i) { visit<Family4>(context, burst, i); });
    for_each_packet(addressed_to_us<Family6>(burst, burst.live & burst.ipv6),
                    [&](unsigned i) { visit<Family6>(context, burst, i); });
}

}  // namespace slash32
