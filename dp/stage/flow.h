// SPDX-License-Identifier: Apache-2.0
// What the stages that find and make flows share: whether a flow still holds, and a packet on it.
//
// Thread safety: the worker's own, over shared flows (dp/abi/flow.h).
#pragma once

#include "dp/packet/burst.h"
#include "dp/stage/context.h"

namespace slash32 {

// The generation that a flow remembers of a port's filter: its policy's, or one that says "open" or
// "closed".
uint32_t filter_generation(const PortConfig& port);

// What the rules of `direction` look at in a packet of the key. `icmp_code` where it is ICMP.
PolicyQuery policy_query(const FlowKey& key, PolicyDirection direction, uint8_t icmp_code);

// What a flow keeps of the verdict of one end's filter, written where it stays.
void keep_verdict(const PortConfig& port, const PolicyVerdict& verdict, FlowVerdict& kept);

// Does an end that has let a flow through so let its answers through, too?
bool lets_answers_through(const PortConfig&, const PolicyVerdict&);
// The marks of a flow's direction 1: which ends must be asked about its answers.
uint32_t answer_marks(bool egress_lets_through, bool ingress_lets_through);

// Puts each packet of `mask` on the flow of its key, if there is one: checks that it still holds,
// tracks, and takes the next hop from it. Drops the packet where it fits no state; leaves it a miss
// where the flow is over, or becomes so by what has changed or by the packet itself. REQUIRES:
// context.scratch is of this burst.
void ride_flows(WorkerContext&, Burst&, uint32_t mask);

// An ICMP error about a packet of the flow, on its way back. It changes nothing of the flow.
void ride_flow_as_error(WorkerContext&, Burst&, unsigned i);

}  // namespace slash32
