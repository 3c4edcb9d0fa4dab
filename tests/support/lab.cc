// SPDX-License-Identifier: Apache-2.0
#include "tests/support/lab.h"

#include "dp/worker/pipeline.h"
#include "tests/support/quiescent.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mempool.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include <cstdio>
#include <cstdlib>

namespace slash32::test {
namespace {

constexpr size_t kUsedIds = 16;  // ports and next hops
constexpr unsigned kPoolSize = 2047;
constexpr unsigned kCapturePoolSize = 63;
constexpr uint64_t kTscHz = 1'000'000'000;

[[noreturn]] void stop(const char* what) {
    std::fprintf(stderr, "lab: %s\n", what);
    std::abort();
}

// What outlives every Lab: the EAL starts once a process.
struct Environment {
    rte_mempool* pool;
    rte_mempool* capture_pool;
    rte_ring* punt_ring;
    rte_ring* capture_ring;
    QuiescentPtr quiescent;  // no thread registers: a grace period is over at once
    // Large: one Lab after the other uses their first few entries.
    WorkerCounterBlock counters;
    std::vector<const PortConfig*> ports{kMaxPorts};
    std::vector<Adjacency> adjacencies{kMaxAdjacencies};
    std::vector<const NextHopGroup*> groups{kMaxNextHopGroups};
    std::vector<Capture*> captures{kMaxPorts};

    // REQUIRES: no Lab exists.
    void clear() {
        for (size_t i = 0; i < kUsedIds; ++i) {
            new (&counters.ports[i]) PortCounters{};
            ports[i] = nullptr;
            adjacencies[i] = Adjacency{};
            captures[i] = nullptr;
            groups[i] = nullptr;
        }
        ports[kResolverPort.value()] = nullptr;
        for (Counter& rule : counters.rules)
            new (&rule) Counter{};
    }

    Environment() {
        char arguments[][32] = {"lab",
                                "--no-huge",
                                "-m",
                                "64",
                                "--no-pci",
                                "--no-shconf",
                                "--no-telemetry",
                                "-l",
                                "0",
                                "--log-level=error",
                                "-d",
                                "librte_mempool_ring.so"};
        std::vector<char*> argv;
        for (auto& argument : arguments)
            argv.push_back(argument);
        if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) stop("EAL");
        pool = rte_pktmbuf_pool_create("lab", kPoolSize, 0, sizeof(PuntInfo),
                                       RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
        capture_pool = rte_pktmbuf_pool_create("lab_capture", kCapturePoolSize, 0, sizeof(PuntInfo),
                                               RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
        punt_ring = rte_ring_create("lab_punt", 16, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
        capture_ring =
            rte_ring_create("lab_copies", 32, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
        quiescent = make_quiescent(1);
        if (pool == nullptr || capture_pool == nullptr || punt_ring == nullptr ||
            capture_ring == nullptr) {
            stop("pools");
        }
    }
};

Environment& environment() {
    static Environment instance;
    return instance;
}

// One thread: a grace period is over at once.
class ImmediateReclaimer : public Reclaimer {
  public:
    void defer(Callback callback, void* argument) override {
        deferred_.emplace_back(callback, argument);
    }
    void drain() override {
        for (auto& [callback, argument] : std::exchange(deferred_, {}))
            callback(argument);
    }

  private:
    std::vector<std::pair<Callback, void*>> deferred_;
};

Bytes bytes_of(const rte_mbuf* packet) {
    Bytes bytes;
    for (const rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
        const auto* data = rte_pktmbuf_mtod(segment, const uint8_t*);
        bytes.insert(bytes.end(), data, data + segment->data_len);
    }
    if (bytes.size() != packet->pkt_len) stop("a packet's length is not that of its segments");
    return bytes;
}

uint16_t record(TxPort& port, WorkerId, rte_mbuf** packets, uint16_t n) {
    auto& fake = static_cast<FakePort&>(port);
    ++fake.calls;
    const uint16_t taken = std::min(n, fake.room.value_or(n));
    if (fake.room) *fake.room = static_cast<uint16_t>(*fake.room - taken);
    for (uint16_t i = 0; i < taken; ++i) {
        const rte_mbuf* packet = packets[i];
        const char* reason = nullptr;
        if (rte_mbuf_check(packet, 1, &reason) != 0) stop(reason);
        if (fake.sink != nullptr) {
            fake.sink->push_back(Output{.port = fake.port,
                                        .bytes = bytes_of(packet),
                                        .tx_flags = packet->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK,
                                        .l2_length = static_cast<uint16_t>(packet->l2_len),
                                        .l3_length = static_cast<uint16_t>(packet->l3_len),
                                        .l4_length = static_cast<uint16_t>(packet->l4_len),
                                        .tso_segsz = static_cast<uint16_t>(packet->tso_segsz),
                                        .buffers = packet->nb_segs});
        }
        rte_pktmbuf_free(packets[i]);
    }
    return taken;
}

uint64_t total(const PortCounters& counters) {
    uint64_t sum = counters.forwarded.get() + counters.punted.get() + counters.consumed.get();
    for (const Counter& drop : counters.drops)
        sum += drop.get();
    return sum;
}

}  // namespace

Lab::Lab(size_t flow_entries) {
    Environment& env = environment();
    env.clear();
    reclaimer_ = std::make_unique<ImmediateReclaimer>();
    const FibSizes sizes{
        .hosts_ipv4 = 1024, .hosts_ipv6 = 1024, .prefixes_ipv4 = 64, .prefixes_ipv6 = 64};
    auto fib = Fib::create(sizes, mapped_memory(), *reclaimer_);
    if (!fib) stop("fib");
    fib_ = std::move(*fib);

    generations_ = std::make_unique<Generations>();
    auto sets = AddressSets::create(mapped_memory(), *reclaimer_, *generations_);
    if (!sets) stop("address sets");
    sets_ = std::move(*sets);
    auto flows =
        FlowMemory::create(FlowSizes{.flows = flow_entries, .workers = 1}, mapped_memory());
    if (!flows) stop("flow table");
    flow_memory_ = std::move(*flows);

    context_.flows = FlowTable(&flow_memory_->tables(), env.quiescent.get(), 0, 1);
    if (!context_.fragments.open(flow_memory_->tables().seed, kFragmentSeconds * kTscHz))
        stop("fragment table");
    context_.sets = AddressSetView{sets_->view(), generations_.get()};
    context_.generations = generations_.get();
    context_.tsc_hz = kTscHz;
    context_.now = kTscHz;
    context_.seconds = 1;
    context_.denied_tokens = TokenBucket(1000, 1000, kTscHz);
    context_.ports = env.ports.data();
    context_.adjacencies = env.adjacencies.data();
    context_.groups = env.groups.data();
    context_.captures = env.captures.data();
    context_.fib = fib_->view();
    context_.counters = &env.counters;
    context_.pool = env.pool;
    context_.capture_pool = env.capture_pool;
    context_.punt_ring = env.punt_ring;
    context_.capture_ring = env.capture_ring;
    context_.capture_tokens = TokenBucket(1000, 1000, kTscHz);
    set_icmp_rate(1000, 1000);
    set_punt_rate(1000, 1000);
    context_.resolve_tokens = context_.punt_tokens;
    context_.host_tokens.fill(context_.punt_tokens);

    const uint16_t vm = kPortSecurity | kFilterOpen | kSendRa;
    add_port(kVm1, PortKind::kVhost, kVm1Mac, kGatewayMac, vm);
    add_port(kVm2, PortKind::kVhost, kVm2Mac, kGatewayMac, vm);
    add_port(kVm3, PortKind::kTap, kVm3Mac, kGatewayMac, kPortSecurity);
    add_port(kVm4, PortKind::kVhost, kVm4Mac, kGatewayMac, kFilterOpen);
    add_port(kUplink, PortKind::kUplink, kZeroMac, kUplinkMac, 0);
    tx(kVm4).offloads = 0;

    add_source(kVm1, kVm1Mac, "10.0.0.1", true);
    add_source(kVm1, kVm1Mac, "2001:db8::1", true);
    add_source(kVm1, kVm1Mac, "10.0.0.100", false);
    add_source(kVm1, kVm1Mac, "2001:db8::100", false);
    add_source(kVm1, kVm1Mac, "10.9.0.0/24", false);
    add_source(kVm2, kVm2Mac, "10.0.0.2", true);
    add_source(kVm2, kVm2Mac, "2001:db8::2", true);
    add_source(kVm2, kVm2Mac, "10.0.0.100", false);
    add_source(kVm2, kVm2Mac, "2001:db8::100", false);
    add_source(kVm3, kVm3Mac, "10.0.0.3", true);
    add_source(kVm3, kVm3Mac, "2001:db8::3", true);
    add_source(kVm4, kVm4Mac, "10.0.0.4", true);
    add_source(kVm4, kVm4Mac, "2001:db8::4", true);

    add_adjacency(kHopVm1, AdjacencyKind::kEthernet, kVm1, kVm1Mac, kGatewayMac);
    add_adjacency(kHopVm2, AdjacencyKind::kEthernet, kVm2, kVm2Mac, kGatewayMac);
    add_adjacency(kHopVm3, AdjacencyKind::kEthernet, kVm3, kVm3Mac, kGatewayMac);
    add_adjacency(kHopVm4, AdjacencyKind::kEthernet, kVm4, kVm4Mac, kGatewayMac);
    add_adjacency(kHopUplink, AdjacencyKind::kEthernet, kUplink, kNeighbourMac, kUplinkMac);
    add_adjacency(kHopBlackhole, AdjacencyKind::kBlackhole, kNoPort, kZeroMac, kZeroMac);
    add_adjacency(kHopUnreachable, AdjacencyKind::kUnreachable, kNoPort, kZeroMac, kZeroMac);
    add_adjacency(kHopIncomplete, AdjacencyKind::kIncomplete, kUplink, kZeroMac, kUplinkMac);
    add_adjacency(kHopGone, AdjacencyKind::kEthernet, kPortThatIsGone, kVm3Mac, kGatewayMac);

    const std::pair<const char*, NextHopId> routes[] = {
        {"10.0.0.1", kHopVm1},
        {"10.0.0.2", kHopVm2},
        {"10.0.0.3", kHopVm3},
        {"10.0.0.4", kHopVm4},
        {"10.0.0.100", kHopVm2},
        {"2001:db8::1", kHopVm1},
        {"2001:db8::2", kHopVm2},
        {"2001:db8::3", kHopVm3},
        {"2001:db8::4", kHopVm4},
        {"2001:db8::100", kHopVm2},
        {"198.51.100.0/24", kHopUplink},
        {"2001:db8:100::/48", kHopUplink},
        {"203.0.113.0/26", kHopBlackhole},
        {"203.0.113.64/26", kHopUnreachable},
        {"203.0.113.128/26", kHopIncomplete},
        {"203.0.113.192/26", kHopGone},
        {"2001:db8:bad::/64", kHopBlackhole},
        {"2001:db8:bad:1::/64", kHopUnreachable},
        {"2001:db8:bad:2::/64", kHopIncomplete},
        {"2001:db8:bad:3::/64", kHopGone},
    };
    for (const auto& [prefix, hop] : routes)
        add_route(prefix, hop);
}

Lab::~Lab() {
    for (rte_mbuf* packet : withheld_)
        rte_pktmbuf_free(packet);
    context_.flows = FlowTable();
    flow_memory_.reset();
    sets_.reset();
    fib_.reset();
    reclaimer_->drain();
}

void Lab::set_policy(PortId id, const std::vector<PolicyRule>& rules) {
    auto compiled = compile_policy(rules, ++policy_generation_);
    if (!compiled) stop("policy");
    if (policies_[id.value()]) old_policies_.push_back(std::move(policies_[id.value()]));
    policies_[id.value()] = std::move(*compiled);
    port(id).policy = policies_[id.value()].get();
    count_policies();
}

void Lab::clear_policy(PortId id) {
    port(id).policy = nullptr;
    count_policies();
}

void Lab::count_policies() {
    context_.policy_ports = 0;
    for (const auto& [id, config] : configs_)
        context_.policy_ports += config.policy != nullptr;
    generations_->raise_epoch();
}

// What a worker does between bursts.
void Lab::rest() {
    context_.flows.maintain(context_.now, context_.tsc_hz, context_.seconds);
    context_.fragments.expire(context_.now);
    settle_fragments(context_);
}

size_t Lab::flow_count() {
    return flow_tables().used.load();
}

void Lab::end_flows() {
    FlowTables& tables = flow_tables();
    for (uint32_t i = 0; i < tables.fresh.load(); ++i)
        flush_flow(tables, i);
    generations_->raise_epoch();
    advance_seconds(1);
    old_policies_.clear();
}

void Lab::add_port(PortId id, PortKind kind, const Mac& vm_mac, const Mac& router_mac,
                   uint16_t flags) {
    auto fake = std::make_unique<FakePort>();
    fake->transmit = record;
    fake->port = id;
    fake->offloads = kAllOffloads;
    fake->ready = true;
    fake->sink = &outputs_;
    const bool uplink = kind == PortKind::kUplink;
    PortConfig& config = configs_[id.value()];
    config.id = id;
    config.kind = kind;
    config.flags = flags;
    config.mac = vm_mac;
    config.router_mac = router_mac;
    config.tx = fake.get();
    config.gateway4 = parse_ip(uplink ? "192.0.2.1" : "10.0.0.254")->ipv4();
    config.gateway6 = parse_ip(uplink ? "2001:db8:ffff::1" : "fe80::1")->ipv6();
    config.gateways[0] = config.gateway4;
    config.gateways[1] = config.gateway6;
    config.gateway_count = 2;
    tx_[id.value()] = std::move(fake);
    environment().ports[id.value()] = &config;
}

void Lab::add_adjacency(NextHopId id, AdjacencyKind kind, PortId port, const Mac& destination,
                        const Mac& source) {
    Adjacency& adjacency = environment().adjacencies[id.value()];
    adjacency = Adjacency{};
    adjacency.kind = kind;
    adjacency.port = port;
    adjacency.mtu = kDefaultMtu;
    adjacency.destination = destination;
    adjacency.source = source;
}

void Lab::add_source(PortId id, const Mac& mac, std::string_view prefix, bool fixed) {
    PortConfig& config = port(id);
    config.sources[config.source_count++] =
        SourcePair{.prefix = parse_prefix(prefix).value(), .mac = mac, .fixed = fixed};
    // Fixed addresses come first.
    std::stable_partition(config.sources.begin(), config.sources.begin() + config.source_count,
                          [](const SourcePair& source) { return source.fixed; });
}

void Lab::add_route(std::string_view prefix, NextHopId id, VrfId vrf) {
    if (!fib_->add(vrf, parse_prefix(prefix).value(), id)) stop("route");
    generations_->raise_routes(vrf);
}

void Lab::open_domain() {
    domain_.locators.list[0] = domain_.sources.list[0] =
        PrefixMatch<Ip6>(parse_prefix("fc00::/32").value());
    domain_.locators.count = domain_.sources.count = 1;
    domain_.tunnel_source = parse_ip("fc00:0:1::")->ipv6();
    context_.domain = &domain_;
    add_route("fc00::/32", kHopUplink);
}

void Lab::add_tunnel(NextHopId id, const SegmentPath& path, const TunnelSettings& settings) {
    const Encapsulation& made = encapsulations_[id] = build_encapsulation(path, settings);
    Adjacency& tunnel = adjacency(id);
    tunnel = Adjacency{};
    tunnel.kind = AdjacencyKind::kTunnel;
    tunnel.mtu = static_cast<uint16_t>(kDefaultMtu - made.length);
    tunnel.underlay = kHopUplink;
    tunnel.encapsulation = &made;
}

void Lab::add_sid(NextHopId id, std::string_view prefix, const LocalSid& sid) {
    sids_[id] = sid;
    Adjacency& segment = adjacency(id);
    segment = Adjacency{};
    segment.kind = AdjacencyKind::kSegment;
    segment.sid = &sids_[id];
    add_route(prefix, id);
}

void Lab::add_host_view() {
    add_port(kHostView, PortKind::kHost, kUplinkMac, kUplinkMac, kFilterOpen);
    add_port(kResolverPort, PortKind::kUplink, kZeroMac, kZeroMac, kFilterOpen);
    tx(kResolverPort).offloads = 0;
    port(kHostView).twin = kUplink;
    port(kUplink).twin = kHostView;
    add_adjacency(kHopHost, AdjacencyKind::kHost, kNoPort, kZeroMac, kZeroMac);
}

void Lab::set_group(const NextHopGroup& group) {
    group_ = group;
    environment().groups[group_index(kLabGroup)] = &group_;
}

void Lab::start_capture(PortId id, Capture& capture) {
    capture.port = id;
    environment().captures[id.value()] = &capture;
    context_.capture_count = 1;
}

void Lab::set_icmp_rate(uint32_t per_second, uint32_t burst) {
    context_.icmp_tokens = TokenBucket(per_second, burst, kTscHz);
}

void Lab::set_punt_rate(uint32_t per_second, uint32_t burst) {
    context_.punt_tokens = TokenBucket(per_second, burst, kTscHz);
}

void Lab::exhaust_pool(unsigned left) {
    while (rte_mempool_avail_count(context_.pool) > left)
        withheld_.push_back(rte_pktmbuf_alloc(context_.pool));
}

void Lab::advance_seconds(unsigned seconds) {
    context_.now += seconds * kTscHz;
    context_.seconds += seconds;
    // The worker has been at it all the time: every entry has been passed.
    for (uint32_t step = 0; step < 64; ++step)
        context_.flows.maintain(context_.now, context_.tsc_hz, context_.seconds);
    rest();
}

rte_mbuf* Lab::make_buffer() {
    rte_mbuf* buffer = rte_pktmbuf_alloc(context_.pool);
    if (buffer == nullptr) stop("no buffer for the test's own packet");
    std::memset(buffer->buf_addr, fill_, buffer->buf_len);
    return buffer;
}

rte_mbuf* Lab::make_mbuf(const Input& input) {
    rte_mbuf* packet = make_buffer();
    rte_mbuf* last = packet;
    size_t at = 0;
    for (size_t s = 0;; ++s) {
        const size_t left = input.bytes.size() - at;
        size_t n = std::min<size_t>(left, rte_pktmbuf_tailroom(last));
        if (s < input.segments.size()) n = std::min(n, input.segments[s]);
        std::copy_n(input.bytes.begin() + static_cast<ptrdiff_t>(at), n,
                    rte_pktmbuf_mtod(last, uint8_t*));
        last->data_len = static_cast<uint16_t>(n);
        at += n;
        if (at == input.bytes.size() && s >= input.segments.size()) break;
        last->next = make_buffer();
        last = last->next;
        ++packet->nb_segs;
    }
    packet->pkt_len = static_cast<uint32_t>(input.bytes.size());
    packet->ol_flags |= input.rx_flags;
    packet->tso_segsz = input.tso_segsz;
    return packet;
}

void Lab::check_balance(PortId from) const {
    const PortCounters& counters = context_.counters->ports[from.value()];
    if (counters.rx_packets.get() + counters.injected.get() !=
        total(counters) + context_.fragments.waiting(from)) {
        stop("received + injected != forwarded + dropped + punted + consumed + waiting");
    }
}

void Lab::run_mbufs(PortId from, rte_mbuf** packets, unsigned count) {
    Burst burst;
    burst.in = &configs_.at(from.value());
    std::copy_n(packets, count, burst.packets.begin());
    burst.live = static_cast<uint32_t>((uint64_t{1} << count) - 1);
    run_pipeline(context_, burst);
    if (burst.live != 0 || burst.tx != 0) stop("packets are left in the burst");
    rest();
    check_balance(from);
}

void Lab::drain(rte_ring* ring, std::vector<std::pair<PuntInfo, Bytes>>& into) {
    void* object = nullptr;
    while (rte_ring_sc_dequeue(ring, &object) == 0) {
        auto* packet = static_cast<rte_mbuf*>(object);
        PuntInfo info;
        std::memcpy(&info, rte_mbuf_to_priv(packet), sizeof info);
        if (packet->port != info.port.value()) stop("mbuf->port is not the source port");
        into.emplace_back(info, bytes_of(packet));
        rte_pktmbuf_free(packet);
    }
}

void Lab::check_buffers() const {
    // A write beyond a buffer hits the next one's mbuf: no sanitizer knows their bounds.
    rte_mempool_obj_iter(
        context_.pool,
        [](rte_mempool*, void*, void* object, unsigned) {
            const auto* buffer = static_cast<const rte_mbuf*>(object);
            const auto* data =
                static_cast<const uint8_t*>(object) + sizeof(rte_mbuf) + sizeof(PuntInfo);
            if (buffer->buf_addr != data || buffer->buf_len != RTE_MBUF_DEFAULT_BUF_SIZE ||
                buffer->priv_size != sizeof(PuntInfo) || buffer->refcnt != 1) {
                stop("an mbuf is damaged");
            }
        },
        nullptr);
    if (rte_mempool_avail_count(context_.pool) + withheld_.size() +
            context_.fragments.waiting_buffers() !=
        kPoolSize) {
        stop("a buffer leaked");
    }
    if (rte_mempool_avail_count(context_.capture_pool) != kCapturePoolSize) {
        stop("a copy's buffer leaked");
    }
}

RunResult Lab::run(PortId from, const std::vector<Input>& inputs) {
    const PortCounters& counters = context_.counters->ports[from.value()];
    std::array<uint64_t, kDropReasonCount> drops_before;
    for (size_t i = 0; i < kDropReasonCount; ++i)
        drops_before[i] = counters.drops[i].get();
    RunResult result;
    result.consumed = counters.consumed.get();
    result.injected = counters.injected.get();
    result.forwarded = counters.forwarded.get();

    outputs_.clear();
    std::vector<rte_mbuf*> packets;
    packets.reserve(inputs.size());
    for (const Input& input : inputs)
        packets.push_back(make_mbuf(input));
    if (packets.size() > kBurstSize) stop("more packets than a burst has room for");
    run_mbufs(from, packets.data(), static_cast<unsigned>(packets.size()));

    drain(context_.punt_ring, result.punted);
    drain(context_.capture_ring, result.captured);
    result.outputs = std::move(outputs_);
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        const uint64_t n = counters.drops[i].get() - drops_before[i];
        if (n != 0) result.drops[static_cast<DropReason>(i)] = n;
    }
    result.consumed = counters.consumed.get() - result.consumed;
    result.injected = counters.injected.get() - result.injected;
    result.forwarded = counters.forwarded.get() - result.forwarded;
    check_buffers();
    return result;
}

PolicyRule any(PolicyDirection direction, Family family) {
    return {.direction = direction, .family = family, .protocol = {}, .prefix = {}, .set = {}};
}

std::string describe(const RunResult& result) {
    std::string text;
    for (const auto& [reason, count] : result.drops) {
        text += "dropped: " + std::string(drop_reason_name(reason)) + " x " +
                std::to_string(count) + "\n";
    }
    for (const Output& output : result.outputs) {
        text += "out of port " + std::to_string(output.port.value()) + ", " +
                std::to_string(output.bytes.size()) + " bytes:\n" + hex(output.bytes) + "\n";
    }
    for (const auto& [info, bytes] : result.punted)
        text += "punted from port " + std::to_string(info.port.value()) + "\n";
    text += "consumed: " + std::to_string(result.consumed) + "\n";
    return text;
}

}  // namespace slash32::test
