// SPDX-License-Identifier: Apache-2.0
// The segments stage: what this node does with a packet to one of its segments (RFC 8986 section
// 4). On an uplink alone: elsewhere such packets have been refused.
//
// A segment is a route like any other, whose adjacency says what it is. An endpoint gives the
// packet its next destination and leaves it to the stages behind; the end of a tunnel takes the
// outer headers off, and the packet goes on as one that the uplink has received in the VRF.
#include "dp/packet/segments.h"

#include "dp/packet/nd.h"
#include "dp/packet/path_hash.h"
#include "dp/stage/disposition.h"
#include "dp/stage/parse_again.h"
#include "dp/stage/stages.h"
#include "dp/stage/to_host.h"

namespace slash32 {
namespace {

// Segments of this node that one packet may visit, one behind the other.
constexpr unsigned kMaxVisits = 2 * kMaxSegments;

// Is there anything of segment routing about the packet?
bool concerns_segments(const SrDomain& domain, const PacketMeta& meta) {
    return meta.protocol == kProtoIpv4 || meta.protocol == kProtoIpv6 ||
           meta.has(kSegmentRoutingHeader) || covers(domain.locators, ipv6_of(meta).destination);
}

// Its destination is not looked up: the segment says where it goes.
void steer(WorkerContext& context, Burst& burst, unsigned i, NextHopId hop) {
    burst.meta[i].next_hop = context.member(hop, path_hash(burst.meta[i]));
    burst.steered |= 1u << i;
}

// Takes the outer headers off. The inner packet is as if received, but for its VRF. False: dropped.
bool decapsulate(WorkerContext& context, Burst& burst, unsigned i, VrfId vrf) {
    PacketMeta& meta = burst.meta[i];
    rte_mbuf* packet = burst.packets[i];
    const uint32_t bit = 1u << i;
    const PacketKind kind = meta.protocol == kProtoIpv4 ? PacketKind::kIpv4 : PacketKind::kIpv6;
    const uint8_t outer = traffic_class(PacketKind::kIpv6, meta.l3) & kEcnMask;
    const Mac from = ethernet_before(meta).source;
    auto* ethernet = reinterpret_cast<EthernetHeader*>(rte_pktmbuf_adj(packet, meta.l3_length));
    ethernet->destination = burst.in->router_mac;
    ethernet->source = from;
    ethernet->type = kind == PacketKind::kIpv4 ? kEtherIpv4 : kEtherIpv6;
    // What the device has found out is of the outer headers, or said to be.
    packet->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
    parse_again(context, burst, i);
    if ((burst.live & bit) == 0) return false;
    burst.vrfs[i] = vrf;
    meta.flags |= kDecapsulated;
    const uint8_t inner = traffic_class(kind, meta.l3) & kEcnMask;
    const auto mark = ecn_out_of_tunnel(outer, inner);
    if (!mark) {
        drop(context, burst, i, DropReason::kEcnMismatch);
        return false;
    }
    if (*mark != inner) set_ecn(kind, meta.l3, *mark);
    return true;
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

bool has(const LocalSid& sid, SidFlavor flavor) {
    return (sid.flavors & flavor) != 0;
}

// The visit of one packet to one segment. True: it has another destination now, to be looked up.
class Visit {
  public:
    Visit(WorkerContext& context, Burst& burst, unsigned i, const LocalSid& sid)
        : context_(context), burst_(burst), meta_(burst.meta[i]), i_(i), sid_(sid) {}

    bool run() {
        if (sid_.behavior == SidBehavior::kUnknown) return refuse(DropReason::kUnknownSegment);
        if (meta_.has(kFragment)) return refuse(DropReason::kSegmentPayload);
        place_ = find_segment_routing(meta_);
        if (place_.header != nullptr && !is_valid(*place_.header))
            return refuse(DropReason::kBadSegmentHeader);
        if (sid_.behavior != SidBehavior::kEnd && sid_.behavior != SidBehavior::kEndX)
            return end_tunnel();
        if (has(sid_, kSidNextCsid) && shift_csid(destination(), sid_)) return go_on();
        return end();
    }

  private:
    Ip6& destination() { return reinterpret_cast<Ipv6Header*>(meta_.l3)->destination; }

    bool refuse(DropReason reason) {
        drop(context_, burst_, i_, reason);
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
            if (decapsulate(context_, burst_, i_, burst_.vrfs[i_]) &&
                sid_.behavior == SidBehavior::kEndX) {
                steer(context_, burst_, i_, sid_.next_hop);
            }
            return false;
        }
        if (!has(sid_, kSidUsp)) return refuse(DropReason::kSegmentPayload);
        if (place_.header != nullptr) remove_header();
        if (burst_.in->twin == kNoPort) return refuse(DropReason::kSegmentPayload);
        to_host(context_, burst_, i_);
        return false;
    }

    // RFC 8986 sections 4.4 to 4.8.
    bool end_tunnel() {
        if (place_.header != nullptr && place_.header->segments_left != 0)
            return refuse(DropReason::kSegmentsLeft);
        if (!carries(sid_, meta_.protocol)) return refuse(DropReason::kSegmentPayload);
        if (!decapsulate(context_, burst_, i_, sid_.vrf)) return false;
        if (sid_.next_hop != kNoNextHop) steer(context_, burst_, i_, sid_.next_hop);
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
    SegmentRoutingPlace place_;
};

void process(WorkerContext& context, Burst& burst, unsigned i, NextHopId hop) {
    PacketMeta& meta = burst.meta[i];
    const bool is_inside = covers(context.domain->sources, ipv6_of(meta).source);
    for (unsigned visits = 0; visits < kMaxVisits; ++visits) {
        // What the kernel's routing has put there stands in a group of one.
        const Adjacency& adjacency = context.adjacency(context.member(hop, 0));
        const bool is_ours = adjacency.kind == AdjacencyKind::kSegment;
        if (!is_inside && (is_ours || meta.has(kSegmentRoutingHeader) ||
                           covers(context.domain->locators, ipv6_of(meta).destination))) {
            return drop(context, burst, i, DropReason::kOutsideDomain);
        }
        if (!is_ours) return;  // on its way to another node
        SidCounters& counters = context.counters->sids[adjacency.sid->counter];
        counters.packets.add(1);
        counters.bytes.add(meta.ip_length);
        if (!Visit(context, burst, i, *adjacency.sid).run()) return;
        hop = context.fib.lookup(burst.vrfs[i], ipv6_of(meta).destination);
    }
    drop(context, burst, i, DropReason::kSegmentsLeft);
}

}  // namespace

void process_segments(WorkerContext& context, Burst& burst) {
    if (context.domain == nullptr || burst.in->kind != PortKind::kUplink) [[likely]]
        return;
    std::array<Ip6, kBurstSize> destinations;
    std::array<NextHopId, kBurstSize> hops;
    uint32_t mask = 0;
    for_each_packet(burst.live & burst.ipv6, [&](unsigned i) {
        const PacketMeta& meta = burst.meta[i];
        if (!concerns_segments(*context.domain, meta)) return;
        mask |= 1u << i;
        destinations[i] = ipv6_of(meta).destination;
    });
    if (mask == 0) return;
    context.fib.lookup_bulk(mask, burst.vrfs.data(), destinations.data(), hops.data());
    for_each_packet(mask, [&](unsigned i) { process(context, burst, i, hops[i]); });
}

}  // namespace slash32
