// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/flow.h"

#include "dp/packet/headers.h"
#include "dp/packet/path_hash.h"
#include "dp/stage/deny.h"
#include "dp/stage/disposition.h"
#include "dp/table/flow_key.h"
#include "dp/table/track.h"

#include <rte_pause.h>

namespace slash32 {
namespace {

constexpr uint32_t kOpenGeneration = UINT32_MAX;
constexpr uint32_t kClosedGeneration = 0;  // no policy has it, and no flow is made by it

class VerdictLock {
  public:
    explicit VerdictLock(FlowEntry& entry) : lock_(entry.first.verdict_lock) {
        while (lock_.exchange(1, std::memory_order_acquire) != 0)
            rte_pause();
    }
    ~VerdictLock() { lock_.store(0, std::memory_order_release); }
    VerdictLock(const VerdictLock&) = delete;
    VerdictLock& operator=(const VerdictLock&) = delete;

  private:
    std::atomic<uint8_t>& lock_;
};

bool is_over(const FlowEntry& entry) {
    return slash32::is_over(entry.first.status.load(std::memory_order_acquire).phase);
}

bool lets_answers_through(const FlowVerdict& verdict) {
    return verdict.stateful || verdict.policy == kOpenGeneration;
}

// Does the filter at one end still let the flow through? Asks the policy anew only where what the
// verdict rests on has changed. REQUIRES: the verdict lock.
bool end_holds(const WorkerContext& context, FlowEntry& entry, PolicyDirection direction) {
    FlowVerdict& verdict = entry.first.verdicts[static_cast<unsigned>(direction)];
    const FlowKey& key = entry.opening.key;
    const PortId id = direction == PolicyDirection::kEgress ? key.ingress() : entry.second.out;
    if (id == kNoPort) return true;  // an uplink has no filter
    const PortConfig* port = context.ports[id.value()];
    if (port == nullptr) return false;
    const uint32_t generation = filter_generation(*port);
    if (verdict.policy == generation &&
        (verdict.set == kNoSet || context.generations->sets[verdict.set.value()].load(
                                      std::memory_order_acquire) == verdict.set_generation)) {
        return true;
    }
    if (generation == kClosedGeneration) return false;
    PolicyVerdict fresh;
    fresh.allowed = true;
    if (generation != kOpenGeneration) {
        const PolicyQuery query = policy_query(key, direction, 0);
        const PolicyTable* table = port->policy->table(direction, !is_mapped_ipv4(key.destination));
        classify_bulk(context.sets, 1, &table, &query, &fresh);
    }
    if (!fresh.allowed) return false;
    keep_verdict(*port, fresh, verdict);
    return true;
}

// What becomes of a flow whose filters or route may have changed.
enum class Holds : uint8_t { kYes, kNo, kEgressDenies, kIngressDenies };

Holds filters_hold(const WorkerContext& context, FlowEntry& entry) {
    const VerdictLock lock(entry);
    if (!end_holds(context, entry, PolicyDirection::kEgress)) return Holds::kEgressDenies;
    if (!end_holds(context, entry, PolicyDirection::kIngress)) return Holds::kIngressDenies;
    const auto& [egress, ingress] = entry.first.verdicts;
    // Without a stateful end it is no flow any more: each packet is for itself.
    if (!egress.stateful && !ingress.stateful) return Holds::kNo;
    const uint32_t kept = entry.answers.marks.load(std::memory_order_relaxed) & kFlowAnswered;
    entry.answers.marks.store(
        kept | answer_marks(lets_answers_through(egress), lets_answers_through(ingress)),
        std::memory_order_relaxed);
    return Holds::kYes;
}

NextHopId find_route(const WorkerContext& context, const FlowKey& key) {
    if (is_mapped_ipv4(key.destination))
        return context.fib.lookup(key.vrf(), ipv4_from(key.destination));
    return context.fib.lookup(key.vrf(), ipv6_from(key.destination));
}

// Does the route still lead where the answers come from?
bool route_holds(const WorkerContext& context, const PacketMeta& meta, FlowRef flow) {
    FlowDirection& forward = flow.forward();
    const auto relaxed = std::memory_order_relaxed;
    const uint32_t routes =
        context.generations->routes[forward.key.vrf().value()].load(std::memory_order_acquire);
    if (forward.routes.load(relaxed) == routes && forward.next_hop.load(relaxed) != 0) return true;
    NextHopId hop = find_route(context, forward.key);
    if (is_group(hop)) hop = context.member(hop, path_hash(meta));
    const Adjacency& adjacency = context.adjacency(hop);
    const PortId answers_from = flow.entry().direction(1 - flow.direction()).key.ingress();
    // Where there is no port, the route stage says why; the flow outlives a route that comes back.
    if (adjacency.port != kNoPort) {
        const PortConfig* out = context.ports[adjacency.port.value()];
        if (out == nullptr || ingress_class(*out) != answers_from) return false;
    } else if (adjacency.kind == AdjacencyKind::kTunnel && answers_from != kNoPort) {
        return false;
    }
    forward.next_hop.store(hop.value(), relaxed);
    forward.routes.store(routes, relaxed);
    return true;
}

// Something has changed: does the flow hold all the same?
[[gnu::noinline]] Holds judge_anew(WorkerContext& context, const PacketMeta& meta, FlowRef flow) {
    FlowDirection& forward = flow.forward();
    if (is_over(flow.entry())) return Holds::kNo;
    if (const Holds holds = filters_hold(context, flow.entry()); holds != Holds::kYes) return holds;
    if (!route_holds(context, meta, flow)) return Holds::kNo;
    forward.epoch.store(context.scratch.epoch, std::memory_order_relaxed);
    return Holds::kYes;
}

FlowRef flow_of(const WorkerContext& context, unsigned i) {
    const FlowScratch& scratch = context.scratch;
    return context.flows.confirm(scratch.guesses[i], scratch.keys[i], scratch.hashes[i]);
}

// Has nothing changed that the flow was decided by, or does it hold all the same?
inline Holds flow_holds(WorkerContext& context, const PacketMeta& meta, FlowRef flow) {
    if (flow.forward().epoch.load(std::memory_order_relaxed) == context.scratch.epoch) [[likely]]
        return Holds::kYes;
    return judge_anew(context, meta, flow);
}

// Tells the table of a transition that this worker has made.
void note(WorkerContext& context, FlowRef flow, const TrackResult& result) {
    if (result.before != result.after)
        context.flows.status_changed(flow.entry(), result.before, result.after, context.seconds);
}

// Does a flow that a filter lets through no more stay all the same?
bool keep_cut(WorkerContext& context, const PacketMeta& meta, FlowRef flow) {
    const TrackResult result = cut(meta, flow.entry());
    if (result.verdict != TrackVerdict::kAccept) return false;
    note(context, flow, result);
    flow.forward().last_seen.store(context.seconds, std::memory_order_relaxed);
    return true;
}

// A packet of a flow that does not hold. The opener's goes on and meets the filter that refuses it.
void refuse_flow(WorkerContext& context, Burst& burst, unsigned i, FlowRef flow, Holds holds) {
    if (holds == Holds::kNo || !keep_cut(context, burst.meta[i], flow)) {
        context.flows.kill(flow.entry());
        return;
    }
    if (flow.direction() == 0) return;
    const bool egress = holds == Holds::kEgressDenies;
    const PortId id = egress ? flow.entry().opening.key.ingress() : flow.entry().second.out;
    const PortConfig* filtering = id == kNoPort ? nullptr : context.ports[id.value()];
    if (filtering == nullptr) {
        context.flows.kill(flow.entry());
        return;
    }
    deny(context, burst, i, *filtering,
         egress ? DropReason::kDeniedEgress : DropReason::kDeniedIngress);
}

bool is_tracked(const PacketMeta& meta, FlowRef flow) {
    if (meta.protocol == kProtoTcp || meta.protocol == kProtoSctp) return !meta.has(kLaterFragment);
    // For the others it only matters that there was an answer.
    return flow.direction() == 1 &&
           (flow.forward().marks.load(std::memory_order_relaxed) & kFlowAnswered) == 0;
}

// The packets of `mask` that ride a flow: all but those left out. Gathered here, since the masks of
// a burst lie in memory.
class Rode {
  public:
    explicit Rode(uint32_t mask) : packets_(mask) {}

    void leave_out(unsigned i) { packets_ &= ~(1u << i); }
    void take_next_hop(PacketMeta& meta, unsigned i, const FlowDirection& forward) {
        meta.next_hop = NextHopId{forward.next_hop.load(std::memory_order_relaxed)};
        const uint32_t marks = forward.marks.load(std::memory_order_relaxed);
        if ((marks & (kFlowJudgeEgress | kFlowJudgeIngress)) == 0) [[likely]]
            return;
        if ((marks & kFlowJudgeEgress) != 0) judge_egress_ |= 1u << i;
        if ((marks & kFlowJudgeIngress) != 0) judge_ingress_ |= 1u << i;
    }
    void apply(Burst& burst) const {
        burst.miss &= ~packets_;
        burst.unrouted &= ~packets_;
        burst.judge_egress &= ~packets_ | judge_egress_;
        burst.judge_ingress &= ~packets_ | judge_ingress_;
    }

  private:
    uint32_t packets_;
    uint32_t judge_egress_ = 0;
    uint32_t judge_ingress_ = 0;
};

void take_next_hop(Burst& burst, unsigned i, FlowRef flow) {
    Rode rode(1u << i);
    rode.take_next_hop(burst.meta[i], i, flow.forward());
    rode.apply(burst);
}

void refresh(const WorkerContext& context, FlowRef flow) {
    std::atomic<uint32_t>& last_seen = flow.forward().last_seen;
    if (last_seen.load(std::memory_order_relaxed) != context.seconds)
        last_seen.store(context.seconds, std::memory_order_relaxed);
}

// A packet that may move its connection from one state to another.
[[gnu::noinline]] void ride_tracked(WorkerContext& context, Burst& burst, unsigned i,
                                    FlowRef flow) {
    if (is_over(flow.entry())) return;
    const TrackResult result = track(burst.meta[i], flow.direction(), context.seconds,
                                     context.flows.limits(), flow.entry());
    note(context, flow, result);
    if (result.verdict == TrackVerdict::kInvalid)
        return drop(context, burst, i, DropReason::kInvalidState);
    if (result.verdict == TrackVerdict::kEnd) take_next_hop(burst, i, flow);
    if (result.verdict != TrackVerdict::kAccept) {
        context.flows.kill(flow.entry());
        return;
    }
    if (result.refresh) refresh(context, flow);
    take_next_hop(burst, i, flow);
}

}  // namespace

uint32_t filter_generation(const PortConfig& port) {
    if (port.policy != nullptr) return port.policy->generation;
    return port.kind == PortKind::kUplink || port.has(kFilterOpen) ? kOpenGeneration
                                                                   : kClosedGeneration;
}

PolicyQuery policy_query(const FlowKey& key, PolicyDirection direction, uint8_t icmp_code) {
    const bool egress = direction == PolicyDirection::kEgress;
    const uint16_t destination = Be16::from_raw(key.destination_port).to_host();
    const uint8_t protocol = key.protocol();
    const bool icmp = protocol == kProtoIcmp || protocol == kProtoIcmp6;
    return {.remote = egress ? key.destination : key.source,
            .protocol = protocol,
            .port = icmp ? static_cast<uint16_t>(destination << 8 | icmp_code) : destination};
}

void keep_verdict(const PortConfig& port, const PolicyVerdict& verdict, FlowVerdict& kept) {
    kept.policy = filter_generation(port);
    kept.set_generation = verdict.set_generation;
    kept.set = verdict.set;
    kept.stateful = verdict.stateful;
}

bool lets_answers_through(const PortConfig& port, const PolicyVerdict& verdict) {
    return verdict.stateful || filter_generation(port) == kOpenGeneration;
}

// The ends change sides: what was let in goes out now.
uint32_t answer_marks(bool egress_lets_through, bool ingress_lets_through) {
    return (ingress_lets_through ? 0u : kFlowJudgeEgress) |
           (egress_lets_through ? 0u : kFlowJudgeIngress);
}

void ride_flows(WorkerContext& context, Burst& burst, uint32_t mask) {
    Rode rode(mask);
    // False: it rides none, or has been put on it already.
    const auto ride = [&](unsigned i) {
        PacketMeta& meta = burst.meta[i];
        const FlowRef flow = flow_of(context, i);
        if (!flow) return false;
        if (const Holds holds = flow_holds(context, meta, flow); holds != Holds::kYes)
            [[unlikely]] {
            refuse_flow(context, burst, i, flow, holds);
            return false;
        }
        if (is_tracked(meta, flow)) {
            ride_tracked(context, burst, i, flow);
            return false;
        }
        refresh(context, flow);
        rode.take_next_hop(meta, i, flow.forward());
        return true;
    };
    for_nearly_each_packet(mask, [&](unsigned i) {
        if (!ride(i)) rode.leave_out(i);
    });
    rode.apply(burst);
}

void ride_flow_as_error(WorkerContext& context, Burst& burst, unsigned i) {
    const FlowRef flow = flow_of(context, i);
    if (flow && flow_holds(context, burst.meta[i], flow) == Holds::kYes && !is_over(flow.entry()))
        take_next_hop(burst, i, flow);
}

}  // namespace slash32
