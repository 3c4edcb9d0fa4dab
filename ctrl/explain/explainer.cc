// SPDX-License-Identifier: Apache-2.0
#include "ctrl/explain/explainer.h"

#include "dp/packet/headers.h"
#include "dp/worker/pipeline.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <new>
#include <optional>

namespace slash32 {
namespace {

constexpr unsigned kPuntSlots = 2;
// Answers are never limited here: the question is what happens to a packet, not to the next ones.
constexpr uint32_t kPlenty = 1'000'000;

// Its segments, in the order that they are visited.
std::string describe_tunnel(const Encapsulation& tunnel) {
    const auto& ip = *reinterpret_cast<const Ipv6Header*>(tunnel.bytes.data());
    std::string text = to_string(IpAddress(ip.destination));
    if (tunnel.length == sizeof ip) return text;
    const auto& header = *reinterpret_cast<const SegmentRoutingHeader*>(&ip + 1);
    for (unsigned left = header.segments_left; left-- > 0;)
        text += ", " + to_string(IpAddress(header.segments()[left]));
    return text;
}

std::string describe_adjacency(const Adjacency& adjacency, const std::string& port) {
    switch (adjacency.kind) {
        case AdjacencyKind::kNone:
            return "nothing";
        case AdjacencyKind::kBlackhole:
            return "a blackhole";
        case AdjacencyKind::kUnreachable:
            return "unreachable";
        case AdjacencyKind::kIncomplete:
            return fmt::format("port {}, whose neighbour's MAC address is not known", port);
        case AdjacencyKind::kHost:
            return "the host itself";
        case AdjacencyKind::kGlean:
            return fmt::format("port {}, to a neighbour yet to be found", port);
        case AdjacencyKind::kTunnel:
            return "a tunnel to " + describe_tunnel(*adjacency.encapsulation);
        case AdjacencyKind::kSegment:
            return "a segment of this node";
        case AdjacencyKind::kVrf:
            return fmt::format("the routes of VRF {}", adjacency.vrf.value());
        case AdjacencyKind::kEthernet:
            return fmt::format("port {}, MAC {}, MTU {}", port, to_string(adjacency.destination),
                               adjacency.mtu);
    }
    return "";
}

}  // namespace

Explainer::Explainer(const ForwardingPlane& plane, const Fib& fib, const AddressSets& sets,
                     const SrDomain* domain, rte_mempool* pool, PortName name)
    : plane_(plane),
      fib_(fib),
      pool_(pool),
      name_(std::move(name)),
      ports_(kMaxPorts),
      adjacencies_(kMaxAdjacencies),
      groups_(kMaxNextHopGroups),
      captures_(kMaxPorts),
      counters_(std::make_unique<WorkerCounterBlock>()),
      punt_ring_(rte_ring_create("explain", kPuntSlots, SOCKET_ID_ANY, 0)) {
    context_.tsc_hz = rte_get_tsc_hz();
    context_.ports = ports_.data();
    context_.adjacencies = adjacencies_.data();
    context_.groups = groups_.data();
    context_.captures = captures_.data();
    context_.fib = fib.view();
    context_.sets = {sets.view(), &plane.generations()};
    context_.generations = &plane.generations();
    context_.domain = domain;
    context_.counters = counters_.get();
    context_.pool = pool;
    context_.capture_pool = pool;
    context_.punt_ring = punt_ring_;
    context_.capture_ring = punt_ring_;
}

Explainer::~Explainer() {
    rte_ring_free(punt_ring_);
}

Probe Explainer::make_query_probe(const ExplainQuery& query, const PortConfig& in) {
    const bool ipv4 = query.src.is_ipv4();
    return Probe{
        .source = query.src,
        .destination = query.dst,
        .protocol = query.protocol,
        .source_port = query.sport,
        .destination_port = query.dport,
        .icmp_type = query.icmp_type.value_or(ipv4 ? uint8_t{kIcmpEcho} : uint8_t{kIcmp6Echo}),
        .icmp_code = query.icmp_code.value_or(0),
        .source_mac = query.src_mac.value_or(in.mac),
        .destination_mac = query.dst_mac.value_or(in.router_mac),
        .hop_limit = query.ttl,
        .length = query.length};
}

Result<ExplainAnswer> Explainer::explain(const ExplainQuery& query) {
    load_tables();
    const PortConfig* in = ports_[query.port.value()];
    if (in == nullptr) return fail(ErrorCode::kNotFound, "port", "there is no such port");
    const Probe probe = make_query_probe(query, *in);
    const Result<rte_mbuf*> packet = make_probe(probe, pool_);
    if (!packet) return tl::unexpected<Error>(packet.error());
    new (&counters_->ports[in->id.value()]) PortCounters;
    context_.now = rte_rdtsc();
    context_.icmp_tokens = TokenBucket(kPlenty, kPlenty, context_.tsc_hz);
    context_.punt_tokens = context_.resolve_tokens = context_.icmp_tokens;
    context_.host_tokens.fill(context_.icmp_tokens);

    Burst burst;
    burst.in = in;
    burst.packets[0] = *packet;
    burst.live = 1;
    ExplainAnswer answer;
    for (const Stage& stage : kDecisionStages) {
        stage.run(context_, burst);
        answer.steps.push_back(judge(stage.name, burst, in->id, probe, answer));
        if (burst.live == 0) break;
    }
    // Answers and forwarded packets stop here; a punted one waits in our own ring.
    for_each_packet(burst.live | burst.tx, [&](unsigned i) { rte_pktmbuf_free(burst.packets[i]); });
    void* punted = nullptr;
    while (rte_ring_dequeue(punt_ring_, &punted) == 0)
        rte_pktmbuf_free(static_cast<rte_mbuf*>(punted));
    return answer;
}

void Explainer::load_tables() {
    context_.policy_ports = 0;
    plane_.for_each_config([this](PortId id, const PortConfig* config) {
        ports_[id.value()] = config;
        if (config != nullptr && config->policy != nullptr) ++context_.policy_ports;
    });
    ports_[kResolverPort.value()] = plane_.config(kResolverPort);
    plane_.next_hops().for_each(
        [this](NextHopId id, const Adjacency& adjacency) { adjacencies_[id.value()] = adjacency; });
    plane_.groups().for_each(
        [this](NextHopId id, const NextHopGroup* group) { groups_[group_index(id)] = group; });
}

std::optional<DropReason> Explainer::dropped(PortId in) const {
    const PortCounters& counters = counters_->ports[in.value()];
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        if (counters.drops[i].get() > 0) return static_cast<DropReason>(i);
    }
    return std::nullopt;
}

// What the stage has just done with the probe.
ExplainAnswer::Step Explainer::judge(const char* stage, const Burst& burst, PortId in,
                                     const Probe& probe, ExplainAnswer& answer) {
    const PortCounters& counters = counters_->ports[in.value()];
    ExplainAnswer::Step step{stage, "pass", ""};
    if (const auto reason = dropped(in)) {
        const DropReasonText& text = kDropReasonTexts[static_cast<size_t>(*reason)];
        step.decision = answer.verdict = "drop";
        step.detail = text.description;
        answer.reason = text.name;
        if (*reason == DropReason::kTooBig || *reason == DropReason::kNoRoute)
            step.detail += "; " + describe_route(in, probe, burst.meta[0].next_hop);
        if (*reason == DropReason::kDeniedIngress)
            step.detail += fmt::format(" (port {})", name_(burst.meta[0].out_port));
    } else if (counters.punted.get() > 0) {
        step.decision = answer.verdict = "punt";
        step.detail = "control looks at it";
    } else if (counters.consumed.get() > 0) {
        step.decision = answer.verdict = "consume";
        step.detail = "the router answers it itself";
    } else if (burst.live == 0 && burst.meta[0].out_port == kResolverPort) {
        step.decision = answer.verdict = "punt";
        step.detail = "waits until the next hop's MAC address is known";
    } else if (burst.live == 0) {
        const PortId out = burst.meta[0].out_port;
        const PortConfig* config = ports_[out.value()];
        answer.out_port = out;
        step.decision = answer.verdict = "forward";
        step.detail = fmt::format("leaves through port {}", name_(out));
        if (config->tx == nullptr || !config->tx->ready.load(std::memory_order_relaxed)) {
            step.decision = answer.verdict = "drop";
            answer.reason = drop_reason_name(DropReason::kPortDown);
            step.detail = fmt::format("port {} is not connected or its rings are off", name_(out));
        }
    } else if (std::string_view(stage) == "filter_egress") {
        step.detail = describe_filter(*ports_[in.value()]);
    } else if (std::string_view(stage) == "filter_ingress") {
        step.detail = describe_filter(*ports_[burst.meta[0].out_port.value()]);
    } else if (std::string_view(stage) == "route") {
        step.detail = describe_route(in, probe, burst.meta[0].next_hop);
    }
    return step;
}

// Why the port's filter has let the probe through.
std::string Explainer::describe_filter(const PortConfig& port) {
    if (port.policy == nullptr) return fmt::format("port {} is not filtered", name_(port.id));
    for (size_t id = 1; id < kMaxRules; ++id) {
        Counter& decided = counters_->rules[id];
        if (decided.get() == 0) continue;
        new (&decided) Counter;
        return plane_.firewall().describe_rule(RuleId{static_cast<uint16_t>(id)});
    }
    return "";
}

std::string Explainer::describe_route(PortId in, const Probe& probe, NextHopId taken) const {
    VrfId vrf = ports_[in.value()]->vrf;
    std::string text;
    for (unsigned n = 0; n <= kMaxVrfHops; ++n) {
        const auto route = fib_.explain(vrf, probe.destination);
        if (!route)
            return text + fmt::format("no route to {} in VRF {}", to_string(probe.destination),
                                      vrf.value());
        const bool group = is_group(route->next_hop);
        const Adjacency& adjacency = adjacencies_[(group ? taken : route->next_hop).value()];
        text +=
            fmt::format("{} leads {}to {}", to_string(route->prefix), group ? "by its group " : "",
                        describe_adjacency(adjacency, name_(adjacency.port)));
        if (adjacency.kind != AdjacencyKind::kVrf) return text;
        text += "; ";
        vrf = adjacency.vrf;
    }
    return text + "and so on";
}

}  // namespace slash32
