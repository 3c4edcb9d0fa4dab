// SPDX-License-Identifier: Apache-2.0
// The filter at both ends of a packet's way: the source port's policy for what it sends, the
// destination port's for what it receives. A port without a policy is open (the group `any`, or no
// port security) or closed: a closed one passes nothing but what the ARP, ND and DHCP stages have
// taken before. Uplinks have no filter: each VM's port has its own.
//
// Only packets that no flow speaks for are judged.
#include "dp/packet/icmp.h"
#include "dp/stage/deny.h"
#include "dp/stage/disposition.h"
#include "dp/stage/flow.h"
#include "dp/stage/stages.h"

namespace slash32 {
namespace {

bool is_open(const PortConfig& port) {
    return port.policy == nullptr && (port.kind == PortKind::kUplink || port.has(kFilterOpen));
}

// Judges the packets of `mask`, each by the policy of its port; returns those that are refused.
template <typename PortOf>
uint32_t judge(WorkerContext& context, Burst& burst, uint32_t mask, PolicyDirection direction,
               PolicyVerdict* verdicts, PortOf&& port_of) {
    std::array<const PolicyTable*, kBurstSize> tables;
    std::array<PolicyQuery, kBurstSize> queries;
    uint32_t asked = 0;
    for_each_packet(mask, [&](unsigned i) {
        const PortConfig& port = port_of(i);
        if (port.policy == nullptr) {
            verdicts[i] = {};
            verdicts[i].allowed = is_open(port);
            return;
        }
        const PacketMeta& meta = burst.meta[i];
        tables[i] = port.policy->table(direction, meta.kind == PacketKind::kIpv6);
        const uint8_t code =
            meta.has(kLaterFragment) ? context.scratch.heads[i].icmp_code : icmp_code(meta);
        queries[i] = policy_query(context.scratch.keys[i], direction, code);
        asked |= 1u << i;
    });
    if (asked != 0) classify_bulk(context.sets, asked, tables.data(), queries.data(), verdicts);
    uint32_t refused = 0;
    for_each_packet(mask, [&](unsigned i) {
        if (!verdicts[i].allowed) refused |= 1u << i;
        if (verdicts[i].rule != kNoRule) context.counters->rules[verdicts[i].rule.value()].add(1);
    });
    return refused;
}

}  // namespace

void filter_egress(WorkerContext& context, Burst& burst) {
    const uint32_t mask = burst.live & burst.judge_egress;
    const PortConfig& in = *burst.in;
    if (mask == 0 || (context.policy_ports == 0 && is_open(in))) [[likely]]
        return;
    const uint32_t refused =
        judge(context, burst, mask, PolicyDirection::kEgress, context.scratch.egress.data(),
              [&](unsigned) -> const PortConfig& { return in; });
    for_each_packet(refused, [&](unsigned i) {
        deny(context, burst, i, in,
             in.policy == nullptr ? DropReason::kNoGroup : DropReason::kDeniedEgress);
    });
}

void filter_ingress(WorkerContext& context, Burst& burst) {
    const uint32_t mask = burst.live & burst.judge_ingress;
    if (mask == 0) return;
    // The route stage has seen that the port exists.
    const auto port_of = [&](unsigned i) -> const PortConfig& {
        return *context.ports[burst.meta[i].out_port.value()];
    };
    if (context.policy_ports == 0) {
        for_each_packet(mask, [&](unsigned i) {
            if (!is_open(port_of(i)))
                deny(context, burst, i, port_of(i), DropReason::kDeniedIngress);
        });
        return;
    }
    const uint32_t refused = judge(context, burst, mask, PolicyDirection::kIngress,
                                   context.scratch.ingress.data(), port_of);
    for_each_packet(refused, [&](unsigned i) {
        deny(context, burst, i, port_of(i), DropReason::kDeniedIngress);
    });
}

}  // namespace slash32
