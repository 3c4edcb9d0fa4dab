// SPDX-License-Identifier: Apache-2.0
// Proxy ARP (RFC 826, RFC 1027): towards VMs the router speaks for every address, on-link or not,
// except the VM's own; on an uplink for its own addresses, and in L2 mode for the VMs'.
//
// RFC 5227: a probe asks whether somebody else holds the address, so it is answered only if
// somebody does; an announcement needs no answer. An announcement of an allowed pair moves a shared
// address, which is for control to decide.
#include "dp/packet/source_match.h"
#include "dp/packet/view.h"
#include "dp/stage/disposition.h"
#include "dp/stage/proxy.h"
#include "dp/stage/stages.h"

#include <optional>

namespace slash32 {
namespace {

// Nobody may hold such an address.
bool is_unusable(Ip4 address) {
    const uint32_t net = address.value.to_host() >> 24;
    return net == 0 || net == 127 || net >= 224;
}

// Where a route leads, if it leads out of a port.
const Adjacency* egress(const WorkerContext& context, NextHopId id) {
    if (id == kNoNextHop) return nullptr;
    const Adjacency& adjacency = context.adjacency(context.member(id, 0));
    return leads_out(adjacency) ? &adjacency : nullptr;
}

bool is_announcement_of_pair(const PortConfig& in, const ArpHeader& arp) {
    return in.kind != PortKind::kUplink &&
           match_source(in, arp.sender_mac, arp.sender_ip.get()) == SourceMatch::kPair;
}

// Why a request is not answered; nothing if it is.
std::optional<DropReason> refuse_request(const WorkerContext& context, const PortConfig& in,
                                         const ArpHeader& arp) {
    const Ip4 target = arp.target_ip.get();
    if (in.kind == PortKind::kUplink) {
        if (is_router_address(in, target) || speaks_for(context, in, target)) return {};
        return DropReason::kArpNotForUs;
    }
    if (is_fixed_address(in, target)) return DropReason::kArpOwnAddress;
    if (is_router_address(in, target)) return {};
    if (is_unusable(target)) return DropReason::kBadArp;
    const bool probe = arp.sender_ip.get() == Ip4{};
    // Any route at all makes the router speak for an address, but only its own host route says that
    // somebody holds it.
    const Adjacency* holder = egress(context, probe ? context.fib.lookup_host(in.vrf, target)
                                                    : context.fib.lookup(in.vrf, target));
    if (holder != nullptr && holder->port == in.id) return DropReason::kArpOwnAddress;
    if (probe && holder == nullptr) return DropReason::kArpProbeFree;
    return {};
}

void write_answer(const PortConfig& in, EthernetHeader& ethernet, ArpHeader& arp) {
    const Wire<Ip4> target = arp.target_ip;
    arp.operation = kArpReplyOp;
    arp.target_mac = arp.sender_mac;
    arp.target_ip = arp.sender_ip;
    arp.sender_mac = in.router_mac;
    arp.sender_ip = target;
    ethernet.destination = ethernet.source;
    ethernet.source = in.router_mac;
}

void handle_request(WorkerContext& context, Burst& burst, unsigned i, ArpHeader& arp) {
    const PortConfig& in = *burst.in;
    const bool gratuitous = arp.sender_ip.get() == arp.target_ip.get();
    if (gratuitous && in.kind != PortKind::kUplink) {
        if (is_announcement_of_pair(in, arp)) {
            return punt(context, burst, i, PuntReason::kAddressAnnounced);
        }
        return consume(context, burst, i);
    }
    if (const auto reason = refuse_request(context, in, arp)) {
        return drop(context, burst, i, *reason);
    }
    write_answer(in, ethernet_of(burst, i), arp);
    trim_packet(burst.packets[i], sizeof(EthernetHeader) + sizeof(ArpHeader));
    reply(context, burst, i);
}

void handle_reply(WorkerContext& context, Burst& burst, unsigned i, const ArpHeader& arp) {
    const bool gratuitous =
        arp.sender_ip.get() == arp.target_ip.get() || burst.meta[i].has(kLinkBroadcast);
    if (gratuitous && is_announcement_of_pair(*burst.in, arp)) {
        return punt(context, burst, i, PuntReason::kAddressAnnounced);
    }
    drop(context, burst, i, DropReason::kArpReply);
}

}  // namespace

void answer_arp(WorkerContext& context, Burst& burst) {
    for_each_packet(burst.live & burst.arp, [&](unsigned i) {
        auto& arp = *reinterpret_cast<ArpHeader*>(burst.meta[i].l3);
        const Be16 operation = arp.operation.get();
        if (operation == kArpRequest) {
            handle_request(context, burst, i, arp);
        } else if (operation == kArpReplyOp) {
            handle_reply(context, burst, i, arp);
        } else {
            drop(context, burst, i, DropReason::kBadArp);
        }
    });
}

}  // namespace slash32
