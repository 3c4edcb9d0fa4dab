// SPDX-License-Identifier: Apache-2.0
#include "perf/micro/bench_router.h"

#include "ctrl/plane/encapsulation.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace slash32::bench {
namespace {

constexpr NextHopId kHopFrom{1};
constexpr NextHopId kHopTo{2};
constexpr NextHopId kHopWire{3};
constexpr NextHopId kHopTunnel{4};
constexpr NextHopId kHopSid{5};
constexpr uint16_t kPort = 1024;
constexpr unsigned kRules = 100;
constexpr const char* kFrom4 = "10.254.255.1";
constexpr const char* kFrom6 = "2001:db8::1";
const Mac kGatewayMac = test::mac("02:00:5e:00:01:01");
const Mac kFromMac = test::mac("02:00:00:01:00:01");
const Mac kToMac = test::mac("02:00:00:01:00:02");
const Mac kWireMac = test::mac("02:00:00:01:00:03");
constexpr const char* kLocators = "fc00::/16";
constexpr const char* kOurSid = "fc00:1:1::";
constexpr const char* kTheirSid = "fc00:2:1::";
constexpr const char* kTheirAddress = "fc00:2::";

uint16_t free_all(TxPort&, WorkerId, rte_mbuf** packets, uint16_t n) {
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

std::string destination(bool ipv6, unsigned flow, bool behind_tunnel) {
    const std::string low = std::to_string(flow % 256);
    const std::string high = std::to_string(flow / 256);
    if (ipv6) return (behind_tunnel ? "2001:db8:2::" : "2001:db8:1::") + high + ":" + low;
    return (behind_tunnel ? "10.252." : "10.253.") + high + "." + low;
}

// As in the end-to-end benchmark: half of the rules name a remote address, half a range of ports.
std::vector<PolicyRule> rules(PolicyDirection direction) {
    std::vector<PolicyRule> all;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        PolicyRule rule{.direction = direction, .family = family};
        const auto add = [&](const PolicyRule& added) {
            all.push_back(added);
            all.back().id = RuleId{static_cast<uint16_t>(all.size())};
        };
        for (unsigned n = 0; n < kRules - 1; ++n) {
            PolicyRule one = rule;
            if (n % 2 == 0) {
                one.protocol = kProtoUdp;
                const std::string host = std::to_string(n);
                one.prefix = parse_prefix(family == Family::kIpv4 ? "172.16.0." + host
                                                                  : "2001:db8:9::" + host)
                                 .value();
            } else {
                one.protocol = kProtoTcp;
                one.low = static_cast<uint16_t>(10000 + n * 5);
                one.high = static_cast<uint16_t>(one.low + 3);
            }
            add(one);
        }
        rule.protocol = kProtoUdp;
        add(rule);
    }
    return all;
}

}  // namespace

Router::Router(rte_mempool* pool, Filter filter, size_t flows, unsigned workers)
    : ports_(kMaxPorts),
      adjacencies_(kMaxAdjacencies),
      groups_(kMaxNextHopGroups),
      captures_(kMaxPorts) {
    auto fib = Fib::create({}, mapped_memory(), reclaimer_);
    if (!fib) std::abort();
    fib_ = std::move(*fib);
    const auto add_route = [&](const std::string& to, NextHopId hop) {
        if (!fib_->add(VrfId{0}, parse_prefix(to).value(), hop)) std::abort();
    };
    for (const bool ipv6 : {false, true}) {
        for (unsigned flow = 0; flow < kFlows; ++flow) {
            add_route(destination(ipv6, flow, false), kHopTo);
            add_route(destination(ipv6, flow, true), kHopTunnel);
        }
    }
    add_route(kOurSid, kHopSid);
    add_vm(kFrom, kFromMac, kFrom4, kFrom6);
    add_vm(kTo, kToMac, "10.253.255.1", "2001:db8::2");
    PortConfig& wire = add_port(kWire);
    wire.kind = PortKind::kUplink;
    wire.flags = kFilterOpen;
    // Its VM answers from every destination.
    PortConfig& to = configs_[kTo.value() - 1];
    for (const char* network : {"10.253.0.0/16", "2001:db8:1::/48"}) {
        to.sources[to.source_count++] =
            SourcePair{.prefix = parse_prefix(network).value(), .mac = kToMac, .fixed = false};
    }
    add_route(kFrom4, kHopFrom);
    add_route(kFrom6, kHopFrom);
    add_hop(kHopFrom, kFrom, kFromMac);
    add_hop(kHopTo, kTo, kToMac);
    add_hop(kHopWire, kWire, kWireMac);
    add_segments();
    for (unsigned id = 0; id < workers; ++id) {
        workers_.push_back(std::make_unique<Worker>());
        WorkerContext& context = workers_.back()->context;
        context.id = WorkerId{static_cast<uint8_t>(id)};
        context.tsc_hz = rte_get_tsc_hz();
        context.seconds = 1;
        context.ports = ports_.data();
        context.adjacencies = adjacencies_.data();
        context.groups = groups_.data();
        context.captures = captures_.data();
        context.fib = fib_->view();
        context.counters = &workers_.back()->counters;
        context.pool = pool;
    }
    if (filter == Filter::kHundred) track(flows);
}

PortConfig& Router::add_port(PortId id) {
    TxPort& tx = devices_[id.value() - 1];
    tx.transmit = free_all;
    tx.port = id;
    tx.offloads = kTxChecksum | kTxTso4 | kTxTso6 | kTxMultiSegment;
    tx.ready = true;
    PortConfig& config = configs_[id.value() - 1];
    config.id = id;
    config.router_mac = kGatewayMac;
    config.tx = &tx;
    config.gateway4 = parse_ip("169.254.0.1")->ipv4();
    config.gateway6 = parse_ip("fe80::1")->ipv6();
    ports_[id.value()] = &config;
    return config;
}

void Router::add_vm(PortId id, const Mac& mac, const char* ipv4, const char* ipv6) {
    PortConfig& config = add_port(id);
    config.flags = kPortSecurity | kFilterOpen;
    config.mac = mac;
    for (const char* address : {ipv4, ipv6}) {
        config.sources[config.source_count++] =
            SourcePair{.prefix = parse_prefix(address).value(), .mac = mac, .fixed = true};
    }
}

void Router::add_hop(NextHopId id, PortId port, const Mac& mac) {
    adjacencies_[id.value()] = Adjacency{.kind = AdjacencyKind::kEthernet,
                                         .port = port,
                                         .mtu = kDefaultMtu,
                                         .destination = mac,
                                         .source = kGatewayMac};
}

// A tunnel of one segment, and the end of one.
void Router::add_segments() {
    for (SrDomain::Prefixes* prefixes : {&domain_.locators, &domain_.sources})
        prefixes->list[prefixes->count++] = PrefixMatch<Ip6>(parse_prefix(kLocators).value());
    encapsulation_ = build_encapsulation({.segments = {parse_ip(kTheirSid)->ipv6()}},
                                         {.source = parse_ip(kOurSid)->ipv6()});
    adjacencies_[kHopTunnel.value()] = Adjacency{.kind = AdjacencyKind::kTunnel,
                                                 .mtu = kDefaultMtu - 40,
                                                 .underlay = kHopWire,
                                                 .encapsulation = &encapsulation_};
    sid_ = LocalSid{.behavior = SidBehavior::kEndDt46, .vrf = VrfId{0}};
    adjacencies_[kHopSid.value()] = Adjacency{.kind = AdjacencyKind::kSegment, .sid = &sid_};
}

void Router::track(size_t flows) {
    generations_ = std::make_unique<Generations>();
    auto sets = AddressSets::create(mapped_memory(), reclaimer_, *generations_);
    auto memory =
        FlowMemory::create(FlowSizes{.flows = flows, .workers = workers_.size()}, mapped_memory());
    if (!sets || !memory) std::abort();
    sets_ = std::move(*sets);
    flow_memory_ = std::move(*memory);
    FlowTables& tables = flow_memory_->tables();
    // The same places in every run. Random as seeds are: the digits of pi.
    tables.seed = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0};
    for (auto* limit : {&tables.limits.flows_per_port, &tables.limits.half_open_per_port,
                        &tables.limits.half_open}) {
        limit->store(UINT32_MAX);
    }
    const auto workers = static_cast<unsigned>(workers_.size());
    quiescent_ = test::make_quiescent(workers);
    for (size_t i = 0; i < policies_.size(); ++i) {
        std::vector<PolicyRule> wanted = rules(PolicyDirection::kEgress);
        const std::vector<PolicyRule> ingress = rules(PolicyDirection::kIngress);
        wanted.insert(wanted.end(), ingress.begin(), ingress.end());
        auto compiled = compile_policy(wanted, static_cast<uint32_t>(i) + 1);
        if (!compiled) std::abort();
        policies_[i] = std::move(*compiled);
        configs_[i].policy = policies_[i].get();
        configs_[i].flags = kPortSecurity;
    }
    for (unsigned id = 0; id < workers; ++id) {
        WorkerContext& context = workers_[id]->context;
        context.flows = FlowTable(&tables, quiescent_.get(), id, workers);
        context.sets = AddressSetView{sets_->view(), generations_.get()};
        context.generations = generations_.get();
        context.policy_ports = static_cast<uint32_t>(policies_.size());
    }
    generations_->raise_epoch();
}

PortId source_of(Packets packets) {
    switch (packets) {
        case Packets::kAnswers:
            return kTo;
        case Packets::kFromWire:
        case Packets::kFromTunnel:
            return kWire;
        default:
            return kFrom;
    }
}

Sender::Sender(rte_mempool* pool, bool ipv6, Packets packets)
    : pool_(pool), source_port_at_(ipv6 ? 54 : 34), fresh_(packets == Packets::kFresh) {
    const bool answers = packets == Packets::kAnswers;
    const PortId source_port = source_of(packets);
    const Mac source_mac = source_port == kTo ? kToMac : source_port == kWire ? kWireMac : kFromMac;
    for (unsigned flow = 0; flow < kFlows; ++flow) {
        std::string from = ipv6 ? kFrom6 : kFrom4;
        std::string to = destination(ipv6, flow, packets == Packets::kIntoTunnel);
        auto source = kPort;
        auto target = static_cast<uint16_t>(flow);
        if (answers) {
            std::swap(from, to);
            std::swap(source, target);
        }
        const test::Layer ip = ipv6 ? test::ip6(from, to) : test::ip4(from, to);
        test::Packet packet = test::eth(source_mac, kGatewayMac) / ip;
        if (packets == Packets::kFromTunnel)
            packet = test::eth(source_mac, kGatewayMac) / test::ip6(kTheirAddress, kOurSid) / ip;
        frames_.push_back(
            (packet / test::udp(source, target) / test::raw(test::counting(ipv6 ? 2 : 18)))
                .bytes());
    }
}

void Sender::fill(Burst& burst) {
    if (rte_pktmbuf_alloc_bulk(pool_, burst.packets.data(), kBurstSize) != 0) std::abort();
    for (rte_mbuf* packet : burst.packets) {
        const test::Bytes& frame = frames_[next_ % kFlows];
        auto* data = rte_pktmbuf_mtod(packet, uint8_t*);
        std::memcpy(data, frame.data(), frame.size());
        if (fresh_) {
            const auto port = static_cast<uint16_t>(next_ / kFlows);
            std::memcpy(data + source_port_at_, &port, sizeof port);
        }
        packet->data_len = static_cast<uint16_t>(frame.size());
        packet->pkt_len = packet->data_len;
        ++next_;
    }
    burst.live = UINT32_MAX;
}

}  // namespace slash32::bench
