// SPDX-License-Identifier: Apache-2.0
// Nothing of a tenant is seen by another. A hundred tenants with the same addresses and MACs, each
// with a VM on either of two nodes; both nodes are this one router, whose tunnels come back to it
// over its uplink. Random packets of random VMs, and all that comes of them: once with open
// filters, and once with security groups, whose connections have the same addresses and ports, too.
//
//     vm of tenant T on node N: 10.7.0.N, 2001:db8:7::N, VRF 100 (N - 1) + T, segment fc00:0:N:T::
#include "dp/packet/headers.h"
#include "dp/worker/pipeline.h"
#include "tests/support/lab.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace slash32::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)  // sanitizers are run with clang alone
constexpr unsigned kPackets = 100'000;
#else
constexpr unsigned kPackets = 1'000'000;
#endif
constexpr unsigned kTenants = 100;
constexpr unsigned kNodes = 2;
constexpr unsigned kFirstId = 100;       // of ports and next hops to VMs
constexpr unsigned kFirstTunnel = 1000;  // of next hops
constexpr unsigned kFirstSid = 2000;
constexpr size_t kFlows = 1 << 16;          // more than all VMs have connections
constexpr uint8_t kHops[] = {1, 2, 3, 64};  // that packets may take
constexpr unsigned kTimesAround = 4;        // that a packet and its answers may take the uplink

// A VM's place: tenants from 1, nodes 1 and 2.
struct Place {
    unsigned tenant;
    unsigned node;
    unsigned index() const { return (node - 1) * kTenants + tenant - 1; }
    VrfId vrf() const { return VrfId{static_cast<uint16_t>(index() + 1)}; }
    PortId port() const { return PortId{static_cast<uint16_t>(kFirstId + index())}; }
    NextHopId hop(unsigned first) const { return NextHopId{first + index()}; }
    Place peer() const { return {tenant, 3 - node}; }
    std::string ip4() const { return fmt::format("10.7.0.{}", node); }
    std::string ip6() const { return fmt::format("2001:db8:7::{}", node); }
    std::string segment() const { return fmt::format("fc00:0:{}:{}::", node, tenant); }
    Mac mac() const { return Mac{{0x52, 0x54, 0, 0, 7, static_cast<uint8_t>(node)}}; }
    std::string mark() const { return fmt::format("tenant-{:03}", tenant); }
};

std::vector<Place> places() {
    std::vector<Place> all;
    for (unsigned node = 1; node <= kNodes; ++node) {
        for (unsigned tenant = 1; tenant <= kTenants; ++tenant)
            all.push_back({tenant, node});
    }
    return all;
}

Bytes text_bytes(const std::string& text) {
    return Bytes(text.begin(), text.end());
}

// What a VM sends: to its peer, itself, the gateway, addresses of nobody and of VRF 0; with the
// name of its tenant in it.
std::vector<Bytes> frames_of(const Place& vm) {
    std::vector<Bytes> frames;
    const Layer ethernet = eth(vm.mac(), kGatewayMac);
    const Layer mark = raw(text_bytes(vm.mark() + std::string(40, '.')));
    const Packet quoted4 = ethernet / ip4(vm.ip4(), vm.peer().ip4()) / udp(1, 2) / mark;
    const Packet quoted6 = ethernet / ip6(vm.ip6(), vm.peer().ip6()) / udp(1, 2) / mark;
    const auto add = [&](const Packet& packet) { frames.push_back(packet.bytes()); };
    const auto add_far = [&](Layer ip, const Layer& echo) {
        for (const uint8_t hops : kHops) {
            ip.ttl(hops);
            add(ethernet / ip / udp(1000, 53) / mark);
            add(ethernet / ip / tcp(1000, 80).flags(2) / mark);
            add(ethernet / ip / echo / mark);
        }
    };
    for (const std::string& to :
         {vm.peer().ip4(), vm.ip4(), std::string("10.7.0.254"), std::string("10.7.0.99"),
          std::string("198.51.100.1"), std::string("10.0.0.1")}) {
        add(eth(vm.mac(), kBroadcastMac) / arp(1, vm.mac(), vm.ip4(), kZeroMac, to));
        add_far(ip4(vm.ip4(), to), icmp4(8, 0));
        add(ethernet / ip4(vm.ip4(), to) / icmp4(3, 1) / raw(quoted4.payload()));
        add(ethernet / ip4(vm.ip4(), to).fragment(0, true) / udp(1000, 53) / mark);
        add(ethernet / ip4(vm.ip4(), to).fragment(64, false) / mark);
    }
    for (const std::string& to : {vm.peer().ip6(), vm.ip6(), std::string("fe80::1"),
                                  std::string("2001:db8:7::99"), std::string("2001:db8:100::1"),
                                  std::string("2001:db8::1"), vm.segment(), vm.peer().segment()}) {
        add_far(ip6(vm.ip6(), to), icmp6(128, 0));
        add(ethernet / ip6(vm.ip6(), to) / icmp6(1, 0) / raw(quoted6.payload()));
        add(ethernet / ip6(vm.ip6(), to) / fragment6(0, true) / udp(1000, 53) / mark);
        add(ethernet / ip6(vm.ip6(), to) / ip4(vm.ip4(), vm.peer().ip4()) / udp(1, 2) / mark);
        add(ethernet / ip6(vm.ip6(), to) / srh(0, {vm.peer().segment()}) / udp(1, 2) / mark);
        Bytes target;
        const Ip6 address = parse_ip(to)->ipv6();
        target.insert(target.end(), address.bytes.begin(), address.bytes.end());
        add(ethernet / ip6(vm.ip6(), to).ttl(255) / icmp6(135, 0) / raw(target));
    }
    return frames;
}

enum class Filter : uint8_t { kOpen, kGroups };

class IsolationTest : public ::testing::TestWithParam<Filter> {
  protected:
    struct Frame {
        PortId port;
        Bytes bytes;
    };
    struct Sink : TxPort {
        std::vector<Frame>* frames = nullptr;
    };

    void SetUp() override {
        lab_.open_domain();
        lab_.set_icmp_rate(1'000'000'000, 1'000'000'000);
        if (GetParam() == Filter::kGroups) set_up_groups();
        for (const Place& place : places())
            add(place);
        uplink_.frames = &frames_;
        make_sink(uplink_, kUplink);
        lab_.port(kUplink).tx = &uplink_;
        frames_of_.resize(kNodes * kTenants);
    }
    void TearDown() override {
        for (const Place& place : places())
            lab_.context().ports[place.port().value()] = nullptr;
    }

    // Whatever a VM sends, and whatever comes to it.
    void set_up_groups() {
        using enum PolicyDirection;
        const std::vector<PolicyRule> rules{any(kEgress), any(kEgress, Family::kIpv6),
                                            any(kIngress), any(kIngress, Family::kIpv6)};
        auto compiled = compile_policy(rules, 1);
        ASSERT_TRUE(compiled.has_value());
        policy_ = std::move(*compiled);
        lab_.context().policy_ports = kNodes * kTenants;
        lab_.generations().raise_epoch();
    }

    static uint16_t take(TxPort& port, WorkerId, rte_mbuf** packets, uint16_t n) {
        for (uint16_t i = 0; i < n; ++i) {
            const auto* data = rte_pktmbuf_mtod(packets[i], const uint8_t*);
            static_cast<Sink&>(port).frames->push_back(
                {port.port, Bytes(data, data + packets[i]->data_len)});
            rte_pktmbuf_free(packets[i]);
        }
        return n;
    }
    void make_sink(Sink& sink, PortId id) {
        sink.transmit = take;
        sink.port = id;
        sink.offloads = kTxChecksum | kTxTso4 | kTxTso6;
        sink.ready = true;
        sink.frames = &frames_;
    }

    void add(const Place& place) {
        Sink& sink = sinks_[place.index()];
        make_sink(sink, place.port());
        PortConfig& config = configs_[place.index()];
        config = lab_.port(kVm1);  // its gateways
        config.id = place.port();
        config.vrf = place.vrf();
        config.mac = place.mac();
        config.tx = &sink;
        config.gateways[0] = config.gateway4 = parse_ip("10.7.0.254")->ipv4();
        config.policy = policy_.get();
        if (config.policy != nullptr) config.flags &= static_cast<uint16_t>(~kFilterOpen);
        config.source_count = 0;
        for (const std::string& own : {place.ip4(), place.ip6()}) {
            config.sources[config.source_count++] =
                SourcePair{.prefix = parse_prefix(own).value(), .mac = place.mac(), .fixed = true};
        }
        lab_.context().ports[place.port().value()] = &config;
        lab_.adjacency(place.hop(kFirstId)) = Adjacency{.kind = AdjacencyKind::kEthernet,
                                                        .port = place.port(),
                                                        .mtu = kDefaultMtu,
                                                        .destination = place.mac(),
                                                        .source = kGatewayMac};
        lab_.add_tunnel(place.hop(kFirstTunnel),
                        {.segments = {parse_ip(place.peer().segment())->ipv6()}},
                        {.source = parse_ip("fc00:0:1::")->ipv6(), .dscp = {}});
        LocalSid sid{.behavior = SidBehavior::kEndDt46, .vrf = place.vrf()};
        lab_.add_sid(place.hop(kFirstSid), place.segment(), sid);
        for (const std::string& own : {place.ip4(), place.ip6()})
            lab_.add_route(own, place.hop(kFirstId), place.vrf());
        for (const std::string& behind : {place.peer().ip4(), place.peer().ip6()})
            lab_.add_route(behind, place.hop(kFirstTunnel), place.vrf());
    }

    const std::vector<Bytes>& frames_for(const Place& place) {
        std::vector<Bytes>& frames = frames_of_[place.index()];
        if (frames.empty()) frames = frames_of(place);
        return frames;
    }

    void run(const PortConfig& in, const std::vector<Bytes>& frames) {
        for (size_t at = 0; at < frames.size(); at += kBurstSize) {
            Burst burst;
            burst.in = &in;
            const size_t n = std::min<size_t>(kBurstSize, frames.size() - at);
            for (size_t i = 0; i < n; ++i) {
                rte_mbuf* packet = rte_pktmbuf_alloc(lab_.context().pool);
                ASSERT_NE(packet, nullptr);
                const Bytes& frame = frames[at + i];
                std::copy(frame.begin(), frame.end(),
                          reinterpret_cast<uint8_t*>(
                              rte_pktmbuf_append(packet, static_cast<uint16_t>(frame.size()))));
                burst.packets[i] = packet;
            }
            burst.live = n == kBurstSize ? UINT32_MAX : (1u << n) - 1;
            run_pipeline(lab_.context(), burst);
        }
    }

    // Everything that comes of these packets of a VM, tunnels taken to their ends.
    void send(const Place& from, const std::vector<Bytes>& frames) {
        frames_.clear();
        run(configs_[from.index()], frames);
        for (unsigned round = 0; round < kTimesAround && !frames_.empty(); ++round) {
            const std::vector<Frame> out = std::exchange(frames_, {});
            std::vector<Bytes> around;
            for (const Frame& frame : out) {
                if (frame.port == kUplink) {
                    around.push_back(turn(frame.bytes));
                    check_tunnel(from, frame.bytes);
                } else {
                    check(from, frame);
                }
            }
            run(lab_.port(kUplink), around);
        }
        EXPECT_TRUE(frames_.empty()) << "a packet goes round and round";
    }

    // What left by the uplink, as it comes in by it.
    static Bytes turn(Bytes frame) {
        auto& ethernet = *reinterpret_cast<EthernetHeader*>(frame.data());
        EXPECT_EQ(ethernet.destination, kNeighbourMac);
        ethernet.source = kNeighbourMac;
        ethernet.destination = kUplinkMac;
        return frame;
    }
    // A segment of the same tenant, on either node.
    void check_tunnel(const Place& from, const Bytes& frame) {
        const auto& ip =
            *reinterpret_cast<const Ipv6Header*>(frame.data() + sizeof(EthernetHeader));
        EXPECT_TRUE(ip.destination == parse_ip(from.segment())->ipv6() ||
                    ip.destination == parse_ip(from.peer().segment())->ipv6())
            << to_string(IpAddress(ip.destination));
        ++tunnelled_;
    }
    void check(const Place& from, const Frame& frame) {
        const bool own = frame.port == from.port();
        ASSERT_TRUE(own || frame.port == from.peer().port())
            << "of tenant " << from.tenant << " at port " << frame.port.value();
        ++(own ? answered_ : delivered_);
        constexpr std::string_view kMark = "tenant-";
        const auto at =
            std::search(frame.bytes.begin(), frame.bytes.end(), kMark.begin(), kMark.end());
        if (frame.bytes.end() - at < static_cast<ptrdiff_t>(from.mark().size())) return;
        ASSERT_EQ(std::string(at, at + static_cast<ptrdiff_t>(from.mark().size())), from.mark());
    }

    Lab lab_{kFlows};
    PolicyPtr policy_;  // of every VM, if they have groups
    std::array<PortConfig, kNodes * kTenants> configs_;
    std::array<Sink, kNodes * kTenants> sinks_;
    Sink uplink_;
    std::vector<Frame> frames_;
    std::vector<std::vector<Bytes>> frames_of_;  // by Place::index()
    size_t tunnelled_ = 0;
    size_t delivered_ = 0;  // to the peer
    size_t answered_ = 0;   // to the sender itself
};

TEST_P(IsolationTest, NothingOfATenantIsSeenByAnother) {
    std::mt19937 random(1);
    const std::vector<Place> all = places();
    for (unsigned sent = 0; sent < kPackets && !HasFailure(); sent += kBurstSize) {
        const Place& from = all[random() % all.size()];
        const std::vector<Bytes>& frames = frames_for(from);
        std::vector<Bytes> chosen;
        for (unsigned i = 0; i < kBurstSize; ++i)
            chosen.push_back(frames[random() % frames.size()]);
        send(from, chosen);
    }
    // All of it did go somewhere.
    EXPECT_GT(tunnelled_, kPackets / 10);
    EXPECT_GT(delivered_, kPackets / 20);
    EXPECT_GT(answered_, kPackets / 10);
    // Each VM's connections are its own: to its peer alone there are six, by protocol and family.
    const size_t connections = lab_.flow_count();
    if (GetParam() == Filter::kOpen) {
        EXPECT_EQ(connections, 0u);
    } else {
        EXPECT_GE(connections, 6u * kNodes * kTenants);
    }
}

INSTANTIATE_TEST_SUITE_P(Filters, IsolationTest, testing::Values(Filter::kOpen, Filter::kGroups),
                         [](const auto& filter) {
                             return filter.param == Filter::kOpen ? "Open" : "SecurityGroups";
                         });

}  // namespace
}  // namespace slash32::test
