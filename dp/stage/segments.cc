// SPDX-License-Identifier: Apache-2.0
// The segments stage: what this node does with a packet to one of its segments (RFC 8986 section
// 4). On an uplink alone: elsewhere such packets have been refused.
//
// A segment is a route like any other, whose adjacency says what it is. An endpoint gives the
// packet its next destination and leaves it to the stages behind; the end of a tunnel takes the
// outer headers off, and the packet goes on as one that the uplink has received in the VRF. Such
// packets are parsed when all of the burst have been visited: a new Ethernet header that were read
// right behind the writing of it would stall the core.
#include "dp/packet/segments.h"

#include "dp/packet/icmp.h"
#include "dp/packet/nd.h"
#include "dp/packet/path_hash.h"
#include "dp/packet/segment_hmac.h"
#include "dp/stage/disposition.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/parse_again.h"
#include "dp/stage/stages.h"
#include "dp/stage/to_host.h"

#include <rte_prefetch.h>

namespace slash32 {
namespace {

// Segments of this node that one packet may visit, one behind the other.
constexpr unsigned kMaxVisits = 2 * kMaxSegments;

// Is there anything of segment routing about the packet?
bool concerns_segments(const SrDomain& domain, const PacketMeta& meta) {
    return meta.protocol == kProtoIpv4 || meta.protocol == kProtoIpv6 ||
           meta.has(kSegmentRoutingHeader) || domain.locators.covers(ipv6_of(meta).destination);
}

// An ICMPv6 error about a packet that this node has put into a tunnel, as far as it quotes it.
// Whoever has seen the packet may say so: the fabric's routers are not in the SR domain.
bool is_tunnel_error(const SrDomain& domain, const Burst& burst, unsigned i) {
    const PacketMeta& meta = burst.meta[i];
    if (ipv6_of(meta).destination != domain.tunnel_source || !is_icmp_error(meta)) return false;
    const uint32_t quoted = uint32_t{meta.l3_length} + static_cast<uint32_t>(sizeof(IcmpHeader));
    constexpr uint32_t kLeast = sizeof(Ipv6Header) + sizeof(Ipv4Header);
    if (meta.has(kFragment) || burst.packets[i]->nb_segs != 1 || meta.ip_length < quoted + kLeast)
        return false;
    const auto& outer = *reinterpret_cast<const Ipv6Header*>(meta.l3 + quoted);
    return outer.source == domain.tunnel_source && domain.locators.covers(outer.destination);
}

void take_tunnel_errors(WorkerContext& context, Burst& burst) {
    for_each_packet(burst.live & burst.icmp6, [&](unsigned i) {
        if (is_tunnel_error(*context.domain, burst, i))
            punt(context, burst, i, PuntReason::kTunnelError);
    });
}

// Its destination is not looked up: the segment says where it goes.
void steer(WorkerContext& context, Burst& burst, unsigned i, NextHopId hop) {
    burst.meta[i].next_hop = context.member(hop, path_hash(burst.meta[i]));
    burst.steered |= 1u << i;
}

// What came out of tunnels, and is to be parsed yet.
struct Decapsulated {
    uint32_t packets = 0;
    struct Packet {
        uint8_t ecn;   // of the outer header
        VrfId vrf;     // that the inner packet goes by
        NextHopId to;  // where the segment leads, kNoNextHop: the destination says it
    };
    std::array<Packet, kBurstSize> of;
};

// Takes the outer headers off.
void decapsulate(Burst& burst, unsigned i, VrfId vrf, NextHopId to, Decapsulated& inner) {
    const PacketMeta& meta = burst.meta[i];
    rte_mbuf* packet = burst.packets[i];
    inner.packets |= 1u << i;
    inner.of[i] = {
        .ecn = static_cast<uint8_t>(traffic_class(PacketKind::kIpv6, meta.l3) & kEcnMask),
        .vrf = vrf,
        .to = to};
    const EthernetHeader outer = ethernet_before(meta);
    const bool ipv4 = meta.protocol == kProtoIpv4;
    auto* ethernet = reinterpret_cast<EthernetHeader*>(rte_pktmbuf_adj(packet, meta.l3_length));
    *ethernet = outer;
    ethernet->type = ipv4 ? kEtherIpv4 : kEtherIpv6;
    // What the device has found out is of the outer headers, or said to be.
    packet->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
}

// The inner packets are as if received, but for their VRFs.
void receive(WorkerContext& context, Burst& burst, const Decapsulated& inner) {
    parse_again(context, burst, inner.packets);
    for_each_packet(inner.packets & burst.live, [&](unsigned i) {
        PacketMeta& meta = burst.meta[i];
        const Decapsulated::Packet& came = inner.of[i];
        burst.vrfs[i] = came.vrf;
        meta.flags |= kDecapsulated;
        if (came.to != kNoNextHop) steer(context, burst, i, came.to);
        const uint8_t mark = traffic_class(meta.kind, meta.l3) & kEcnMask;
        if (mark == came.ecn) return;
        const auto wanted = ecn_out_of_tunnel(came.ecn, mark);
        if (!wanted) return drop(context, burst, i, DropReason::kEcnMismatch);
        if (*wanted != mark) set_ecn(meta.kind, meta.l3, *wanted);
    });
}

bool carries(const LocalSid& sid, uint8_t protocol) {
    switch (sid.behavior) {
        case SidBehavior::kEndDt4:
        case SidBehavior::kEndDx4:
            return protocol == kProtoIpv4;
        case SidBehavior::kEndDt6:
        case SidBehavior::kEndDx6:
            return protocol == kProtoIpv6;
        default:
            return protocol == kProtoIpv4 || protocol == kProtoIpv6;
    }
}

bool ends_tunnel(const LocalSid& sid) {
    return sid.behavior >= SidBehavior::kEndDt4;
}

bool has(const LocalSid& sid, SidFlavor flavor) {
    return (sid.flavors & flavor) != 0;
}

// The visit of one packet to one segment. True: it has another destination now, to be looked up.
class Visit {
  public:
    Visit(WorkerContext& context, Burst& burst, unsigned i, const LocalSid& sid,
          Decapsulated& inner)
        : context_(context), burst_(burst), meta_(burst.meta[i]), i_(i), sid_(sid), inner_(inner) {}

    bool run() {
        if (sid_.behavior == SidBehavior::kUnknown) return refuse(DropReason::kUnknownSegment);
        if (meta_.has(kFragment)) return refuse(DropReason::kSegmentPayload);
        place_ = find_segment_routing(meta_);
        if (place_.header != nullptr && !is_valid(*place_.header))
            return refuse_header(DropReason::kBadSegmentHeader);
        if (context_.domain->keys.count != 0 && !check_hmac()) return false;
        if (ends_tunnel(sid_)) return end_tunnel();
        if (has(sid_, kSidNextCsid) && shift_csid(destination(), sid_)) return go_on();
        return end();
    }

  private:
    Ip6& destination() { return reinterpret_cast<Ipv6Header*>(meta_.l3)->destination; }

    bool refuse(DropReason reason) {
        drop(context_, burst_, i_, reason);
        return false;
    }

    bool refuse_field(DropReason reason, const uint8_t* field) {
        drop_with_error(context_, burst_, i_, reason, IcmpError::kBadField,
                        static_cast<uint16_t>(field - meta_.l3));
        return false;
    }

    // RFC 8754 section 4.3.1.1, RFC 8986 section 4.4.
    bool refuse_header(DropReason reason) {
        return refuse_field(reason, &place_.header->segments_left);
    }

    // RFC 8754 section 2.1.2.1. False: it has been refused.
    bool check_hmac() {
        const SegmentKeys& keys = context_.domain->keys;
        const HmacTlv* tlv = place_.header == nullptr ? nullptr : find_hmac(*place_.header);
        if (tlv == nullptr) return !keys.required || refuse(DropReason::kBadHmac);
        if (is_authentic(keys, ipv6_of(meta_).source, destination(), *place_.header, *tlv))
            return true;
        return refuse_field(DropReason::kBadHmac, &tlv->type);
    }

    // RFC 8986 section 4.1.1.
    bool refuse_payload() {
        drop_with_error(context_, burst_, i_, DropReason::kSegmentPayload,
                        IcmpError::kBadUpperLayer, meta_.l3_length);
        return false;
    }

    // To the next segment, by the routes or over the segment's own link.
    bool go_on() {
        if (sid_.behavior == SidBehavior::kEnd) return true;
        steer(context_, burst_, i_, sid_.next_hop);
        return false;
    }

    // RFC 8986 sections 4.1 and 4.2.
    bool end() {
        if (place_.header == nullptr || place_.header->segments_left == 0) return end_of_path();
        SegmentRoutingHeader& header = *place_.header;
        destination() = header.segments()[--header.segments_left];
        if (header.segments_left == 0 && has(sid_, kSidPsp)) remove_header();
        return go_on();
    }

    // The last segment is this one: what is behind the headers is for the node itself.
    bool end_of_path() {
        if (has(sid_, kSidUsd) && carries(sid_, meta_.protocol)) {
            decapsulate(burst_, i_, burst_.vrfs[i_], sid_.next_hop, inner_);
            return false;
        }
        if (!has(sid_, kSidUsp) || burst_.in->twin == kNoPort) return refuse_payload();
        if (place_.header != nullptr) remove_header();
        to_host(context_, burst_, i_);
        return false;
    }

    // RFC 8986 sections 4.4 to 4.8.
    bool end_tunnel() {
        if (place_.header != nullptr && place_.header->segments_left != 0)
            return refuse_header(DropReason::kSegmentsLeft);
        if (!carries(sid_, meta_.protocol)) return refuse_payload();
        decapsulate(burst_, i_, sid_.vrf, sid_.next_hop, inner_);
        return false;
    }

    void remove_header() {
        remove_segment_routing(burst_.packets[i_], meta_, place_);
        burst_.segment_routing &= ~(1u << i_);
        place_ = {};
    }

    WorkerContext& context_;
    Burst& burst_;
    PacketMeta& meta_;
    const unsigned i_;
    const LocalSid& sid_;
    Decapsulated& inner_;
    SegmentRoutingPlace place_;
};

void count(WorkerContext& context, const LocalSid& sid, const PacketMeta& meta) {
    SidCounters& counters = context.counters->sids[sid.counter];
    counters.packets.add(1);
    counters.bytes.add(meta.ip_length);
}

// One packet's way from segment to segment of this node.
[[gnu::noinline]] void process(WorkerContext& context, Burst& burst, unsigned i, NextHopId hop,
                               Decapsulated& inner) {
    PacketMeta& meta = burst.meta[i];
    const bool is_inside = context.domain->sources.covers(ipv6_of(meta).source);
    for (unsigned visits = 0; visits < kMaxVisits; ++visits) {
        // What the kernel's routing has put there stands in a group of one.
        const Adjacency& adjacency = context.adjacency(context.member(hop, 0));
        const bool is_ours = adjacency.kind == AdjacencyKind::kSegment;
        if (!is_inside && (is_ours || meta.has(kSegmentRoutingHeader) ||
                           context.domain->locators.covers(ipv6_of(meta).destination))) {
            return drop(context, burst, i, DropReason::kOutsideDomain);
        }
        if (!is_ours) return;  // on its way to another node
        count(context, *adjacency.sid, meta);
        if (!Visit(context, burst, i, *adjacency.sid, inner).run()) return;
        hop = context.fib.lookup(burst.vrfs[i], ipv6_of(meta).destination);
    }
    drop(context, burst, i, DropReason::kSegmentsLeft);
}

// The segment, if it is the end of a tunnel: what nearly all packets are for. Else nullptr.
const LocalSid* tunnel_end(const Adjacency& adjacency) {
    if (adjacency.kind != AdjacencyKind::kSegment) return nullptr;
    return ends_tunnel(*adjacency.sid) ? adjacency.sid : nullptr;
}

// Is there nothing to be looked at before it is taken out of the tunnel?
bool is_plain(const SrDomain& domain, const LocalSid& end, const PacketMeta& meta) {
    return !meta.has(kFragment | kSegmentRoutingHeader) && carries(end, meta.protocol) &&
           domain.sources.covers(ipv6_of(meta).source) && !domain.keys.required;
}

}  // namespace

void process_segments(WorkerContext& context, Burst& burst) {
    if (context.domain == nullptr || burst.in->kind != PortKind::kUplink) [[likely]]
        return;
    if ((burst.live & burst.icmp6) != 0) [[unlikely]]
        take_tunnel_errors(context, burst);
    std::array<Ip6, kBurstSize> destinations;
    std::array<NextHopId, kBurstSize> hops;
    uint32_t mask = 0;
    uint32_t looked_up = 0;  // the packet before has another destination
    const Ip6* last = nullptr;
    for_each_packet(burst.live & burst.ipv6, [&](unsigned i) {
        const PacketMeta& meta = burst.meta[i];
        if (!concerns_segments(*context.domain, meta)) return;
        rte_prefetch0(meta.l3 + meta.l3_length + sizeof(Ipv4Header));
        mask |= 1u << i;
        destinations[i] = ipv6_of(meta).destination;
        if (last == nullptr || destinations[i] != *last) looked_up |= 1u << i;
        last = &destinations[i];
    });
    if (mask == 0) return;
    context.fib.lookup_bulk(looked_up, burst.vrfs.data(), destinations.data(), hops.data());
    Decapsulated inner;
    NextHopId hop;
    const LocalSid* end = nullptr;
    for_each_packet(mask, [&](unsigned i) {
        if ((looked_up >> i & 1) != 0) {
            hop = hops[i];
            end = tunnel_end(context.adjacency(context.member(hop, 0)));
        }
        if (end == nullptr || !is_plain(*context.domain, *end, burst.meta[i]))
            return process(context, burst, i, hop, inner);
        count(context, *end, burst.meta[i]);
        decapsulate(burst, i, end->vrf, end->next_hop, inner);
    });
    if (inner.packets != 0) receive(context, burst, inner);
}

}  // namespace slash32
