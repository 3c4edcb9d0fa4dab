// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/segment_visit.h"

#include "dp/packet/segment_hmac.h"
#include "dp/packet/segments.h"
#include "dp/stage/disposition.h"
#include "dp/stage/icmp_error.h"
#include "dp/stage/to_host.h"

namespace slash32 {
namespace {

// Segments of this node that one packet may visit, one behind the other.
constexpr unsigned kMaxVisits = 2 * kMaxSegments;

void decapsulate(Burst& burst, unsigned i, VrfId vrf, NextHopId to, Decapsulated& inner) {
    const PacketMeta& meta = burst.meta[i];
    inner.packets |= 1u << i;
    inner.of[i] = {
        .ecn = static_cast<uint8_t>(traffic_class(PacketKind::kIpv6, meta.l3) & kEcnMask),
        .vrf = vrf,
        .to = to};
    strip_outer(burst.packets[i], meta);
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

}  // namespace

// One packet's way from segment to segment of this node.
void visit_segments(WorkerContext& context, Burst& burst, unsigned i, NextHopId hop,
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
        count_sid(context, *adjacency.sid, 1, meta.ip_length);
        if (!Visit(context, burst, i, *adjacency.sid, inner).run()) return;
        hop = context.fib.lookup(burst.vrfs[i], ipv6_of(meta).destination);
    }
    drop(context, burst, i, DropReason::kSegmentsLeft);
}

}  // namespace slash32
