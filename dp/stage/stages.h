// SPDX-License-Identifier: Apache-2.0
// The stages, in the order of the pipeline (dp/worker/pipeline.cc). Each is one file, works on the
// live packets of the burst only, and never calls another stage.
#pragma once

#include "dp/packet/burst.h"
#include "dp/stage/context.h"

namespace slash32 {

// Shows what was received to a capture of the port, untouched.
void capture_received(WorkerContext&, Burst&);
// Sends what the host puts on the wire out of its uplink, untouched.
void take_from_host(WorkerContext&, Burst&);
// Counts what was received and fills meta from the headers; bounds, lengths, checksums, addresses
// that may never be seen.
void parse(WorkerContext&, Burst&);
// Gives the host what an uplink has received for the link: ARP, ND, link-local and group addresses,
// what is no IP.
void give_to_host(WorkerContext&, Burst&);
// Refuses what the port may not send: MAC, source address, ARP sender, ND target, RA, DHCP server,
// SRH.
void check_port_security(WorkerContext&, Burst&);
// Proxy ARP: answers in place (RFC 826, RFC 1027, RFC 5227).
void answer_arp(WorkerContext&, Burst&);
// Proxy ND, router advertisements (RFC 4861), MLD absorbed.
void answer_nd(WorkerContext&, Burst&);
// Echo to the gateway (RFC 792, RFC 4443); other traffic to its addresses is refused.
void answer_echo(WorkerContext&, Burst&);
// What is to a segment of this node: goes on to the next segment, or out of its tunnel (RFC 8986).
void process_segments(WorkerContext&, Burst&);
// Broadcast and multicast: the DHCP hook, and nothing further.
void refuse_group_destinations(WorkerContext&, Burst&);
// Gives later parts of fragmented packets the ports of the first; keeps those that come before it.
void join_fragments(WorkerContext&, Burst&);
// Looks every packet's flow up; one that has a flow which still holds needs neither of the filters
// nor a route.
void find_flows(WorkerContext&, Burst&);
// Does the source port's policy let it be sent.
void filter_egress(WorkerContext&, Burst&);
// Looks the destinations up in the VRFs of the packets; adjacencies.
void route(WorkerContext&, Burst&);
// Does the destination port's policy let it be received.
void filter_ingress(WorkerContext&, Burst&);
// Makes flows of what has been let through by a stateful rule.
void make_flows(WorkerContext&, Burst&);
// Hop limit, MTU, Ethernet header; moves the packets to `tx`.
void rewrite(WorkerContext&, Burst&);
// Makes each packet in `tx` fit what its receiver accepts: checksums, segmentation.
void resolve_offloads(WorkerContext&, Burst&);
// Puts the outer headers in front of what enters a tunnel.
void encapsulate(WorkerContext&, Burst&);
// Sends what is in `tx`, one call a destination port.
void transmit(WorkerContext&, Burst&);

}  // namespace slash32
