// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/tunnel_errors.h"

#include "ctrl/punt/tunnel_error.h"
#include "dp/packet/headers.h"
#include "dp/packet/path_hash.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/tunnel.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

namespace slash32 {
namespace {

using namespace std::chrono_literals;

constexpr auto kMtuLifetime = 10min;   // RFC 8201 section 5.3
constexpr size_t kQuotedBytes = 1280;  // more than any error quotes

// The inner packet as its sender's frame, with what is known of it. nullptr: there is no memory.
rte_mbuf* quote(rte_mempool* pool, std::span<const uint8_t> inner, PacketKind kind,
                const Adjacency& sender, PacketMeta& meta) {
    rte_mbuf* packet = rte_pktmbuf_alloc(pool);
    if (packet == nullptr) return nullptr;
    const size_t bytes = std::min(inner.size(), kQuotedBytes);
    auto* ethernet = reinterpret_cast<EthernetHeader*>(
        rte_pktmbuf_append(packet, static_cast<uint16_t>(sizeof(EthernetHeader) + bytes)));
    if (ethernet == nullptr) {
        rte_pktmbuf_free(packet);
        return nullptr;
    }
    ethernet->source = sender.destination;
    ethernet->destination = sender.source;
    ethernet->type = kind == PacketKind::kIpv4 ? kEtherIpv4 : kEtherIpv6;
    meta = {.l3 = reinterpret_cast<uint8_t*>(ethernet + 1),
            .ip_length = static_cast<uint16_t>(bytes),
            .kind = kind};
    std::memcpy(meta.l3, inner.data(), bytes);
    return packet;
}

// The error goes into the tunnel that leads to whom it is for. By the addresses alone: they are
// those of no connection.
bool wrap_error(rte_mbuf* packet, const ForwardingPlane::WayBack& way, PacketKind kind) {
    const PacketMeta error{.l3 = rte_pktmbuf_mtod_offset(packet, uint8_t*, sizeof(EthernetHeader)),
                           .kind = kind};
    return wrap_packet(packet, {.outer = *way.tunnel,
                                .link = way.link,
                                .kind = kind,
                                .flow_label = flow_label(path_hash(error))});
}

}  // namespace

void TunnelErrors::take(std::span<const uint8_t> frame) {
    const auto error = read_tunnel_error(frame);
    if (!error) return;
    if (error->type == kIcmp6TooBig) {
        plane_.learn_tunnel_mtu(error->last_segment, error->mtu,
                                Tunnels::Clock::now() + kMtuLifetime);
    }
    const auto said = translate(*error, frame);
    const auto way = plane_.find_tunnel_sender(error->last_segment, error->src, error->dst);
    if (!said || !way) return;
    const Adjacency& link = way->link;
    PacketMeta meta;
    rte_mbuf* packet = quote(pool_, frame.subspan(error->inner), error->kind, link, meta);
    if (packet == nullptr) return;
    make_icmp_error(*plane_.config(link.port), packet, meta, said->error, said->mtu);
    if (way->tunnel != nullptr && !wrap_error(packet, *way, error->kind)) {
        rte_pktmbuf_free(packet);
        return;
    }
    publisher_.send(0, Command::transmit(link.port, packet));
}

void TunnelErrors::age() {
    plane_.forget_tunnel_mtus(Tunnels::Clock::now());
}

}  // namespace slash32
