// SPDX-License-Identifier: Apache-2.0
// The segments stage: what this node does with a packet to one of its segments (RFC 8986 section
// 4). On an uplink alone: elsewhere such packets have been refused.
//
// A segment is a route like any other, whose adjacency says what it is. An endpoint gives the
// packet its next destination and leaves it to the stages behind; the end of a tunnel takes the
// outer headers off, and the packet goes on as one that the uplink has received in the VRF. Nearly
// all packets are plain ones in a plain tunnel: they go a short way. The others are visited one by
// one (segment_visit.h), and parsed when all of the burst have been: a new Ethernet header that
// were read right behind the writing of it would stall the core.
#include "dp/packet/segments.h"

#include "dp/base/bytes.h"
#include "dp/packet/icmp.h"
#include "dp/packet/nd.h"
#include "dp/stage/disposition.h"
#include "dp/stage/parse_again.h"
#include "dp/stage/parse_plain.h"
#include "dp/stage/segment_visit.h"
#include "dp/stage/stages.h"

#include <array>
#include <cstddef>
#include <cstring>

namespace slash32 {
namespace {

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

// The packets of a run, of one source to one segment, that go the short way: nearly all of them do.
// Their tunnel ends here, nothing stands between the outer header and a plain packet, and that has
// met as much congestion as the tunnel.
class Run {
  public:
    Run(WorkerContext& context, Burst& burst) : context_(context), burst_(burst) {}

    // Where the routes lead.
    NextHopId hop() const { return hop_; }

    // Whether the packet is one of the run, by source and destination, which stand together.
    bool holds(const PacketMeta& meta) const {
        return hop_ != kNone && same_32_bytes(&ipv6_of(meta).source, way_.data());
    }

    // The next packets are like this one. Apart, as all that is not done for each packet.
    [[gnu::noinline]] void begin(unsigned i) {
        end_run();
        const Ipv6Header& ip = ipv6_of(burst_.meta[i]);
        // A copy: the header is written over when the packet has come out of the tunnel.
        std::memcpy(way_.data(), &ip.source, way_.size());
        hop_ = context_.fib.lookup(burst_.vrfs[i], ip.destination);
        const SrDomain& domain = *context_.domain;
        const Adjacency& adjacency = context_.adjacency(context_.member(hop_, 0));
        const bool ends = adjacency.kind == AdjacencyKind::kSegment && ends_tunnel(*adjacency.sid);
        const bool open = domain.sources.covers(ip.source) && !domain.keys.required;
        end_ = ends && open ? adjacency.sid : nullptr;
        takes_ipv4_ = end_ != nullptr && carries(*end_, kProtoIpv4);
        takes_ipv6_ = end_ != nullptr && carries(*end_, kProtoIpv6);
    }

    // Takes the packet out of the tunnel. False, and the packet as it was: it has to go the long
    // way.
    bool open(unsigned i) {
        PacketMeta& meta = burst_.meta[i];
        rte_mbuf* packet = burst_.packets[i];
        constexpr uint16_t kOuter = sizeof(Ipv6Header);
        const bool ipv4 = meta.protocol == kProtoIpv4;
        if (!(ipv4 ? takes_ipv4_ : takes_ipv6_ && meta.protocol == kProtoIpv6)) return false;
        if (meta.flags != 0 || meta.l3_length != kOuter || packet->nb_segs != 1 ||
            meta.ip_length < kOuter + PlainParser::kLeast)
            return false;
        uint8_t* l3 = meta.l3 + kOuter;
        const uint32_t length = meta.ip_length;
        const uint8_t outer_class = traffic_class(PacketKind::kIpv6, meta.l3);
        const uint8_t inner_class = traffic_class(ipv4 ? PacketKind::kIpv4 : PacketKind::kIpv6, l3);
        if (((outer_class ^ inner_class) & kEcnMask) != 0) return false;
        const EthernetHeader& before = ethernet_before(meta);
        // Written where it stays: a copy of what has just been written in words stalls the core.
        const uint32_t inner = ipv4 ? PlainParser::parse_ipv4(l3, length - kOuter, meta)
                                    : PlainParser::parse_ipv6(l3, length - kOuter, meta);
        if (inner == 0) return false;
        frame_inner(packet, before, l3, ipv4 ? kProtoIpv4 : kProtoIpv6);
        packet->data_off = static_cast<uint16_t>(packet->data_off + kOuter);
        packet->pkt_len = packet->data_len = static_cast<uint16_t>(sizeof(EthernetHeader) + inner);
        meta.flags = kDecapsulated;
        burst_.vrfs[i] = end_->vrf;
        ipv4_ |= uint32_t{ipv4} << i;
        ++packets_;
        bytes_ += length;
        if (end_->next_hop != kNoNextHop) steer(context_, burst_, i, end_->next_hop);
        return true;
    }

    // After the last packet.
    void finish() {
        end_run();
        burst_.ipv6 &= ~ipv4_;
        burst_.ipv4 |= ipv4_;
    }

  private:
    void end_run() {
        if (packets_ != 0) count_sid(context_, *end_, packets_, bytes_);
        packets_ = 0;
        bytes_ = 0;
    }

    WorkerContext& context_;
    Burst& burst_;
    static constexpr NextHopId kNone{UINT32_MAX};

    std::array<std::byte, 2 * sizeof(Ip6)> way_;
    NextHopId hop_ = kNone;
    const LocalSid* end_ = nullptr;  // nullptr: the run goes the long way
    bool takes_ipv4_ = false;
    bool takes_ipv6_ = false;
    uint32_t ipv4_ = 0;  // that have come out
    uint32_t packets_ = 0;
    uint64_t bytes_ = 0;
};

}  // namespace

void process_segments(WorkerContext& context, Burst& burst) {
    if (context.domain == nullptr || burst.in->kind != PortKind::kUplink) [[likely]]
        return;
    if ((burst.live & burst.icmp6) != 0) [[unlikely]]
        take_tunnel_errors(context, burst);
    Decapsulated inner;
    Run run(context, burst);
    for_each_packet(burst.live & burst.ipv6, [&](unsigned i) {
        const PacketMeta& meta = burst.meta[i];
        if (!concerns_segments(*context.domain, meta)) return;
        if (!run.holds(meta)) run.begin(i);
        if (!run.open(i)) [[unlikely]]
            visit_segments(context, burst, i, run.hop(), inner);
    });
    run.finish();
    if (inner.packets != 0) receive(context, burst, inner);
}

}  // namespace slash32
